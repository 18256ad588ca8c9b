"""Broken invariants: each is seen once it is there, and none is seen where nothing is wrong."""

from __future__ import annotations

import pytest

from audit.imports import sweep
from audit.models import Finding
from audit.vocabulary import FindingLevel
from tests import audit_files
from tests.imports.conftest import NOON

pytestmark = pytest.mark.django_db

TOKEN = "(SELECT token_id FROM tokens ORDER BY rowid LIMIT 1 OFFSET {})"


def link(connection, child, parent, ordinal=0):
    connection.execute(
        "INSERT INTO token_parents (token_id, parent_token_id, ordinal) "
        f"VALUES ({TOKEN.format(child)}, {TOKEN.format(parent)}, {ordinal})"
    )


def sql(*statements):
    def spoil(connection):
        for statement in statements:
            connection.execute(statement)

    return spoil


def forked_under_another_name(connection):
    link(connection, 1, 0)
    connection.execute(
        "UPDATE tokens SET fork_group_id = 'g1', branch_name = 'a' "
        f"WHERE token_id = {TOKEN.format(1)}"
    )


def batch(connection, *, status="completed", state=None, ordinals=(0, 1), outcome=None):
    audit_files.insert(
        connection,
        "batches",
        batch_id="b1",
        run_id="one",
        aggregation_node_id=audit_files.node_ids("one")["transform"],
        aggregation_state_id=state,
        attempt=0,
        status=status,
        created_at=audit_files.moment(1),
        completed_at=audit_files.moment(2),
    )
    for place, ordinal in enumerate(ordinals):
        connection.execute(
            "INSERT INTO batch_members (batch_id, token_id, ordinal) "
            f"VALUES ('b1', {TOKEN.format(place)}, {ordinal})"
        )
    if outcome:
        connection.execute(
            "UPDATE token_outcomes SET outcome = ?, is_terminal = ?, batch_id = 'b1', "
            "sink_name = NULL WHERE rowid = 1",
            outcome,
        )


FIRST_STATE = "rowid = (SELECT min(rowid) FROM node_states)"

# What is done to a sound file, and the code that must be found for it.
BROKEN = {
    "a token without an end": (
        sql("DELETE FROM token_outcomes WHERE rowid = 1"),
        "TOKEN_WITHOUT_OUTCOME",
    ),
    "an end that no sink confirms": (
        sql("DELETE FROM node_states WHERE rowid = 3", "DELETE FROM artifacts"),
        "OUTCOME_WITHOUT_DELIVERY",
    ),
    "an open visit": (
        sql(
            "UPDATE node_states SET status = 'open', output_hash = NULL, duration_ms = NULL, "
            "completed_at = NULL WHERE rowid = 2"
        ),
        "OPEN_IN_COMPLETED_RUN",
    ),
    "a missing attempt": (sql("UPDATE node_states SET attempt = 1 WHERE rowid = 2"), "ATTEMPT_GAP"),
    "an attempt after a success": (
        sql(
            "INSERT INTO node_states SELECT 'again', token_id, run_id, node_id, step_index, 1, "
            "status, input_hash, output_hash, NULL, NULL, duration_ms, NULL, started_at, "
            "completed_at FROM node_states WHERE rowid = 2"
        ),
        "ATTEMPT_AFTER_SUCCESS",
    ),
    "a break in the chain": (
        sql(f"UPDATE node_states SET input_hash = '{'0' * 64}' WHERE rowid = 2"),
        "HASH_CHAIN_BREAK",
    ),
    "a first input that is not the row": (
        sql(
            f"UPDATE rows SET source_data_hash = '{'0' * 64}', source_data_ref = NULL "
            "WHERE row_index = 0"
        ),
        "FIRST_INPUT_DIFFERS",
    ),
    "a decision with a hole": (
        sql("UPDATE routing_events SET ordinal = 3 WHERE rowid = 1"),
        "ROUTING_GROUP",
    ),
    "an edge of another node": (
        sql(
            "UPDATE routing_events SET edge_id = (SELECT edge_id FROM edges WHERE from_node_id "
            "LIKE 'source%') WHERE rowid = 1"
        ),
        "ROUTING_EDGE",
    ),
    "a parent without a reason": (lambda c: link(c, 1, 0), "PARENTS"),
    "a merge of nothing": (sql("UPDATE tokens SET join_group_id = 'j' WHERE rowid = 1"), "PARENTS"),
    "a token made in two ways": (
        sql("UPDATE tokens SET join_group_id = 'j', fork_group_id = 'f' WHERE rowid = 1"),
        "PARENTS",
    ),
    "a fork of another group": (forked_under_another_name, "FORK_GROUP"),
    "a batch that nothing flushed": (batch, "BATCH"),
    "a batch with a hole": (
        lambda c: batch(c, status="failed", ordinals=(0, 2)),
        "BATCH",
    ),
    "an end before the beginning": (
        sql(f"UPDATE node_states SET completed_at = '{audit_files.moment(-5)}' WHERE rowid = 1"),
        "TIME_ORDER",
    ),
    "a run that ends before it begins": (
        sql(f"UPDATE runs SET completed_at = '{audit_files.moment(-5)}'"),
        "TIME_ORDER",
    ),
    "an artifact of a gate": (
        sql(
            "UPDATE artifacts SET sink_node_id = (SELECT node_id FROM nodes WHERE "
            "node_type = 'gate') WHERE rowid = 1"
        ),
        "ARTIFACT_SINK",
    ),
    "a reference that is not the hash": (
        sql(f"UPDATE rows SET source_data_ref = '{'0' * 64}' WHERE row_index = 0"),
        "REF_DIFFERS",
    ),
    "a call's reference that is not the hash": (
        sql(f"UPDATE calls SET response_ref = '{'0' * 64}' WHERE rowid = 1"),
        "REF_DIFFERS",
    ),
    "an edge into the source": (
        sql(
            "UPDATE edges SET to_node_id = (SELECT node_id FROM nodes WHERE node_type = 'source') "
            "WHERE label = 'true'"
        ),
        "GRAPH",
    ),
    "a circle of nodes": (
        sql(
            "UPDATE edges SET to_node_id = (SELECT node_id FROM nodes WHERE node_type = "
            "'transform') WHERE label = 'true'"
        ),
        "GRAPH",
    ),
    "a hash that is none": (
        sql("UPDATE nodes SET config_hash = 'ABC' WHERE node_type = 'gate'"),
        "HASH_SHAPE",
    ),
    "a reference that climbs": (
        sql("UPDATE routing_events SET reason_ref = '../../etc/passwd' WHERE rowid = 1"),
        "REF_MALFORMED",
    ),
    "JSON that is none": (sql("UPDATE runs SET settings_json = '{oops'"), "JSON_INVALID"),
}

# The same for habits: these are told as information.
HABITS = {
    "Q08": lambda c: batch(c, status="failed", outcome=("buffered", 0)),
    "Q11": lambda c: (
        batch(c, state=c.execute("SELECT state_id FROM node_states").fetchone()[0]),
        c.execute("UPDATE runs SET status = 'failed'"),
    ),
    "Q12": sql(
        "UPDATE runs SET status = 'failed'",
        "UPDATE node_states SET status = 'open', output_hash = NULL, duration_ms = NULL, "
        "completed_at = NULL WHERE rowid = 2",
    ),
    "Q15": lambda c: (
        batch(c, state=c.execute("SELECT state_id FROM node_states").fetchone()[0]),
        c.execute(f"UPDATE node_states SET input_hash = '{'0' * 64}' WHERE rowid = 3"),
    ),
    "Q19": sql(f"UPDATE runs SET completed_at = '{audit_files.moment(1)}'"),
    "Q24": sql("UPDATE runs SET status = 'running', completed_at = NULL"),
    "ARTIFACT_AMBIGUOUS": sql(
        "INSERT INTO artifacts SELECT 'twin', run_id, produced_by_state_id, sink_node_id, "
        "artifact_type, path_or_uri, content_hash, size_bytes, NULL, created_at FROM artifacts "
        "LIMIT 1"
    ),
    "UNKNOWN_HASHING": sql("UPDATE runs SET canonical_version = 'md5-of-repr'"),
}


class TestSweep:
    def test_finds_no_error_in_a_sound_run(self, make_file, do_import):
        report = do_import(make_file(rows=8))

        assert report.runs[0].findings == {"Q01": 1, "Q06": 2, "Q07": 5, "Q10": 8}
        assert not Finding.objects.filter(level=FindingLevel.ERROR).exists()

    @pytest.mark.parametrize("kind", BROKEN)
    def test_finds(self, kind, make_file, do_import):
        spoil, code = BROKEN[kind]

        report = do_import(make_file(rows=4, spoil=spoil))

        assert report.ok, report.runs[0].problems
        found = Finding.objects.filter(code=code)
        assert found.exists(), report.runs[0].findings
        assert {each.level for each in found} == {FindingLevel.ERROR}
        assert all(each.table_name and each.record_key and each.detail for each in found)
        assert all(each.found_at == NOON for each in found)

    @pytest.mark.parametrize("code", HABITS)
    def test_tells_of_a_habit(self, code, make_file, do_import):
        report = do_import(make_file(rows=4, spoil=HABITS[code]))

        assert report.ok, report.runs[0].problems
        found = Finding.objects.filter(code=code)
        assert {each.level for each in found} == {FindingLevel.INFO}, report.runs[0].findings

    def test_tells_the_first_and_counts_the_rest(self, make_file, do_import, monkeypatch):
        monkeypatch.setitem(sweep.MAX_TOLD, FindingLevel.INFO, 3)

        report = do_import(make_file(rows=8))

        told = Finding.objects.filter(code="Q10").order_by("finding_id")
        assert report.runs[0].findings["Q10"] == 8
        assert [(bool(each.record_key), each.occurrences) for each in told] == [
            (True, 1),
            (True, 1),
            (True, 1),
            (False, 5),
        ]
        assert told[3].detail.startswith("5 further records: ")

    def test_costs_the_same_statements_whatever_it_finds(self, make_file, do_import, count_queries):
        small, large = (
            make_file("small.db", runs=("s",)),
            make_file("large.db", runs=("l",), rows=90),
        )

        costs = {count_queries(lambda path=path: do_import(path)) for path in (small, large)}

        assert len(costs) == 1
