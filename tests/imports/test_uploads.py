"""Uploads as jobs: taken in by a worker, refused with a sentence, tried again, and cleared away."""

from __future__ import annotations

import hashlib
import io
import json
import re
import sqlite3
import zipfile
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.db import connection, transaction

from audit import imports
from audit.errors import IllegalTransition, NotRecorded, UploadRefused
from audit.imports import jobs, performing
from audit.models import Import, ImportJob, Payload, Run
from audit.vocabulary import ImportJobStatus as Status
from tests.imports.conftest import NOON, stored

pytestmark = pytest.mark.django_db


def upload(content: bytes, **given):
    files = {"log": None, "payload_archive": None, "name": "their audit.db", "requested_by": 1}
    return imports.open_job(database=ContentFile(content), at=NOON, **files | given)


def done(job) -> ImportJob:
    assert imports.perform(job_id=job.pk, owner="worker", at=NOON)
    return ImportJob.objects.get(pk=job.pk)


def kept(job) -> list[str]:
    try:
        return sorted(storages["uploads"].listdir(job.pk)[1])
    except FileNotFoundError:
        return []


def change(job, what):
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE import_jobs SET {what} WHERE job_id = %s", [job.pk])


class TestPerform:
    def test_imports_every_run_and_reports_it(self, make_file):
        job = upload(make_file(runs=("one", "two")).read_bytes())

        ended = done(job)

        report = json.loads(ended.report_json)
        assert ended.status == Status.SUCCEEDED
        assert (report["era"], report["runs_total"]) == ("A", 2)
        assert [run["outcome"] for run in report["runs"]] == ["imported", "imported"]
        assert set(Run.objects.values_list("run_id", flat=True)) == {"one", "two"}
        assert kept(job) == []
        assert not imports.perform(job_id=job.pk, owner="another", at=NOON)

    def test_reads_the_log_that_comes_with_it(self, tmp_path, make_file):
        path = make_file()
        writer = sqlite3.connect(path, isolation_level=None)
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("UPDATE nodes SET plugin_name = 'from the log'")
        log = ContentFile(path.with_name("audit.db-wal").read_bytes())

        job = done(upload(path.read_bytes(), log=log))

        writer.close()
        assert job.status == Status.SUCCEEDED
        assert Run.objects.get().nodes.filter(plugin_name="from the log").exists()

    def test_says_what_is_wrong_with_a_run(self, make_file):
        def spoil(source):
            source.execute("UPDATE tokens SET created_at = 'yesterday' WHERE rowid = 1")

        job = done(upload(make_file(runs=("good", "bad"), spoil=spoil).read_bytes()))

        told = {run["run_id"]: run for run in json.loads(job.report_json)["runs"]}
        assert job.status == Status.REFUSED
        assert job.error_text == "1 of 2 runs were refused; nothing of them is stored."
        assert sorted(run["outcome"] for run in told.values()) == ["imported", "refused"]
        refused = next(run for run in told.values() if run["outcome"] == "refused")
        assert refused["problems"][0]["reason"] == "the value is not of its column's kind"
        # What the record says is content, and not kept.
        assert "yesterday" not in job.report_json

    def test_takes_payloads_in_from_a_zip(self, make_file):
        body = b'{"amount": 1}'
        ref = hashlib.sha256(body).hexdigest()

        def refer(source):
            source.execute("UPDATE rows SET source_data_ref = ? WHERE rowid = 1", [ref])

        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr(f"payloads/{ref[:2]}/{ref}", body)
        job = done(
            upload(
                make_file(spoil=refer).read_bytes(),
                payload_archive=ContentFile(packed.getvalue()),
            )
        )

        assert job.status == Status.SUCCEEDED
        assert Payload.objects.get(pk=ref).state == "available"

    @pytest.mark.parametrize(
        ("name", "content", "told"),
        [
            ("../../etc/passwd", b"x", "named by their SHA-256"),
            ("a" * 64, b"\0" * 200_000_000, "100 times"),
        ],
    )
    def test_refuses_an_archive_that_is_none(self, make_file, name, content, told):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            archive.writestr(name, content)

        job = done(upload(make_file().read_bytes(), payload_archive=ContentFile(packed.getvalue())))

        assert job.status == Status.REFUSED
        assert told in job.error_text
        assert stored() == {}

    def test_tries_again_what_the_house_failed_at_and_gives_up_in_the_end(
        self, make_file, monkeypatch
    ):
        def full(*_args, **_options):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(performing, "import_file", full)
        monkeypatch.setattr(jobs, "_PAUSE", 0)
        job = upload(make_file().read_bytes())

        for expected in (Status.WAITING, Status.WAITING, Status.FAILED):
            job = done(job)
            assert job.status == expected

        assert "No space left" in job.error_text
        assert kept(job) == ["audit.db"]
        monkeypatch.undo()
        assert done(imports.again(job_id=job.pk)).status == Status.SUCCEEDED

    def test_stops_when_it_is_cancelled(self, make_file, monkeypatch):
        monkeypatch.setattr(jobs, "LEASE", 0.06)
        job = upload(make_file().read_bytes())

        def cancelled(path, *, at, payload_folder, progress):
            imports.cancel(job_id=job.pk)
            raise jobs.Cancelled(job.pk)

        monkeypatch.setattr(performing, "import_file", cancelled)

        assert done(job).status == Status.CANCELLED
        assert stored() == {}
        monkeypatch.undo()
        assert done(imports.again(job_id=job.pk)).status == Status.SUCCEEDED
        for act in (imports.again, imports.cancel):
            with pytest.raises(IllegalTransition, match="is succeeded"):
                act(job_id=job.pk)


def never_ending_view(path: Path) -> None:
    with sqlite3.connect(path) as source:
        source.execute(
            "CREATE VIEW runs AS WITH RECURSIVE n(run_id) AS (SELECT 1 UNION ALL "
            "SELECT run_id + 1 FROM n) SELECT * FROM n"
        )
    source.close()


def swollen_value(path: Path) -> None:
    with sqlite3.connect(path) as source:
        source.execute("UPDATE runs SET settings_json = zeroblob(40000000)")
    source.close()


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2 - 100])


HOSTILE = {
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "wrong magic": (lambda path: path.write_bytes(b"PK\3\4" * 200), "not an SQLite database"),
    "cut short": (cut, "damaged|cut short"),
    "view without end": (lambda path: (path.unlink(), never_ending_view(path)), "a view named"),
    "zeroblob": (swollen_value, "larger than 16,777,216 bytes|SQLite cannot hand the value out"),
}


@pytest.mark.parametrize(("spoil", "told"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_file_costs_a_sentence(make_file, spoil, told):
    path = make_file(rows=40)
    spoil(path)

    job = done(upload(path.read_bytes()))

    assert job.status == Status.REFUSED
    words = job.error_text + json.dumps(job.report_json)
    assert re.search(told, words), words
    assert str(path.parent) not in words
    assert not Import.objects.exists()
    assert kept(job) == []


class TestOpenJob:
    def test_refuses_what_is_too_large(self, settings):
        settings.LANDSCAPE_IMPORT_MAX_MB = 1

        with pytest.raises(UploadRefused, match=r"1,000,001 bytes.*allows 1 MB"):
            upload(b"x" * 600_000, log=ContentFile(b"x" * 400_001))

        assert not ImportJob.objects.exists()

    def test_keeps_a_quota_for_each_person(self, settings):
        settings.LANDSCAPE_IMPORT_QUOTA_MB = 1
        for _ in range(2):
            imports.cancel(job_id=upload(b"x" * 400_000).pk)

        with pytest.raises(UploadRefused, match="within a day"):
            upload(b"x" * 400_000)
        upload(b"x" * 400_000, requested_by=2)

        assert ImportJob.objects.count() == 3
        assert len(storages["uploads"].listdir("")[0]) == 3

    def test_waits_for_what_one_has_uploaded(self):
        for _ in range(5):
            upload(b"x")

        with pytest.raises(UploadRefused, match="5 uploads of yours"):
            upload(b"x")


class TestSettle:
    def test_gives_up_what_lost_its_worker_three_times(self, make_file):
        job = upload(make_file().read_bytes())
        for _ in range(3):
            assert jobs.claim(job_id=job.pk, owner="gone")
            change(job, "lease_until = clock_timestamp() - interval '1 second'")
            assert imports.ring(limit=9) == [job.pk]
            change(job, "rung_at = NULL")

        imports.settle()

        job.refresh_from_db()
        assert job.status == Status.FAILED
        assert job.error_text.startswith("3 attempts were begun")

    def test_a_worker_that_was_thought_dead_changes_nothing(self):
        job = upload(b"x")
        first = jobs.claim(job_id=job.pk, owner="paused")
        change(job, "lease_until = clock_timestamp() - interval '1 second'")
        second = jobs.claim(job_id=job.pk, owner="other")

        assert not jobs.end(first, status=Status.SUCCEEDED, report=None, text=None)
        with pytest.raises(jobs.LeaseLost):
            jobs.hold(first, doing="", done=1, total=2)
        assert jobs.end(second, status=Status.SUCCEEDED, report=None, text=None)


class TestTheDatabase:
    @pytest.mark.parametrize(
        "step", ["status = 'succeeded', finished_at = now()", "requested_by = 2"]
    )
    def test_refuses_other_steps(self, step):
        job = upload(b"x")

        with pytest.raises(Exception, match=r"cannot go|permission denied"), transaction.atomic():
            change(job, step)


class TestTidy:
    def test_keeps_what_is_needed_and_removes_the_rest(self):
        waits, old, lost = upload(b"x"), upload(b"x"), upload(b"x")
        change(old, "status = 'cancelled', finished_at = now() - interval '8 days'")
        storages["uploads"].save(f"{'a' * 32}/audit.db", ContentFile(b"x"))
        imports.cancel(job_id=lost.pk)

        assert imports.tidy(at=NOON) == 1
        assert (kept(waits), kept(old), kept(lost)) == (["audit.db"], [], ["audit.db"])
        assert imports.tidy(at=NOON + timedelta(days=36500)) == 1

    def test_knows_no_upload_that_is_not_there(self):
        with pytest.raises(NotRecorded):
            imports.cancel(job_id="x")
