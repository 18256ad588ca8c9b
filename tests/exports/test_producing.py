"""Producing: published whole or not at all, stopped when told, and every failure in words."""

from __future__ import annotations

import errno
import hashlib
import threading
from pathlib import Path

import pytest
from django.core.files.storage import storages
from django.db import connection

from audit import exports
from audit.exports import files, jobs
from audit.exports.producing import ExportRefused, Made
from audit.models import Export
from audit.vocabulary import ExportJobStatus as Status
from tests.builders import NOON, make_run
from tests.running import until

pytestmark = pytest.mark.django_db(transaction=True)

BYTES = b"a finished file"
SHA256 = hashlib.sha256(BYTES).hexdigest()


@pytest.fixture(autouse=True)
def folder(settings, tmp_path):
    settings.LANDSCAPE_VAR = tmp_path
    settings.LANDSCAPE_EXPORT_LEASE = 1.5
    return tmp_path / "exports"


def ask():
    return exports.open_job(
        run_id=make_run().run_id, requested_by=1, with_csv=False, with_payloads=False, at=NOON
    )


def writing(step=lambda *_: None):
    """A writer that does something half-way."""

    def write(export, *, folder, beat):
        path = folder / "landscape_r_e1_0a0a0a0a.zip"
        path.write_bytes(BYTES[:4])
        beat.at("writing", done=1, total=3)
        step(folder, beat)
        path.write_bytes(BYTES)
        return Made(path=path, origin="o/run/r", root="0a" * 32, records=3, provisional=False)

    return write


def produce(export, write=None):
    done = exports.produce(export_id=export.pk, owner="w", write=write or writing())
    export.refresh_from_db()
    return done


def left(folder):
    return sorted(str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file())


def raising(error):
    def step(_folder, _beat):
        raise error

    return writing(step)


class TestProduce:
    def test_publishes_under_the_hash_of_the_content(self, folder):
        export = ask()

        assert produce(export)

        assert export.status == Status.SUCCEEDED
        assert (export.file_sha256, export.file_bytes) == (SHA256, len(BYTES))
        assert export.file_name == "landscape_r_e1_0a0a0a0a.zip"
        assert (export.records_done, export.records_total) == (3, 3)
        assert (export.expires_at - export.finished_at).days == 30
        with files.read(SHA256) as file:
            assert file.read() == BYTES
        assert left(folder) == [f"files/{SHA256}.zip"]
        assert list((folder / "work").iterdir()) == []

    def test_has_nothing_to_do_a_second_time(self):
        export = ask()
        produce(export)

        assert not produce(export)
        assert not exports.produce(export_id="x", owner="w", write=writing())

    @pytest.mark.parametrize(
        ("error", "code", "words"),
        [
            (OSError(errno.ENOSPC, "No space left"), "disk_full", "bytes are free"),
            (OSError(errno.EIO, "Input/output error"), "failed", "Input/output error"),
            (KeyError("surprise"), "unexpected", "KeyError: 'surprise'"),
        ],
    )
    def test_waits_for_better_times_and_says_why(self, folder, error, code, words):
        export = ask()

        produce(export, raising(error))

        assert (export.status, export.error_code) == (Status.WAITING, code)
        assert words in export.error_text
        assert "1 of 3 records were written" in export.error_text
        assert left(folder) == []

    def test_fails_at_once_where_no_attempt_can_help(self, folder):
        export = ask()

        produce(export, raising(ExportRefused("too_large", "7 records, and 5 are allowed")))

        assert (export.status, export.attempt) == (Status.FAILED, 1)
        assert (export.error_code, export.error_text) == (
            "too_large",
            "7 records, and 5 are allowed",
        )
        assert left(folder) == []

    def test_renews_its_lease_while_it_writes(self):
        export, seen = ask(), set()

        def step(_folder, beat):
            for _ in range(5):
                seen.add(Export.objects.get(pk=export.pk).lease_until)
                threading.Event().wait(0.4)
                beat.at("writing", done=2, total=3)

        produce(export, writing(step))

        assert export.status == Status.SUCCEEDED
        assert len(seen) > 2

    def test_stops_when_it_is_cancelled(self, folder):
        export = ask()

        def step(_folder, beat):
            exports.cancel(export_id=export.pk)
            until(lambda: beat.at("writing", done=2, total=3), seconds=5)

        produce(export, writing(step))

        assert export.status == Status.CANCELLED
        assert left(folder) == []

    def test_publishes_nothing_when_cancelled_at_the_last_moment(self, folder):
        export = ask()
        produce(export, writing(lambda *_: exports.cancel(export_id=export.pk)))

        assert export.status == Status.CANCELLED
        exports.tidy()
        assert left(folder) == []

    def test_is_fenced_out_by_who_took_over(self, folder):
        export = ask()

        def step(_folder, _beat):
            with connection.cursor() as cursor:
                cursor.execute("UPDATE exports SET lease_until = clock_timestamp()")
            jobs.claim(export_id=export.pk, owner="another")

        produce(export, writing(step))

        assert (export.status, export.fence) == (Status.RUNNING, 2)
        assert left(folder) == []

    def test_heals_a_result_that_was_removed_under_its_hands(self, folder, monkeypatch):
        export, put = ask(), files.put

        def put_and_lose(path, *, sha256):
            put(path, sha256=sha256)
            storages["exports"].delete(files.place(sha256))

        monkeypatch.setattr(jobs, "_FIRST_PAUSE", 0.01)
        monkeypatch.setattr(files, "put", put_and_lose)
        produce(export)
        assert export.status == Status.WAITING
        monkeypatch.undo()

        assert until(lambda: produce(export))
        assert export.status == Status.SUCCEEDED


class TestTidy:
    def test_keeps_what_is_wanted_and_nothing_else(self, folder):
        kept, over = ask(), ask()
        produce(kept)
        working = jobs.claim(export_id=over.pk, owner="w")
        with files.workspace(working) as work:
            (work / "part").write_bytes(b"1")
            for name in ("work/x/1/part", f"work/{over.pk}/0/part", f"files/{'c' * 64}.zip"):
                forgotten = Path(folder, name)
                forgotten.parent.mkdir(parents=True, exist_ok=True)
                forgotten.write_bytes(b"1")

            assert exports.tidy() == 3

            assert left(folder) == [f"files/{SHA256}.zip", f"work/{over.pk}/1/part"]

    def test_removes_what_has_expired(self, folder, settings):
        settings.LANDSCAPE_EXPORT_DAYS = 0
        produce(ask())

        exports.settle()
        exports.tidy()

        assert left(folder) == []
