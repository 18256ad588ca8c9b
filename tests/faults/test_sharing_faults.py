"""A worker that helps with a big seal is killed or stopped: the seal is what it would be."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from audit.evidence import seals, sharing
from audit.models import Part
from tests.builders import NOON, make_world
from tests.faults.test_export_faults import environment  # noqa: F401  # a fixture
from tests.running import ROOT, until
from tests.tampering import Tamperer

pytestmark = [
    pytest.mark.faults,
    pytest.mark.django_db(databases=["default", "owner"], transaction=True),
]

# Takes a part as soon as there is one, and is met half-way.
HELPER = """
import sys, time, django
django.setup()
from audit.evidence import sharing, store
fill = store.Packing.fill
def slowly(packing, lines):
    for each in fill(packing, lines):
        print("at it", flush=True)
        time.sleep(float(sys.argv[2]))
        yield each
store.Packing.fill = slowly
print("ready", flush=True)
while not sharing.help_with(job=sys.argv[1], owner="h", call=sharing.call_nobody):
    time.sleep(0.01)
"""


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGSTOP])
def test_the_part_is_made_again(monkeypatch, rounds, sign):
    monkeypatch.setattr(sharing, "SHARED_FROM", 0)
    run_id = make_world(rows=30).run.run_id
    wanted = seals.seal_run(run_id=run_id, at=NOON).root
    for each in range(rounds(4)):
        Tamperer()("DELETE FROM seal_log", "DELETE FROM seals")
        helper = subprocess.Popen(
            [sys.executable, "-c", HELPER, f"seal {run_id}", "0.4"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert helper.stdout.readline() == "ready\n"

        def meet(_job, helper=helper, each=each):
            assert helper.stdout.readline() == "at it\n"
            time.sleep(each * 0.1)
            helper.send_signal(sign)

        try:
            assert seals.seal_run(run_id=run_id, at=NOON, call=meet).root == wanted
            helper.send_signal(signal.SIGCONT)
            helper.wait(timeout=30)
            until(lambda: not Part.objects.exists())
        finally:
            helper.kill()
            helper.wait()
            helper.stdout.close()
