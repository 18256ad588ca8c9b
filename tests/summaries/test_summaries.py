"""When figures are made, made again, and what is kept of very many paths."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from audit import lineage, summaries
from audit.errors import NotRecorded
from audit.lineage import JourneyFilter
from audit.models import Run, RunJourney, RunSummary
from audit.summaries import journeys
from tests.builders import (
    NOON,
    after_noon,
    make_import,
    make_node,
    make_outcome,
    make_refusal,
    make_row,
    make_run,
    make_state,
    make_token,
    make_world,
    summarise,
)

pytestmark = pytest.mark.django_db


def refresh(run):
    summaries.refresh(run_id=run.run_id, at=NOON)


def stored(run):
    summary = RunSummary.objects.filter(run_id=run.run_id).values()
    kept = RunJourney.objects.filter(run_id=run.run_id).order_by("journey_id").values()
    return [*summary, *kept]


def many_paths(rows):
    """A run in which every row goes its own way: as many visits as its index says."""
    run = make_run()
    source = make_node(run, "csv", "source")
    nodes = [make_node(run, f"step{place}") for place in range(rows)]
    for index in range(rows):
        token = make_token(make_row(source, index))
        make_state(token, nodes[index], 1)
        make_outcome(token, "failed")
    refresh(run)
    return run


class TestRefresh:
    def test_is_the_same_the_second_time(self):
        run = make_world(rows=3).run
        refresh(run)
        first = stored(run)

        refresh(run)

        assert stored(run) == first

    def test_refuses_a_run_that_is_not_there(self):
        with pytest.raises(NotRecorded, match="run nowhere"):
            summaries.refresh(run_id="nowhere", at=NOON)

    def test_costs_the_same_for_few_and_many_rows(self, count_queries):
        worlds = [make_world(rows=rows) for rows in (1, 40)]

        costs = {count_queries(lambda run=world.run: refresh(run)) for world in worlds}

        assert len(costs) == 1

    def test_forgets_paths_that_nobody_took(self):
        world = make_world(rows=1)
        before = set(RunJourney.objects.values_list("journey_id", flat=True))
        make_state(world.tokens[0], make_node(world.run, "more"), 3)

        refresh(world.run)

        after = set(RunJourney.objects.values_list("journey_id", flat=True))
        assert len(after) == 1
        assert not after & before

    def test_leaves_another_run_alone(self):
        one, other = make_world().run, make_world().run
        before = stored(other)

        refresh(one)

        assert stored(other) == before

    def test_waits_for_statements_that_take_longer_than_a_page_may(self):
        connection.be_patient(0.1)
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = '100ms'")

        with summaries._scanning() as cursor:
            cursor.execute("SELECT pg_sleep(0.3)")

    def test_puts_back_what_the_transaction_had_set(self):
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL work_mem = '7MB'")
            refresh(make_world().run)
            cursor.execute(
                "SELECT current_setting('work_mem'), current_setting('enable_nestloop'),"
                " current_setting('statement_timeout') <> '0'"
            )
            assert cursor.fetchone() == ("7MB", "on", True)


class TestDue:
    def test_names_what_ended_and_was_not_counted_the_oldest_first(self):
        make_run(run_id="later", completed_at=after_noon(60))
        make_run(run_id="earlier")
        make_run(run_id="live", status="running")
        summarise(make_run(run_id="counted"))

        assert summaries.due(limit=10) == ["earlier", "later"]
        assert summaries.due(limit=1) == ["earlier"]

    def test_takes_an_imported_run_without_an_end_for_one_that_ended(self):
        run = make_run(status="running")
        make_import(run)
        assert summaries.due(limit=10) == [run.run_id]

        refresh(run)

        assert summaries.due(limit=10) == []

    def test_names_a_run_that_was_resumed_and_ended_again(self):
        run = make_world(status="failed").run
        Run.objects.filter(run_id=run.run_id).update(status="running", completed_at=None)
        assert summaries.due(limit=10) == []
        assert lineage.describe_run(run_id=run.run_id).figures is None

        Run.objects.filter(run_id=run.run_id).update(status="failed", completed_at=after_noon(99))

        assert summaries.due(limit=10) == [run.run_id]
        refresh(run)
        assert summaries.due(limit=10) == []
        assert lineage.describe_run(run_id=run.run_id).figures.rows == 2

    def test_names_a_run_that_was_counted_by_older_rules(self):
        run = make_world().run
        RunSummary.objects.update(version=1)

        assert summaries.due(limit=10) == [run.run_id]
        assert lineage.read_ledger(run.run_id) is None

    def test_is_counted_once_however_often_it_is_rung(self):
        run = make_run()

        rung = [summaries.refresh_if_due(run_id=run.run_id, at=NOON) for _ in range(3)]

        assert rung == [True, False, False]


class TestTheCommand:
    def say(self, *arguments):
        said = StringIO()
        call_command("refresh_summaries", *arguments, stdout=said, stderr=said)
        return said.getvalue().splitlines()

    def test_counts_what_is_due(self):
        make_run(run_id="due")
        make_world(run_id="counted")

        assert self.say() == ["1 of 1: run due is counted"]
        assert self.say() == ["Nothing is due."]

    def test_counts_the_runs_that_are_named_or_all(self):
        make_world(run_id="a")
        make_world(run_id="b")

        assert self.say("a") == ["1 of 1: run a is counted"]
        assert self.say("--all") == ["1 of 2: run a is counted", "2 of 2: run b is counted"]

    def test_goes_on_after_a_run_that_is_not_there(self):
        make_run(run_id="b")

        with pytest.raises(SystemExit):
            self.say("a", "b")

        assert RunSummary.objects.filter(run_id="b").exists()

    def test_refuses_names_and_all_at_once(self):
        with pytest.raises(CommandError, match="not both"):
            self.say("a", "--all")


class TestKept:
    def test_are_the_most_frequent_and_the_rarest(self, monkeypatch):
        monkeypatch.setattr(journeys, "KEPT", 2)

        run = many_paths(6)

        page = lineage.list_journeys(run_id=run.run_id, asked=JourneyFilter())
        assert (page.kept, page.run.figures.journeys, page.run.figures.rows_alone) == (2, 6, 6)

    def test_shows_no_more_of_a_path_than_it_keeps(self, monkeypatch):
        monkeypatch.setattr(journeys, "STEPS_KEPT", 3)
        monkeypatch.setattr(journeys, "PATHS_KEPT", 2)
        world = make_world(rows=1)
        for step in range(3, 8):
            make_state(world.tokens[0], make_node(world.run, f"more{step}"), step)
        for outcome in ("failed", "routed"):
            make_outcome(make_token(world.rows[0]), outcome)
        refresh(world.run)

        (journey,) = lineage.list_journeys(run_id=world.run.run_id, asked=JourneyFilter()).lines

        assert (len(journey.paths), journey.further) == (2, 1)
        assert [path.standing for path in journey.paths] == ["failed", "routed"]


class TestListJourneys:
    def ask(self, run, limit=50, after=None, **asked):
        return lineage.list_journeys(
            run_id=run.run_id, asked=JourneyFilter(**asked), after=after, limit=limit
        )

    @pytest.mark.parametrize("order", lineage.ORDERS)
    def test_pages_without_gap_or_repetition(self, order):
        run = many_paths(7)
        seen, after = [], None

        while True:
            page = self.ask(run, limit=3, after=after, order=order)
            seen += [line.journey_id for line in page.lines]
            if (after := page.next_after) is None:
                break

        assert len(seen) == len(set(seen)) == 7
        assert seen == [line.journey_id for line in self.ask(run, order=order).lines]

    def test_orders_by_how_many_rows_went_that_way(self):
        world = make_world(rows=3)
        token = make_token(make_row(world.source, 3))
        make_outcome(token, "failed")
        refresh(world.run)

        frequent = [line.rows for line in self.ask(world.run).lines]
        rarest = [line.rows for line in self.ask(world.run, order="rarest").lines]

        assert (frequent, rarest) == ([3, 1], [1, 3])

    def test_filters_by_node_verdict_end_and_retry(self):
        world = make_world(rows=1)
        token = make_token(make_row(world.source, 1))
        make_state(token, world.transform, 1, status="failed")
        make_state(token, world.transform, 1, attempt=1, status="failed")
        make_outcome(token, "failed")
        refresh(world.run)

        def rows(**asked):
            return [line.examples[0][0] for line in self.ask(world.run, **asked).lines]

        assert rows(node=world.sink.node_id) == [0]
        assert rows(node=world.transform.node_id) == [0, 1]
        assert rows(node="%") == []
        assert rows(outcome="failed") == rows(standing="failed") == rows(retried=True) == [1]
        assert rows(outcome="") == []
        assert rows(retried=False) == [0]

    def test_costs_the_same_for_few_and_many_paths(self, count_queries):
        runs = [many_paths(2), many_paths(30)]

        costs = {count_queries(lambda run=run: self.ask(run)) for run in runs}

        assert len(costs) == 1

    def test_only_reads(self, read_only):
        run = make_world().run

        with read_only():
            self.ask(run)
            lineage.explain_ledger(run_id=run.run_id)

    def test_has_nothing_to_tell_of_a_run_that_is_not_counted(self):
        run = make_world(status="failed").run
        Run.objects.filter(run_id=run.run_id).update(status="running", completed_at=None)

        page = self.ask(run)

        assert (page.kept, page.lines, page.run.figures) == (0, (), None)


class TestLedger:
    def test_lists_what_is_unaccounted_for_and_where_it_was_last(self):
        world = make_world(rows=1)
        make_row(world.source, 1)
        token = make_token(make_row(world.source, 2))
        make_state(token, world.transform, 1)
        refresh(world.run)

        ledger = lineage.read_ledger(world.run.run_id)

        assert [(line.row_index, line.token_id, line.last_seen) for line in ledger.lost] == [
            (1, None, None),
            (2, token.token_id, "tidy"),
        ]
        unbalanced = {account.node.name for account in ledger.nodes if account.unaccounted}
        assert unbalanced == {"csv", "tidy"}
        assert (ledger.balances, ledger.nodes_balanced) == (False, 1)

    def test_knows_the_rows_that_validation_refused_at_the_door(self):
        world = make_world(rows=1)
        at_the_door, lost = (make_row(world.source, index) for index in (1, 2))
        make_refusal(world.run, row_id=at_the_door.row_id)
        # It went on all the same, so its token says what became of it.
        make_refusal(world.run, row_id=world.rows[0].row_id)
        # Equal content is not the same record.
        make_refusal(world.run, row_hash=lost.source_data_hash)
        refresh(world.run)

        ledger = lineage.read_ledger(world.run.run_id)

        assert [(entry.word, entry.count) for entry in ledger.rows] == [
            ("completed", 1),
            ("refused", 1),
        ]
        assert [line.row_id for line in ledger.lost] == [lost.row_id]
        page = lineage.list_journeys(run_id=world.run.run_id, asked=lineage.JourneyFilter())
        assert sorted(line.standing for line in page.lines) == [
            "completed",
            "refused",
            "unaccounted",
        ]

    def test_calls_what_a_failed_run_left_open_open(self):
        world = make_world(rows=1, status="failed")
        make_token(make_row(world.source, 1))
        refresh(world.run)

        ledger = lineage.read_ledger(world.run.run_id)

        assert (ledger.open, ledger.rows_unaccounted, ledger.balances) == (1, 0, True)

    def test_tells_a_delivery_that_no_sink_confirms(self):
        world = make_world(rows=1)
        token = make_token(make_row(world.source, 1))
        make_state(token, world.sink, 1, status="failed")
        make_outcome(token, "completed", sink_name="output")
        refresh(world.run)

        ledger = lineage.read_ledger(world.run.run_id)

        assert ledger.unconfirmed == 1
        (line,) = ledger.unconfirmed_list
        assert (line.token_id, line.claimed) == (token.token_id, "output")
        told = json.loads(RunSummary.objects.get().ledger_json)
        assert told["nodes"][world.sink.node_id]["unconfirmed"] == 1
