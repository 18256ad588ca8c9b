"""Ledger and journeys against the same, counted record by record: on real runs and random ones."""

import json
from collections import Counter
from datetime import UTC, datetime

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit import imports, lineage, summaries
from audit.models import Run, RunJourney, RunSummary
from tests import audit_files
from tests.builders import (
    make_batch,
    make_child,
    make_edge,
    make_node,
    make_outcome,
    make_route,
    make_row,
    make_run,
    make_state,
    make_token,
    new_id,
)
from tests.summaries.naive import Naive

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
REAL = sorted(audit_files.DATA.glob("era-[ab]/**/*.db*")) if audit_files.DATA.is_dir() else []


def agree(run_id):
    """Whatever is stored of a run is what counting by hand gives, and it adds up."""
    naive = Naive(run_id)
    summary = RunSummary.objects.get(run_id=run_id)
    told = json.loads(summary.ledger_json)
    kept = RunJourney.objects.filter(run_id=run_id)
    by_hand = naive.journeys()
    unconfirmed = [token for token in naive.tokens if naive.unconfirmed(token)]

    assert told["rows_in"] == Counter(row.source_node_id for row in naive.rows)
    assert told["rows_out"] == Counter(naive.row_standing(row) for row in naive.rows)
    assert told["made"] == Counter(naive.made(token) for token in naive.tokens)
    assert told["ended"] == Counter(naive.standing(token) for token in naive.tokens)
    assert {node_id: account["out"] for node_id, account in told["nodes"].items()} == naive.nodes()
    assert told["unconfirmed"] == summary.unconfirmed == len(unconfirmed)
    listed = {line[2] for line in told["listed"]["unconfirmed"]}
    assert listed <= {token.token_id for token in unconfirmed}
    assert len(listed) == min(100, len(unconfirmed))
    assert summary.journeys == len(by_hand)
    assert summary.rows_alone == sum(count == 1 for count in by_hand.values())
    assert Counter(kept.values_list("rows", flat=True)) == Counter(by_hand.values())

    ledger = lineage.read_ledger(run_id)
    assert ledger.rows_in == ledger.rows_out + ledger.rows_unaccounted
    assert ledger.tokens_made == ledger.tokens_ended + ledger.tokens_unaccounted
    assert {line.row_id for line in ledger.lost} == {
        row.row_id for row in naive.rows if naive.row_standing(row) == "unaccounted"
    }
    assert ledger.rows_unaccounted == summary.unaccounted
    # Every figure of the rows' account is the sum of the journeys that it leads to.
    by_standing = Counter()
    for standing, rows in kept.values_list("standing", "rows"):
        by_standing[standing] += rows
    assert by_standing == told["rows_out"]


class TestRealRuns:
    @pytest.mark.skipif(not REAL, reason=f"no real databases in {audit_files.DATA}")
    @pytest.mark.parametrize(
        "path", REAL, ids=["-".join(path.parts[-3:]).removesuffix(".db") for path in REAL]
    )
    def test_are_counted_as_by_hand(self, path, tmp_path, settings):
        settings.LANDSCAPE_VAR = tmp_path / "var"
        copy = tmp_path / "audit.db"
        if path.suffix == ".zst":
            with path.open("rb") as reader, copy.open("wb") as writer:
                zstandard.ZstdDecompressor().copy_stream(reader, writer)
        else:
            copy.write_bytes(path.read_bytes())
        imports.import_file(copy, at=NOON, payload_folder=None, progress=lambda *_told: None)

        for run_id in Run.objects.values_list("run_id", flat=True):
            agree(run_id)


OUTCOMES = st.sampled_from(
    [None, "completed", "routed", "failed", "quarantined", "buffered", "consumed_in_batch"]
)
STATUSES = st.sampled_from(["completed", "completed", "failed", "open"])
TOKENS = st.fixed_dictionaries(
    {
        "visits": st.lists(st.tuples(st.integers(0, 2), STATUSES, st.booleans()), max_size=3),
        "outcome": OUTCOMES,
        "sink": st.sampled_from([None, "output"]),
        "waits": st.booleans(),
    }
)
ROWS = st.fixed_dictionaries(
    {
        "tokens": st.lists(TOKENS, max_size=2),
        "made": st.sampled_from(["fork", "expansion", "merge"]),
        "children": st.lists(TOKENS, max_size=3),
        "says_so": st.booleans(),
    }
)


SAYS = {"fork": "forked", "expansion": "expanded", "merge": "coalesced"}
GROUPS = {"fork": "fork_group_id", "expansion": "expand_group_id", "merge": "join_group_id"}


class Pipeline:
    """A gate, a transform, a sink and an aggregation, and tokens that travel as they are told."""

    def __init__(self, run):
        self.source = make_node(run, "csv", "source")
        self.nodes = [
            make_node(run, "gate", "gate"),
            make_node(run, "tidy"),
            make_node(run, "out", "sink"),
        ]
        self.totals = make_node(run, "totals", "aggregation")
        self.edges = [make_edge(self.nodes[0], node, node.plugin_name) for node in self.nodes[1:]]

    def travel(self, token, told):
        # A node has one visit per attempt of a token, so each place is visited once.
        visits = {place: (status, again) for place, status, again in told["visits"]}
        for step, (place, (status, again)) in enumerate(visits.items(), start=1):
            if again:
                make_state(token, self.nodes[place], step, status="failed")
            state = make_state(token, self.nodes[place], step, status=status, attempt=int(again))
            if place == 0:
                make_route(state, self.edges[step % 2])
        batch = make_batch(self.totals, token) if told["waits"] else None
        if told["outcome"]:
            waits = batch and told["outcome"] in {"buffered", "consumed_in_batch"}
            make_outcome(
                token,
                told["outcome"],
                sink_name=told["sink"],
                batch_id=batch.batch_id if waits else None,
            )

    def write(self, index, told):
        row = make_row(self.source, index)
        tokens = [make_token(row) for _ in told["tokens"]]
        for token, way in zip(tokens, told["tokens"], strict=True):
            if told["says_so"] and token is tokens[0]:
                make_outcome(token, SAYS[told["made"]])
                self.travel(token, way | {"outcome": None})
            else:
                self.travel(token, way)
        for place, way in enumerate(told["children"] if tokens else ()):
            branch = f"b{place}" if told["made"] == "fork" else None
            groups = {GROUPS[told["made"]]: new_id()}
            self.travel(make_child(tokens[0], 0, branch_name=branch, **groups), way)


class TestRandomRuns:
    @settings(
        max_examples=40,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    @given(
        rows=st.lists(ROWS, max_size=5),
        status=st.sampled_from(["completed", "failed", "completed_with_failures"]),
    )
    def test_are_counted_as_by_hand(self, db, rows, status):
        run = make_run(status=status)
        pipeline = Pipeline(run)
        for index, told in enumerate(rows):
            pipeline.write(index, told)

        summaries.refresh(run_id=run.run_id, at=NOON)

        agree(run.run_id)
