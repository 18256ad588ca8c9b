"""Files that are refused as a whole: each with a sentence, none with a trace."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sqlite3
import threading

import pytest
import zstandard

from audit.imports import reading
from tests import audit_files
from tests.imports.conftest import stored

pytestmark = pytest.mark.django_db


def other_application(path):
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")


def cut_short(path, *, make_file):
    whole = make_file("whole.db", rows=50).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def scrambled(path, *, make_file):
    whole = bytearray(make_file("whole.db", rows=50).read_bytes())
    whole[4096:16384] = os.urandom(12288)
    path.write_bytes(whole)


def encrypted(path):
    path.write_bytes(os.urandom(8192))


def era_f(path):
    packed = audit_files.DATA / "era-f" / "threshold_gate" / "audit.db.zst"
    with packed.open("rb") as reader, path.open("wb") as writer:
        zstandard.ZstdDecompressor().copy_stream(reader, writer)


def without(statement):
    def make(path):
        connection = audit_files.empty(path)
        audit_files.write_run(connection, run_id="one", rows=2)
        connection.execute("PRAGMA legacy_alter_table = ON")
        for each in statement.split(";"):
            connection.execute(each)
        connection.close()

    return make


def posing_view(path):
    without(
        "ALTER TABLE calls RENAME TO genuine_calls; "
        "CREATE VIEW calls AS SELECT * FROM genuine_calls"
    )(path)


def posing_trigger(path):
    connection = audit_files.empty(path)
    audit_files.write_run(connection, run_id="one", rows=2)
    connection.execute("CREATE TRIGGER rows AFTER INSERT ON edges BEGIN SELECT 1; END")
    connection.close()


FILES = {
    "a directory": (lambda path: path.mkdir(), "is a directory"),
    "an empty file": (lambda path: path.touch(), "is empty"),
    "not SQLite": (lambda path: path.write_text("id,amount\n1,500\n"), "not an SQLite database"),
    "encrypted": (encrypted, "or it is encrypted"),
    "cut short": (cut_short, "damaged|cut short"),
    "scrambled": (scrambled, "damaged|cut short"),
    "another application's": (other_application, "not an audit database"),
    "a missing table": (without("DROP TABLE calls"), "table calls is missing"),
    "a missing column": (
        without("ALTER TABLE runs DROP COLUMN export_error"),
        "table runs lacks export_error",
    ),
    "an unknown column": (
        without("ALTER TABLE runs ADD COLUMN mood TEXT"),
        "unknown columns mood",
    ),
    "a computed column": (
        without("ALTER TABLE runs ADD COLUMN mood TEXT AS (run_id)"),
        "computed columns",
    ),
    "a view named like a table": (posing_view, "a view named calls"),
    "a trigger named like a table": (posing_trigger, "a trigger named rows"),
    "no run": (lambda path: audit_files.empty(path).close(), "without any run"),
    "era F": (era_f, "era F .*schema epoch 29"),
    "a stamped era": (without("PRAGMA user_version = 7"), "era D .*epoch 7"),
    "a session database": (
        without(
            "CREATE TABLE elspeth_schema_identity (singleton_id, application_id, store_kind, "
            "schema_epoch); "
            "INSERT INTO elspeth_schema_identity VALUES (1, 'e', 'session', 29)"
        ),
        "session database",
    ),
    "before era A": (
        without("ALTER TABLE tokens RENAME COLUMN expand_group_id TO gone"),
        "before era A",
    ),
}


class TestImportFile:
    @pytest.mark.parametrize("kind", FILES)
    def test_refuses(self, kind, tmp_path, make_file, do_import):
        make, sentence = FILES[kind]
        path = tmp_path / "bad.db"
        if make in (cut_short, scrambled):
            make(path, make_file=make_file)
        else:
            make(path)

        report = do_import(path)

        assert not report.ok
        assert report.runs == []
        assert re.search(sentence, report.error), report.error
        assert stored() == {}

    def test_refuses_what_is_not_there(self, tmp_path, do_import):
        report = do_import(tmp_path / "nowhere.db")

        assert "does not exist" in report.error

    def test_refuses_a_pipe_without_waiting_for_it(self, tmp_path, do_import):
        os.mkfifo(tmp_path / "pipe")

        report = do_import(tmp_path / "pipe")

        assert "not an ordinary file" in report.error

    def test_names_what_is_missing_when_the_disk_is_full(self, make_file, do_import, tmp_path):
        path = make_file()
        small = tmp_path / "var"
        small.mkdir()
        os.system(f"mount -t tmpfs -o size=64k none {small}")
        try:
            if not os.path.ismount(small):
                pytest.skip("needs the right to mount a small file system")
            report = do_import(path)
        finally:
            os.system(f"umount {small}")

        assert "No space for a private copy" in report.error


class TestTheSource:
    def test_is_never_changed_and_gets_no_neighbours(self, make_file, do_import, tmp_path):
        folder = tmp_path / "kept"
        folder.mkdir()
        path = shutil.move(make_file(), folder / "audit.db")
        before = hashlib.sha256(path.read_bytes()).hexdigest()

        do_import(path)

        assert hashlib.sha256(path.read_bytes()).hexdigest() == before
        assert [each.name for each in folder.iterdir()] == ["audit.db"]

    def test_counts_the_rows_that_are_only_in_its_log(self, tmp_path, do_import):
        path, connection = written_ahead(tmp_path)
        without_log = sqlite3.connect(f"file:{path}?immutable=1", uri=True)
        assert without_log.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0

        report = do_import(path)

        connection.close()
        assert report.runs[0].records["rows"] == 3
        assert not report.rests_on_clean_close

    def test_is_read_whole_while_somebody_keeps_writing(self, tmp_path, do_import, monkeypatch):
        """No copy holds still then; SQLite's own backup reads one state of it."""
        path, connection = written_ahead(tmp_path)
        connection.execute("UPDATE runs SET status = 'running', completed_at = NULL")
        connection.execute("DELETE FROM artifacts")
        writing = threading.Event()
        enough = threading.Event()

        def keep_writing():
            writer = sqlite3.connect(path, isolation_level=None)
            index = 3
            while not enough.is_set():
                audit_files.write_run(
                    writer, run_id="one", rows=1, first_row=index, status="running"
                )
                writing.set()
                index += 1
            writer.close()

        writer = threading.Thread(target=keep_writing)
        writer.start()
        try:
            writing.wait()
            monkeypatch.setattr(reading, "_COPY_ATTEMPTS", 0)
            report = do_import(path)
        finally:
            enough.set()
            writer.join()
            connection.close()

        assert report.ok, report.runs[0].problems
        records = report.runs[0].records
        assert records["node_states"] == 3 * records["rows"] == 3 * records["token_outcomes"]

    def test_imports_from_a_folder_that_nobody_may_write(self, tmp_path, do_import):
        path, connection = written_ahead(tmp_path)
        folder = tmp_path / "locked"
        folder.mkdir()
        for each in path.parent.glob("live.db*"):
            if not each.name.endswith("-shm"):
                shutil.copy(each, folder)
        connection.close()
        folder.chmod(0o555)
        try:
            report = do_import(folder / "live.db")
        finally:
            folder.chmod(0o755)

        assert report.runs[0].records["rows"] == 3
        assert sorted(each.name for each in folder.iterdir()) == ["live.db", "live.db-wal"]

    def test_says_when_it_rests_on_a_clean_close(self, tmp_path, do_import):
        path, connection = written_ahead(tmp_path)
        connection.close()
        assert not path.with_name("live.db-wal").exists()

        report = do_import(path)

        assert report.ok
        assert report.rests_on_clean_close

    def test_rolls_back_what_a_crash_left_half_written(self, tmp_path, do_import):
        path = tmp_path / "live.db"
        connection = audit_files.empty(path)
        audit_files.write_run(connection, run_id="one", rows=2)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = 1")
        connection.execute("BEGIN")
        connection.execute("UPDATE runs SET status = 'failed'")
        for index in range(500):
            audit_files._write_row(connection, "one", index + 2, "A")
        folder = tmp_path / "crashed"
        folder.mkdir()
        for each in path.parent.glob("live.db*"):
            shutil.copy(each, folder)
        connection.execute("ROLLBACK")
        connection.close()
        assert (folder / "live.db-journal").stat().st_size

        report = do_import(folder / "live.db")

        assert report.runs[0].records["rows"] == 2

    def test_leaves_no_copy_behind(self, make_file, do_import, settings):
        do_import(make_file())

        left = [each.name for each in (settings.LANDSCAPE_VAR / "staging").iterdir()]
        assert left == ["gate"]

    def test_has_a_copy_that_nobody_clears_away(self, make_file, do_import):
        """However many importers start at the same moment."""
        path = make_file()
        told = []
        many = [
            threading.Thread(target=lambda: told.append(list(opened_for_a_moment(path))))
            for _each in range(24)
        ]

        for each in many:
            each.start()
        for each in many:
            each.join()

        assert told == [["one"]] * 24

    def test_clears_what_a_killed_importer_left(self, make_file, do_import, settings):
        forgotten = settings.LANDSCAPE_VAR / "staging" / "forgotten"
        forgotten.mkdir(parents=True)
        (forgotten / "lock").touch()

        do_import(make_file())

        assert not forgotten.exists()


def opened_for_a_moment(path):
    with reading.opened(path) as source:
        return source.run_ids


def written_ahead(tmp_path):
    """A live database in WAL mode whose content is only in its log, and the open writer."""
    path = tmp_path / "live.db"
    seed = sqlite3.connect(path)
    seed.execute("PRAGMA journal_mode = WAL")
    seed.close()
    connection = audit_files.empty(path)
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    audit_files.write_run(connection, run_id="one", rows=3)
    return path, connection
