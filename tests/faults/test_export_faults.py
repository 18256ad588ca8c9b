"""Exports under fire: one file, the same bytes as undisturbed, or a stated failure and none."""

from __future__ import annotations

import hashlib
import os
import random
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pytest
from django.core.files.storage import storages
from django.db import connection, connections

from audit import exports
from audit.errors import IllegalTransition
from audit.exports import archive, files, jobs, producing, writing
from audit.models import Export
from audit.vocabulary import ExportJobStatus as Status
from landscape_site.celery import app
from tests.builders import NOON, make_world
from tests.faults.test_outages import fill, small_disk
from tests.running import ROOT, until

pytestmark = [pytest.mark.faults, pytest.mark.django_db(transaction=True)]

LEASE = 1.5
# A worker that looks at one export until it has ended, slowly enough to be met half-way.
WORKER = """
import sys, time, django
django.setup()
from audit import exports
from audit.exports import files, producing, writing
from audit.models import Export
export_id, slow = sys.argv[1], float(sys.argv[2])
take, put = writing._Bag.take, files.put
writing._Bag.take = lambda bag, text: (time.sleep(slow), take(bag, text), time.sleep(slow))[1]
files.put = lambda *a, **k: (time.sleep(slow), put(*a, **k), time.sleep(slow))[1]
print("ready", flush=True)
while Export.objects.live().filter(pk=export_id).exists():
    exports.produce(export_id=export_id, owner=str(time.time()))
    time.sleep(0.05)
"""


@pytest.fixture(autouse=True)
def environment(settings, tmp_path, monkeypatch):
    """What workers and this process share."""
    held = connection.settings_dict
    login = f"{held['USER']}:{quote(held['PASSWORD'], safe='')}"
    url = f"postgresql://{login}@{quote(held['HOST'], safe='')}/{held['NAME']}"
    monkeypatch.setenv("LANDSCAPE_DATABASE_URL", url)
    monkeypatch.setenv("LANDSCAPE_VAR", str(tmp_path / "var"))
    monkeypatch.setenv("LANDSCAPE_EXPORT_LEASE", str(LEASE))
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "landscape_site.settings")
    settings.LANDSCAPE_VAR = tmp_path / "var"
    settings.LANDSCAPE_EXPORT_LEASE = LEASE
    settings.SIGNING_KEY_FILE = tmp_path / "var" / "secrets" / "signing_key.pem"
    monkeypatch.setattr(jobs, "_FIRST_PAUSE", 0.2)


@pytest.fixture
def workers():
    """Start workers on an export; whatever is left of them is ended."""
    started = []

    def start(export, *, slow=0.1):
        worker = subprocess.Popen(
            [sys.executable, "-c", WORKER, export.pk, str(slow)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(worker)
        assert worker.stdout.readline() == "ready\n"
        return worker

    yield start
    for worker in started:
        worker.kill()
        worker.wait()
        worker.stdout.close()


@pytest.fixture
def run():
    return make_world(rows=30).run


def ask(run):
    return exports.open_job(
        run_id=run.run_id, requested_by=1, with_csv=True, with_payloads=False, at=NOON
    )


def control(export, folder):
    """The bytes that this export has when nobody disturbs it."""
    bag = writing.export_run(
        run_id=export.run_id,
        folder=folder,
        at=export.requested_at,
        csv=True,
        zipped=True,
        export_id=export.pk,
    )
    return hashlib.sha256(bag.path.read_bytes()).hexdigest()


def ended(export):
    export.refresh_from_db()
    return export.status not in {"requested", "running", "publishing", "waiting", "cancelling"}


def lying(settings):
    exports.settle()
    exports.tidy()
    folder = Path(settings.LANDSCAPE_VAR) / "exports"
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def published_once(export, wanted, settings):
    assert export.status == Status.SUCCEEDED, export.error_text
    assert export.file_sha256 == wanted
    assert lying(settings) == [f"{wanted}.zip"]
    with exports.read(wanted) as file:
        assert hashlib.sha256(file.read()).hexdigest() == wanted


def remove():
    for name in storages["exports"].listdir("")[1]:
        storages["exports"].delete(name)


class TestKilled:
    def test_anywhere_it_is_made_by_the_next_worker(self, run, workers, settings, rounds, tmp_path):
        dice, met = random.Random(20_261_125), 0
        for each in range(rounds(20)):
            export = ask(run)
            wanted = control(export, tmp_path / f"control{each}")
            worker = workers(export)
            time.sleep(dice.uniform(0, 1.2))
            worker.send_signal(signal.SIGKILL)
            worker.wait()
            export.refresh_from_db()
            met += export.status in {Status.RUNNING, Status.PUBLISHING}

            workers(export, slow=0)
            until(lambda export=export: ended(export))

            published_once(export, wanted, settings)
            remove()
        assert met, "no kill met the worker at work: the rounds prove nothing"


def before(owner, name, deed):
    """Let the deed be done whenever this is called."""
    real = getattr(owner, name)
    setattr(owner, name, lambda *told, **named: (deed(), real(*told, **named))[1])


def behind(owner, name, deed):
    real = getattr(owner, name)
    setattr(owner, name, lambda *told, **named: (real(*told, **named), deed())[0])


# On the way from the claim to the answer, in its order.
STEPS = {
    "claimed": lambda die: behind(jobs, "claim", die),
    "archive opened": lambda die: behind(archive.Archive, "__enter__", die),
    "records begun": lambda die: before(writing._Bag, "take", die),
    "records written": lambda die: before(writing, "_finish", die),
    "archive synced": lambda die: behind(os, "fsync", die),
    "archive to be named": lambda die: before(os, "link", die),
    "archive named": lambda die: behind(os, "link", die),
    "publishing": lambda die: behind(jobs, "begin_publishing", die),
    "result to be moved": lambda die: before(files.Path, "replace", die),
    "result moved": lambda die: before(files, "sync_folder", die),
    "result synced": lambda die: before(jobs, "succeed", die),
    "succeeded, not committed": lambda die: behind(jobs, "succeed", die),
    "committed": lambda die: behind(producing, "_publish", die),
}


class TestKilledAtEachStep:
    def doomed(self, export, step):
        """A worker, forked as a pool forks its children, that dies at this step."""
        child = os.fork()
        if not child:
            try:
                for each in connections.all():
                    each.connection = None  # it is the parent's
                STEPS[step](lambda: os.kill(os.getpid(), signal.SIGKILL))
                exports.produce(export_id=export.pk, owner="doomed")
            finally:
                os._exit(3)
        assert os.WIFSIGNALED(os.waitpid(child, 0)[1]), f"it never came to: {step}"

    def test_one_file_comes_of_it_or_none_and_nothing_is_left(self, run, settings, tmp_path):
        settings.LANDSCAPE_EXPORT_LEASE = 0.4
        for number, step in enumerate(STEPS):
            export = ask(run)
            wanted = control(export, tmp_path / f"control{number}")

            self.doomed(export, step)

            export.refresh_from_db()
            assert (export.status == Status.SUCCEEDED) == (step == "committed")
            until(
                lambda export=export: (
                    exports.produce(export_id=export.pk, owner="next") or ended(export)
                )
            )
            export.refresh_from_db()
            published_once(export, wanted, settings)
            remove()


class TestStopped:
    def test_past_its_lease_it_finds_nothing_to_change_when_it_wakes(
        self, run, workers, settings, rounds, tmp_path
    ):
        dice = random.Random(5)
        for each in range(rounds(8)):
            export = ask(run)
            wanted = control(export, tmp_path / f"control{each}")
            zombie = workers(export)
            until(lambda export=export: Export.objects.get(pk=export.pk).fence)
            time.sleep(dice.uniform(0, 0.5))
            zombie.send_signal(signal.SIGSTOP)

            workers(export, slow=0)
            until(lambda export=export: ended(export))
            zombie.send_signal(signal.SIGCONT)
            zombie.wait(timeout=30)

            export.refresh_from_db()
            published_once(export, wanted, settings)
            remove()


class TestNobodyHearsTheBell:
    def test_the_page_answers_and_the_job_is_kept(self, run, signed_in, settings, monkeypatch):
        """Valkey is down when somebody clicks."""
        monkeypatch.setattr(app.conf, "broker_url", "redis://127.0.0.1:1/0")
        monkeypatch.setattr(app.conf, "broker_write_url", "redis://127.0.0.1:1/0")
        monkeypatch.setattr(app, "_pool", None)
        monkeypatch.setattr(app.amqp, "_producer_pool", None)

        began = time.monotonic()
        answer = signed_in.post(f"/runs/{run.run_id}/exports/", {"format": "jsonl"}, follow=True)

        assert time.monotonic() - began < 10
        assert answer.status_code == 200
        assert "waits for a worker" in " ".join(answer.text.split())
        export = Export.objects.get()
        assert export.status == Status.REQUESTED
        assert exports.produce(export_id=export.pk, owner="later")
        export.refresh_from_db()
        assert lying(settings) == [f"{export.file_sha256}.zip"]


class TestFiveAtOnce:
    def test_one_has_it(self, run, workers, settings, rounds, tmp_path):
        for each in range(rounds(8)):
            export = ask(run)
            wanted = control(export, tmp_path / f"control{each}")
            for _ in range(5):
                workers(export, slow=0.05)

            until(lambda export=export: ended(export))

            assert (export.attempt, export.fence) == (1, 1)
            published_once(export, wanted, settings)
            remove()


class TestCancelled:
    def test_at_any_moment_there_is_a_file_or_there_is_none(
        self, run, workers, settings, rounds, tmp_path
    ):
        dice, outcomes = random.Random(16), set()
        for _ in range(rounds(12)):
            export = ask(run)
            workers(export, slow=0.3)
            time.sleep(dice.uniform(0, 1.2))
            with suppress(IllegalTransition):
                exports.cancel(export_id=export.pk)

            until(lambda export=export: ended(export), seconds=10)

            outcomes.add(export.status)
            files = lying(settings)
            assert files == ([f"{export.file_sha256}.zip"] if export.file_sha256 else [])
            assert (export.status == Status.SUCCEEDED) == bool(files)
            if files:
                remove()
        assert Status.CANCELLED in outcomes


class TestDiskFull:
    @pytest.mark.parametrize(
        ("folder", "room"), [("seals", 0), ("exports", 0), ("exports", 8_192), ("exports", 28_672)]
    )
    def test_says_so_with_numbers_and_is_made_when_there_is_room(
        self, run, settings, tmp_path, folder, room
    ):
        """Before anything is sealed, before the file is begun, while it grows, near its end."""
        export = ask(run)
        small = Path(settings.LANDSCAPE_VAR) / folder
        with small_disk(small, 1):
            filler = fill(small)
            os.truncate(filler, filler.stat().st_size - room)
            exports.produce(export_id=export.pk, owner="w")
            export.refresh_from_db()
            assert (export.status, export.error_code) == (Status.WAITING, "disk_full")
            free, size = re.search(
                r": ([\d,]+) of ([\d,]+) bytes are free", export.error_text
            ).groups()
            assert size == "1,048,576"
            assert len(free) <= len(size)
            lying(settings)
            assert [path.name for path in small.rglob("*") if path.is_file()] == ["filler"]
            filler.unlink()

            until(lambda: exports.produce(export_id=export.pk, owner="w"))

            export.refresh_from_db()
            published_once(export, control(export, tmp_path / "control"), settings)


class TestDatabaseCut:
    def test_is_made_after_connections_were_ended(self, run, workers, settings, rounds, tmp_path):
        for each in range(rounds(8)):
            export = ask(run)
            wanted = control(export, tmp_path / f"control{each}")
            workers(export)
            until(lambda export=export: Export.objects.get(pk=export.pk).fence)
            time.sleep(random.Random(each).uniform(0, 0.8))
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE"
                    " datname = current_database() AND pid <> pg_backend_pid()"
                    " AND usename = current_user"
                )

            workers(export, slow=0)
            until(lambda export=export: ended(export), seconds=60)

            published_once(export, wanted, settings)
            remove()
