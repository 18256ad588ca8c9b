"""Exports in a Landscape that runs, while worker, pool child, sweeper or Valkey is taken away."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from landscape_site import postgres
from landscape_site.places import Places
from tests.running import connect, postmaster, run, until
from tests.test_tasks import RECORD, flush

pytestmark = pytest.mark.faults

ASK = """
from datetime import UTC, datetime
from django.db import transaction
from audit import exports, tasks
at = datetime.now(UTC)
with transaction.atomic():
    job = exports.open_job(
        run_id={0!r}, requested_by=1, with_csv=True, with_payloads=False, at=at)
    tasks.enqueue_export(job.export_id)
"""


def ask(var, run_id, **environment):
    """Record a run and ask for its export, as one process: most of the time goes into its start."""
    script = RECORD.format(run_id) + ASK.format(run_id)
    code, said = run(var, "shell", "-v0", "-c", script, **environment)
    assert code == 0, said


def asked(var, column, run_id):
    """None also while the database is away."""
    with suppress(psycopg.OperationalError), connect(var) as application:
        found = application.execute(
            f"SELECT {column} FROM exports WHERE run_id = %s", [run_id]
        ).fetchone()
        return found and found[0]
    return None


def pool_children(site):
    """The workers' processes but for the first, which only hands out."""
    return [
        pid
        for pid in site.workers()
        if int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1]) in site.workers()
    ]


def kill(pids):
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def stop_at_once(site):
    """What `pg_ctl stop -m immediate` does: no goodbye to anybody, recovery at the next start."""
    os.kill(postmaster(site.var), signal.SIGQUIT)


def test_each_export_is_made_once_whatever_is_killed(start, rounds):
    site = start(LANDSCAPE_EXPORT_LEASE="2")
    site.wait_for("Landscape is ready")
    until(site.workers)
    dice = random.Random(15)
    faults = [
        (20, lambda: kill(site.workers())),
        (15, lambda: kill(pool_children(site))),
        (6, lambda: kill(postgres.strays(Places(site.var).queue, "valkey"))),
        (6, lambda: flush(site.var)),
        (4, lambda: kill(site.sweepers())),
        (4, lambda: stop_at_once(site)),
    ]
    schedule = [fault for full, fault in faults for _ in range(rounds(full))]
    dice.shuffle(schedule)
    for each, fault in enumerate(schedule):
        run_id = f"r{each}"
        ask(site.var, run_id)
        time.sleep(dice.uniform(0, 0.6))
        with suppress(Exception):
            fault()

        until(lambda run_id=run_id: asked(site.var, "status", run_id) == "succeeded", seconds=90)

    def lying():
        folder = site.var / "exports"
        return sorted(path.name for path in folder.rglob("*") if path.is_file())

    with connect(site.var) as application:
        made = application.execute("SELECT file_sha256 FROM exports").fetchall()
        unsealed = application.execute(
            "SELECT count(*) FROM runs WHERE run_id NOT IN (SELECT run_id FROM seals)"
        ).fetchone()
    wanted = sorted(f"{sha256}.zip" for (sha256,) in made)
    until(lambda: lying() == wanted)
    assert unsealed == (0,)


def test_is_kept_for_later_when_nobody_hears_the_bell(start):
    site = start()
    site.wait_for("Landscape is ready")

    ask(site.var, "r", LANDSCAPE_BROKER_URL="redis://127.0.0.1:1/0")

    until(lambda: asked(site.var, "status", "r") == "succeeded", seconds=60)
