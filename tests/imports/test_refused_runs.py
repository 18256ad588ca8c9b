"""Runs that are refused: every offending key is named, nothing is stored, neighbours get in."""

from __future__ import annotations

import sqlite3
from itertools import pairwise

import pytest

from audit.models import Run
from tests import audit_files
from tests.imports.conftest import stored

pytestmark = pytest.mark.django_db


def sql(*statements):
    """Spoil a file by statements; `{table}` constraints are dropped by rebuilding the table."""

    def spoil(connection):
        for statement in statements:
            connection.execute(statement)

    return spoil


def unruled(table, *statements):
    """Spoil a table after taking all its rules away, as an editor of the file could."""

    def spoil(connection):
        connection.execute("PRAGMA legacy_alter_table = ON")
        connection.execute(f'ALTER TABLE "{table}" RENAME TO old')
        columns = [
            f'"{name}" {kind}'
            for _cid, name, kind, *_rest in connection.execute("PRAGMA table_info(old)")
        ]
        connection.execute(f'CREATE TABLE "{table}" ({", ".join(columns)})')
        connection.execute(f'INSERT INTO "{table}" SELECT * FROM old')
        connection.execute("DROP TABLE old")
        for statement in statements:
            connection.execute(statement)

    return spoil


def cyclic(connection):
    """Two tokens that are each other's parents, beside an innocent fork."""
    tokens = [
        token for (token,) in connection.execute("SELECT token_id FROM tokens ORDER BY rowid")
    ]
    for child, parent, ordinal in ((0, 1, 0), (1, 0, 0), (2, 3, 0)):
        audit_files.insert(
            connection,
            "token_parents",
            token_id=tokens[child],
            parent_token_id=tokens[parent],
            ordinal=ordinal,
        )


def huge_cell(connection):
    connection.execute(
        "UPDATE nodes SET config_json = CAST(zeroblob(500000000) AS TEXT) WHERE node_type = 'gate'"
    )


def deep_reversed_chain(connection):
    """A long chain written child first: no cycle, though no link points back in row order."""
    tokens = [
        token for (token,) in connection.execute("SELECT token_id FROM tokens ORDER BY rowid")
    ]
    for child, parent in pairwise(tokens):
        audit_files.insert(
            connection, "token_parents", token_id=child, parent_token_id=parent, ordinal=0
        )


FIRST = "(SELECT {0} FROM {1} ORDER BY rowid LIMIT 1)"

# What is done to the file, then the code, table and column that the report names.
RUNS = {
    "an unknown status": (sql("UPDATE runs SET status = 'bogus'"), "CHECK", "runs", "status"),
    "an unknown outcome": (
        sql("UPDATE token_outcomes SET outcome = 'vanished' WHERE rowid = 2"),
        "CHECK",
        "token_outcomes",
        "outcome",
    ),
    "an unknown kind of call": (
        sql("UPDATE calls SET call_type = 'carrier_pigeon' WHERE rowid = 2"),
        "CHECK",
        "calls",
        "call_type",
    ),
    "text in an integer": (
        sql("UPDATE rows SET row_index = 'first' WHERE row_index = 0"),
        "WRONG_TYPE",
        "rows",
        "row_index",
    ),
    "a fraction in an integer": (
        sql("UPDATE rows SET row_index = 1.5 WHERE row_index = 0"),
        "WRONG_TYPE",
        "rows",
        "row_index",
    ),
    "bytes in text": (
        sql("UPDATE runs SET settings_json = x'7b7d'"),
        "WRONG_TYPE",
        "runs",
        "settings_json",
    ),
    "nothing where something must be": (
        unruled("rows", "UPDATE rows SET source_data_hash = NULL WHERE row_index = 1"),
        "WRONG_TYPE",
        "rows",
        "source_data_hash",
    ),
    "a word for a boolean": (
        sql("UPDATE token_outcomes SET is_terminal = 'yes' WHERE rowid = 1"),
        "WRONG_TYPE",
        "token_outcomes",
        "is_terminal",
    ),
    "two for a boolean": (
        sql("UPDATE token_outcomes SET is_terminal = 2 WHERE rowid = 1"),
        "WRONG_TYPE",
        "token_outcomes",
        "is_terminal",
    ),
    "a terminal flag that contradicts": (
        sql("UPDATE token_outcomes SET is_terminal = 0 WHERE rowid = 1"),
        "CHECK",
        "token_outcomes",
        "is_terminal",
    ),
    "a word for a time": (
        sql("UPDATE rows SET created_at = 'yesterday' WHERE row_index = 1"),
        "WRONG_TYPE",
        "rows",
        "created_at",
    ),
    "an infinite time": (
        sql("UPDATE rows SET created_at = 'infinity' WHERE row_index = 1"),
        "WRONG_TYPE",
        "rows",
        "created_at",
    ),
    "a day that does not exist": (
        sql("UPDATE rows SET created_at = '2026-02-30 12:00:00.000000' WHERE row_index = 1"),
        "WRONG_TYPE",
        "rows",
        "created_at",
    ),
    "a year after 9999": (
        sql("UPDATE rows SET created_at = '10000-01-01 12:00:00.000000' WHERE row_index = 1"),
        "WRONG_TYPE",
        "rows",
        "created_at",
    ),
    "an infinite duration": (
        sql("UPDATE node_states SET duration_ms = 9e999 WHERE rowid = 1"),
        "WRONG_TYPE",
        "node_states",
        "duration_ms",
    ),
    "a doubled key": (
        unruled("rows", "INSERT INTO rows SELECT * FROM rows WHERE row_index = 1"),
        "DUPLICATE",
        "rows",
        "row_index",
    ),
    "a doubled place": (
        unruled("rows", "UPDATE rows SET row_index = 1 WHERE row_index = 2"),
        "DUPLICATE",
        "rows",
        "row_index",
    ),
    "a second final outcome": (
        unruled(
            "token_outcomes",
            "INSERT INTO token_outcomes SELECT 'out_again', run_id, token_id, 'failed', 1, "
            "recorded_at, NULL, NULL, NULL, NULL, NULL, 'abcd', NULL FROM token_outcomes LIMIT 1",
        ),
        "DUPLICATE",
        "token_outcomes",
        "token_id",
    ),
    "a doubled call index": (
        unruled(
            "calls",
            "INSERT INTO calls SELECT 'again', state_id, call_index, call_type, status, "
            "request_hash, NULL, NULL, NULL, NULL, NULL, created_at FROM calls LIMIT 1",
        ),
        "DUPLICATE",
        "calls",
        "state_id, call_index",
    ),
    "a link to nothing": (
        sql("DELETE FROM edges WHERE label = 'true'"),
        "DANGLING",
        "routing_events",
        "edge_id",
    ),
    "a token whose row is gone": (
        sql("DELETE FROM rows WHERE row_index = 1"),
        "DANGLING",
        "tokens",
        "row_id",
    ),
    "a call of a state that never was": (
        sql("UPDATE calls SET state_id = 'synthetic' WHERE rowid = 1"),
        "DANGLING",
        "calls",
        "state_id",
    ),
    "a state at an unknown node": (
        sql("UPDATE node_states SET node_id = 'nowhere' WHERE rowid = 1"),
        "DANGLING",
        "node_states",
        "node_id",
    ),
    "an open state with an output": (
        sql("UPDATE node_states SET status = 'open' WHERE rowid = 1"),
        "CHECK",
        "node_states",
        "output_hash",
    ),
    "a completed state without an output": (
        sql("UPDATE node_states SET output_hash = NULL WHERE rowid = 1"),
        "CHECK",
        "node_states",
        "output_hash",
    ),
    "a cycle of parents": (cyclic, "CYCLE", "token_parents", "parent_token_id"),
    "NUL in text": (
        sql("UPDATE runs SET settings_json = 'a' || char(0) || 'b'"),
        "OUT_OF_BOUNDS",
        "runs",
        "settings_json",
    ),
    "half a character": (
        sql("UPDATE runs SET settings_json = CAST(x'22eda08022' AS TEXT)"),
        "UNREADABLE",
        "runs",
        "settings_json",
    ),
    "a 500 MB cell": (huge_cell, "UNREADABLE", "nodes", "config_json"),
    "an id that is too long": (
        unruled(
            "edges",
            "UPDATE edges SET edge_id = edge_id || printf('%0100d', 0) WHERE label = 'true'",
        ),
        "OUT_OF_BOUNDS",
        "edges",
        "edge_id",
    ),
    "a number beyond 32 bits": (
        sql("UPDATE node_states SET step_index = 3000000000 WHERE rowid = 1"),
        "OUT_OF_BOUNDS",
        "node_states",
        "step_index",
    ),
}


class TestImportFile:
    @pytest.mark.parametrize("kind", RUNS)
    def test_refuses_a_run_with(self, kind, make_file, do_import):
        spoil, code, table, column = RUNS[kind]

        report = do_import(make_file(spoil=spoil))

        assert report.error == ""
        assert [run.outcome for run in report.runs] == ["refused"]
        problems = report.runs[0].problems
        named = {(each["code"], each["table"]) for each in problems}
        assert (code, table) in named, problems
        assert any(
            column in each["column"] and each["key"] for each in problems if each["code"] == code
        ), problems
        assert stored() == {}

    def test_lists_every_offending_key(self, make_file, do_import):
        report = do_import(
            make_file(rows=30, spoil=sql("UPDATE calls SET call_type = 'x' WHERE rowid <= 25"))
        )

        problems = report.runs[0].problems
        assert len({each["key"] for each in problems}) == 25
        assert all("call_type" in each["message"] for each in problems)

    def test_lets_the_good_runs_beside_a_bad_one_in(self, make_file, do_import):
        bad = sql("UPDATE node_states SET status = 'odd' WHERE run_id = 'two'")

        report = do_import(make_file(runs=("one", "two", "three"), spoil=bad))

        outcomes = {run.run_id: run.outcome for run in report.runs}
        assert outcomes == {"one": "imported", "two": "refused", "three": "imported"}
        assert set(Run.objects.values_list("run_id", flat=True)) == {"one", "three"}

    def test_finds_whose_an_orphan_is(self, make_file, do_import):
        """Tokens of era A do not say their run; their visits do."""
        bad = sql("DELETE FROM rows WHERE run_id = 'two' AND row_index = 1")

        report = do_import(make_file(runs=("one", "two"), spoil=bad))

        outcomes = {run.run_id: run.outcome for run in report.runs}
        assert outcomes == {"one": "imported", "two": "refused"}

    def test_refuses_all_where_nobody_knows_whose_an_orphan_is(self, make_file, do_import):
        bad = sql("UPDATE calls SET state_id = 'synthetic' WHERE rowid = 1")

        report = do_import(make_file(runs=("one", "two"), spoil=bad))

        assert [run.outcome for run in report.runs] == ["refused", "refused"]

    @pytest.mark.parametrize("run_id", ["r" * 65, "a\0b"])
    def test_refuses_an_id_that_cannot_be_asked_for(self, run_id, make_file, do_import):
        report = do_import(make_file(runs=("good", run_id)))

        outcomes = {run.run_id: run.outcome for run in report.runs}
        assert outcomes == {"good": "imported", run_id: "refused"}

    def test_names_a_run_that_stands_twice_once(self, make_file, do_import):
        double = unruled("runs", "INSERT INTO runs SELECT * FROM runs")

        report = do_import(make_file(spoil=double))

        assert [run.outcome for run in report.runs] == ["refused"]
        assert report.runs[0].problems[0]["code"] == "DUPLICATE"

    def test_takes_a_deep_ancestry_written_in_reverse(self, make_file, do_import):
        report = do_import(make_file(rows=3_000, spoil=deep_reversed_chain))

        assert [run.outcome for run in report.runs] == ["imported"]

    def test_keeps_hostile_but_legal_text_byte_for_byte(self, make_file, do_import):
        text = '{"a":"<script>\u202e\u200b\'; DROP TABLE runs; --\\t\\n\t\n","a":1e400}'

        def spoil(connection: sqlite3.Connection):
            connection.execute("UPDATE runs SET settings_json = ?", (text,))

        do_import(make_file(spoil=spoil))

        assert Run.objects.get().settings_json == text
