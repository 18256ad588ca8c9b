"""An importer killed anywhere, then run again, ends where one clean run would."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from urllib.parse import quote

import pytest
from django.db import connection

from audit.models import Finding, Import, Row, Run, RunSummary
from tests import audit_files
from tests.conftest import empty_tables
from tests.imports.test_importing import everything
from tests.running import MANAGE, until

pytestmark = [pytest.mark.faults, pytest.mark.django_db(transaction=True)]

RUNS = 3
ROWS = 1_200


@pytest.fixture
def importer(tmp_path, monkeypatch):
    """Start `import_audit` on the test database, as a process that can be killed."""
    held = connection.settings_dict
    login = f"{held['USER']}:{quote(held['PASSWORD'], safe='')}"
    url = f"postgresql://{login}@{quote(held['HOST'], safe='')}/{held['NAME']}"
    monkeypatch.setenv("LANDSCAPE_DATABASE_URL", url)
    monkeypatch.setenv("LANDSCAPE_VAR", str(tmp_path / "var"))

    def start(path):
        return subprocess.Popen(
            [sys.executable, str(MANAGE), "import_audit", "--json", str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    return start


@pytest.fixture
def path(tmp_path):
    if not audit_files.DATA.is_dir():
        pytest.skip(f"needs the real databases in {audit_files.DATA}")
    made = tmp_path / "audit.db"
    writer = audit_files.empty(made)
    for number in range(RUNS):
        audit_files.write_run(writer, run_id=f"run{number}", rows=ROWS)
    writer.close()
    return made


def test_killed_at_any_point_and_run_again(path, importer, rounds):
    began = time.monotonic()
    process = importer(path)
    process.communicate(timeout=120)
    whole = time.monotonic() - began
    assert process.returncode == 0
    clean = everything()
    assert len(clean["rows"]) == RUNS * ROWS
    dice = random.Random(20_261_122)  # a test that can be told again
    cut_short = 0

    for _round in range(max(6, rounds(20))):
        empty_tables()
        process = importer(path)
        time.sleep(dice.uniform(whole * 0.25, whole))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        cut_short += Run.objects.count() < RUNS
        # Whatever is there is there whole, with its origin, figures and findings.
        for run_id in Run.objects.values_list("run_id", flat=True):
            assert Row.objects.filter(run_id=run_id).count() == ROWS
            assert Import.objects.filter(run_id=run_id).count() == 1
            assert RunSummary.objects.get(run_id=run_id).rows == ROWS
            assert Finding.objects.filter(run_id=run_id).exists()

        process = importer(path)
        said, _errors = process.communicate(timeout=120)

        assert process.returncode == 0
        assert len(json.loads(said)["runs"]) == RUNS
        assert everything() == clean

    assert cut_short, "no kill came before the end: the rounds prove nothing"


def test_says_so_when_the_database_drops_it(path, importer):
    process = importer(path)

    def cut():
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE query LIKE 'COPY%' AND datname = current_database()"
            )
            return cursor.fetchone()[0]

    until(cut)
    _said, errors = process.communicate(timeout=120)

    assert process.returncode == 1
    assert b"The database failed: " in errors
    assert b"Traceback" not in errors
    assert Run.objects.count() < RUNS
