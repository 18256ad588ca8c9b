"""The process that opens a foreign file: what it may not do, and what its death costs."""

from __future__ import annotations

import os
import signal
import sqlite3
from pathlib import Path

import pytest

from audit.errors import SourceRefused
from audit.imports import cage
from audit.imports.cage import Cage

FOR_EVER = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


@pytest.fixture
def path(tmp_path) -> Path:
    path = tmp_path / "audit.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (number, text)")
        rows = ((number, "ä" * 100) for number in range(5_000))
        connection.executemany("INSERT INTO t VALUES (?, ?)", rows)
    connection.close()
    return path


class TestCage:
    def test_answers_as_sqlite_does(self, path):
        with sqlite3.connect(path) as plain, Cage(path) as caged:
            for statement, values in (
                ("SELECT * FROM t ORDER BY number", ()),
                ("SELECT NULL, 1.5, -9223372036854775808, x'00ff', char(0, 10, 0x202e)", ()),
                ("SELECT 9e999, -9e999, 0.1", ()),
                ("SELECT number FROM t WHERE number < :most", {"most": 3}),
                ("SELECT number FROM t WHERE number > ?", [4_997]),
                ("DROP TABLE IF EXISTS temp.link", ()),
            ):
                answered = caged.execute(statement, values).fetchall()

                assert answered == plain.execute(statement, values).fetchall()
        plain.close()

    def test_keeps_answers_apart_and_lets_go_of_those_that_nobody_reads(self, path):
        with Cage(path) as caged:
            caged.execute("CREATE TEMP TABLE mine AS SELECT * FROM t")
            one, other = (caged.execute("SELECT number FROM temp.mine") for _ in range(2))
            mixed = [(one.fetchone(), other.fetchone()) for _ in range(5_000)]
            unread = caged.execute("SELECT * FROM temp.mine")
            unread.fetchone()
            del unread

            # A table that is still being read cannot be dropped.
            caged.execute("DROP TABLE temp.mine")

            assert mixed == [((number,), (number,)) for number in range(5_000)]

    def test_hands_on_what_sqlite_says(self, path):
        with Cage(path) as caged:
            with pytest.raises(sqlite3.OperationalError, match="no such table"):
                caged.execute("SELECT * FROM absent")
            with pytest.raises(sqlite3.OperationalError, match="Could not decode"):
                caged.execute("SELECT CAST(x'ff' AS TEXT)")

            assert caged.execute("SELECT 1").fetchone() == (1,)

    @pytest.mark.parametrize(
        ("statement", "told"),
        [
            ("SELECT zeroblob(100000000)", "too big"),
            (f"ATTACH '{os.devnull}' AS other", "too many attached"),
            ("SELECT load_extension('x')", "not authorized|no such function"),
            ("SELECT group_concat(hex(zeroblob(1000000)), '') FROM t", "too big"),
        ],
    )
    def test_refuses_what_no_reader_needs(self, path, statement, told):
        with Cage(path) as caged, pytest.raises(sqlite3.Error, match=told):
            caged.execute(statement)

    def test_has_nothing_of_this_process(self, path):
        with Cage(path) as caged:
            there = Path(f"/proc/{caged.process_id}")
            files = {str(each.readlink()) for each in (there / "fd").iterdir()}
            limits = (there / "limits").read_text()

            assert (there / "environ").read_bytes() == b""
            assert not [name for name in files if name.startswith("socket:")]
            assert f"{512 * 1024 * 1024}" in limits
            if caged.has_no_network:
                assert (there / "ns" / "net").readlink() != Path("/proc/self/ns/net").readlink()
                assert len((there / "net" / "dev").read_text().splitlines()) == 3
            started = caged.process_id
        assert not Path(f"/proc/{started}").exists()

    def test_stops_a_question_that_has_no_end(self, path, monkeypatch):
        monkeypatch.setattr(cage, "FIRST_SECONDS", 1)

        with Cage(path) as caged, pytest.raises(SourceRefused, match=r"busy|computing"):
            caged.execute(FOR_EVER)

    def test_survives_the_death_of_the_reader(self, path):
        with Cage(path) as caged:
            os.kill(caged.process_id, signal.SIGSEGV)

            with pytest.raises(SourceRefused, match="died of it"):
                caged.execute("SELECT 1")

    def test_refuses_a_file_that_eats_memory(self, path, monkeypatch):
        monkeypatch.setattr(cage, "_MEMORY", 60 * 1024 * 1024)
        statement = "SELECT hex(zeroblob(8000000)), hex(zeroblob(8000000 - ?)) FROM t"

        with Cage(path) as caged, pytest.raises((SourceRefused, sqlite3.Error)):
            for _row in caged.execute(statement, [1]):
                pass

    @pytest.mark.parametrize(
        "told", [b"\xff\xff\xff\xff", b"\0\0\0\4nope", b"\0\0\0\2[]", b'\0\0\0\13{"rows": 1}']
    )
    def test_takes_an_answer_that_is_none_for_the_end(self, path, tmp_path, monkeypatch, told):
        child = tmp_path / "child.py"
        hello = b'\0\0\0\24{"no_network": false}'[:4] + b'{"no_network": true}'
        child.write_text(
            f"import sys; o = sys.stdout.buffer; o.write({hello + told!r}); o.flush()\n"
            "sys.stdin.buffer.read()\n"
        )
        monkeypatch.setattr(cage, "_CHILD", child)

        with Cage(path) as caged, pytest.raises(SourceRefused, match="no reader says"):
            caged.execute("SELECT 1")
