"""One seal, one bag: whoever makes it, wherever, and how often."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import connections

from tests.builders import make_world
from tests.exports import forging
from tests.tampering import Tamperer

ROOT = Path(__file__).resolve().parents[2]
# One process with its hash seed; for each line that comes in, one seal and one bag.
CHILD = """
import json, locale, os, sys, threading, time
from datetime import UTC, datetime
from pathlib import Path
import django
django.setup()
from django.conf import settings
from django.db import connections
from audit import exports
from audit.evidence import sharing

def helped_by(workers):
    sharing.SHARED_FROM = 1 if workers else 3
    helped = []

    def help_with(job):
        for number in range(workers):
            thread = threading.Thread(target=help, args=(job, number))
            helped.append(thread)
            thread.start()

    def help(job, number):
        try:
            while sharing.help_with(job=job, owner=str(number), call=sharing.call_nobody):
                pass
        finally:
            connections.close_all()

    return help_with, helped

at = datetime.fromtimestamp(1_800_000_000, UTC)
for line in sys.stdin:
    told = json.loads(line)
    os.environ["TZ"] = told["zone"]
    time.tzset()
    locale.setlocale(locale.LC_ALL, told["locale"])
    connections["default"].settings_dict.update(told["database"])
    settings.LANDSCAPE_VAR = Path(told["var"])
    left = [told["stop_after"]]
    call, helped = helped_by(told["workers"])

    def progress(*_far):
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    while True:
        try:
            found = exports.export_run(
                run_id=told["run"], folder=Path(told["folder"]), at=at, csv=True,
                with_payloads=True, zipped=told["zipped"], progress=progress, call=call,
            )
            break
        except KeyboardInterrupt:
            print("stopped", end=" ")
    for thread in helped:
        thread.join()
    root = found.checkpoint.root.hex()
    print(found.manifest_sha256, root, time.tzname[0], len(helped), flush=True)
"""
ZONES = [
    "UTC",
    "Asia/Kathmandu",
    "America/St_Johns",
    "Pacific/Apia",
    "Europe/Berlin",
    "Antarctica/Troll",
    "Australia/Lord_Howe",
    "Africa/Monrovia",
]
LOCALES = ["C", "C.UTF-8", "POSIX"]
SEEDS = ["0", "1", "77", "random"]
OF_EACH = 4


@pytest.mark.django_db(databases=["default", "owner"], transaction=True)
def test_seal_and_bag_do_not_depend_on_the_process_that_makes_them(tmp_path):
    """Sixteen variations of hash seed, zone, locale, helpers, kind of bag, and interruption."""
    world = make_world(rows=3)
    tell = connections["default"].settings_dict
    database = {name: tell[name] for name in ("NAME", "HOST", "PORT", "USER", "PASSWORD")}
    found, zones, stopped, helped, number = set(), set(), 0, 0, 0

    for seed in SEEDS:
        environment = {
            "PATH": os.environ["PATH"],
            "DJANGO_SETTINGS_MODULE": "landscape_site.settings",
            "LANDSCAPE_VAR": str(tmp_path / "var"),
            "LANDSCAPE_AUTHORITY": forging.NAME,
            "LANDSCAPE_SIGNING_KEY": base64.b64encode(forging.SEED).decode(),
            "PYTHONHASHSEED": seed,
        }
        with subprocess.Popen(
            [sys.executable, "-c", CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment,
        ) as child:
            for _ in range(OF_EACH):
                told = {
                    "run": world.run.run_id,
                    "folder": str(tmp_path / str(number)),
                    "zipped": bool(number % 2),
                    "database": database,
                    "zone": ZONES[number % len(ZONES)],
                    "locale": LOCALES[number % len(LOCALES)],
                    "var": str(tmp_path / f"var{number}"),
                    "stop_after": number % 3,
                    "workers": number % 5,
                }
                child.stdin.write(f"{json.dumps(told)}\n")
                child.stdin.flush()
                *interrupted, manifest, root, name, helpers = child.stdout.readline().split()
                found.add((manifest, root))
                zones.add(name)
                stopped += len(interrupted)
                helped += int(helpers)
                number += 1
                # As if it had never been sealed.
                Tamperer()("DELETE FROM seal_log", "DELETE FROM seals")

    assert number == len(SEEDS) * OF_EACH
    assert len(found) == 1
    assert len(zones) > len(ZONES) - 2
    assert stopped
    assert helped > number
