"""The list of runs and the story of one."""

from datetime import date, timedelta

import pytest

from audit import lineage
from audit.errors import NotRecorded
from audit.lineage import RunFilter
from tests.builders import (
    NOON,
    digest,
    make_finding,
    make_import,
    make_node,
    make_outcome,
    make_refusal,
    make_row,
    make_run,
    make_state,
    make_token,
    make_world,
    new_id,
    summarise,
)

pytestmark = pytest.mark.django_db

ANY = RunFilter()


def listed(**asked):
    return [line.run_id for line in lineage.list_runs(asked=RunFilter(**asked)).lines]


class TestListRuns:
    def test_lists_the_newest_first_and_breaks_ties_by_id(self):
        for run_id, minutes in (("a", 0), ("c", 0), ("b", 0), ("older", -5)):
            make_run(run_id=run_id, started_at=NOON + timedelta(minutes=minutes))

        assert listed() == ["c", "b", "a", "older"]

    def test_pages_without_gap_or_repetition(self):
        ids = [make_run(started_at=NOON + timedelta(minutes=n // 2)).run_id for n in range(7)]
        seen, after = [], None

        while True:
            page = lineage.list_runs(asked=ANY, after=after, limit=3)
            seen += [line.run_id for line in page.lines]
            assert page.remaining == 7 - len(seen)
            if (after := page.next_after) is None:
                break

        assert sorted(seen) == sorted(ids)
        assert seen == [line.run_id for line in lineage.list_runs(asked=ANY).lines]

    def test_refuses_to_go_on_after_a_run_that_is_not_there(self):
        with pytest.raises(NotRecorded, match="run nowhere"):
            lineage.list_runs(asked=ANY, after="nowhere")

    def test_names_what_needs_a_person(self):
        make_run(run_id="fine")
        make_run(run_id="failed", status="failed")
        make_import(make_run(run_id="no-end", status="running"))
        make_run(run_id="live", status="running")
        make_finding(make_run(run_id="found"), level="error")
        make_finding(make_run(run_id="habit"))
        make_world(run_id="whole")

        page = lineage.list_runs(asked=ANY)

        assert {line.run_id for line in page.named} == {"failed", "no-end", "found"}
        assert (page.total, page.needing, page.unaccounted) == (7, 3, 0)
        assert (page.failed, page.without_end, page.with_error_findings) == (1, 1, 1)
        assert set(listed(status=lineage.NEEDS_A_PERSON)) == {"failed", "no-end", "found"}

    def test_names_a_run_that_misses_a_row(self):
        world = make_world(run_id="short")
        make_row(world.source, 2)
        summarise(world.run)

        page = lineage.list_runs(asked=ANY)

        assert (page.unaccounted, page.needing) == (1, 1)
        assert listed(status=lineage.NEEDS_A_PERSON) == ["short"]

    def test_tells_a_run_without_figures_from_one_without_rows(self):
        counted, uncounted = make_run(run_id="counted"), make_run(run_id="uncounted")
        summarise(counted)

        page = lineage.list_runs(asked=ANY)

        figures = {line.run_id: line.figures for line in page.lines}
        assert figures[counted.run_id].rows == 0
        assert figures[uncounted.run_id] is None

    def test_counts_records_and_not_findings(self):
        run = make_run()
        make_finding(run, "one", level="error")
        make_finding(run, "", level="error", occurrences=41)

        (line,) = lineage.list_runs(asked=ANY).lines

        assert (line.error_findings, line.info_findings) == (42, 0)

    def test_includes_both_days_of_a_span(self):
        for day in (20, 21, 22, 23):
            make_run(run_id=f"day {day}", started_at=NOON.replace(day=day, hour=23, minute=59))

        days = listed(since=date(2026, 11, 21), until=date(2026, 11, 22))

        assert days == ["day 22", "day 21"]

    @pytest.mark.parametrize(
        "text", ["abc", "deadbe", "splitter", "SPLIT", "quarter.db", "Quarter"]
    )
    def test_finds_by_id_config_pipeline_and_file(self, text):
        run = make_run(run_id="abcdef", config_hash="deadbeef")
        make_node(run, "splitter")
        summarise(run)
        make_import(run, source_name="quarter.db")
        make_run(run_id="other", config_hash=digest("other"))

        assert listed(text=text) == ["abcdef"]

    def test_takes_wildcards_for_what_they_are(self):
        make_run(run_id="abc")

        assert listed(text="%") == []
        assert listed(text="_b") == []

    def test_costs_the_same_for_few_and_many_runs(self, count_queries):
        def cost():
            return count_queries(lambda: lineage.list_runs(asked=ANY))

        make_import(make_world(rows=1, status="failed").run)
        few = cost()
        for _ in range(20):
            make_import(make_world(rows=1, status="failed").run, source_sha256=new_id())

        assert cost() == few


class TestTheNameOfAPipeline:
    @pytest.mark.parametrize(
        ("settings", "name"),
        [
            ('{"pipeline": " claims\\ntriage "}', "claims triage"),
            ('{"pipeline": {"name": "x"}}', None),
            ('{"pipeline": ""}', None),
            ('["pipeline"]', None),
            ("{broken", None),
            ("[" * 100_000, None),
        ],
    )
    def test_is_what_the_settings_say_else_the_chain_of_its_nodes(self, settings, name):
        run = make_world(rows=1, settings_json=settings).run
        summarise(run)

        figures = lineage.describe_run(run_id=run.run_id).figures

        assert figures.chain == "csv → tidy → output"
        assert figures.pipeline == (name or figures.chain)


class TestExplainRun:
    def test_refuses_a_run_that_is_not_there(self):
        with pytest.raises(NotRecorded, match="run nowhere"):
            lineage.explain_run(run_id="nowhere")

    def test_tells_outcomes_in_the_order_of_the_bar(self):
        world = make_world(rows=1)
        for index, outcome in enumerate(("failed", "routed", None), start=1):
            token = make_token(make_row(world.source, index))
            if outcome:
                make_outcome(token, outcome)
        summarise(world.run)

        story = lineage.explain_run(run_id=world.run.run_id)

        assert [(one.outcome, one.tokens) for one in story.line.figures.outcomes] == [
            ("completed", 1),
            ("routed", 1),
            ("failed", 1),
            ("", 1),
        ]

    def test_groups_findings_by_code_with_errors_first(self):
        run = make_run()
        for key in "abcdefgh":
            make_finding(run, key, code="Q05", table_name="token_outcomes")
        make_finding(run, "", code="Q05", table_name="token_outcomes", occurrences=100)
        make_finding(run, "z", code="TOKEN_WITHOUT_OUTCOME", level="error", table_name="tokens")

        groups = lineage.explain_run(run_id=run.run_id).findings

        assert [(group.code, group.occurrences) for group in groups] == [
            ("TOKEN_WITHOUT_OUTCOME", 1),
            ("Q05", 108),
        ]
        assert [line.record_key for line in groups[1].first] == list("abcde")
        assert groups[1].further == 103

    def test_leads_from_a_finding_to_the_token_that_shows_the_record(self):
        world = make_world(rows=1)
        (token,) = world.tokens
        state = make_state(token, make_node(world.run, "more"), 3)
        make_finding(world.run, state.state_id, level="error", table_name="node_states")

        (group,) = lineage.explain_run(run_id=world.run.run_id).findings

        assert group.first[0].token_id == token.token_id

    def test_reads_no_more_of_a_text_than_it_shows(self):
        run = make_run(settings_json="x" * 300_000)

        settings = lineage.explain_run(run_id=run.run_id).settings

        assert (len(settings.text), settings.length, settings.cut) == (200_000, 300_000, 100_000)

    def test_says_whether_more_was_refused_than_is_shown(self):
        run = make_run()
        for _ in range(21):
            make_refusal(run)

        story = lineage.explain_run(run_id=run.run_id)

        assert (len(story.refusals), story.refusals_cut) == (20, True)

    def test_costs_the_same_for_a_small_and_a_large_run(self, count_queries):
        worlds = [make_world(rows=1), make_world(rows=30)]
        for world, findings in zip(worlds, (1, 30), strict=True):
            for row in world.rows[:findings]:
                make_finding(world.run, row.row_id)

        costs = {
            count_queries(lambda run=world.run: lineage.explain_run(run_id=run.run_id))
            for world in worlds
        }

        assert len(costs) == 1

    def test_only_reads(self, read_only):
        world = make_world()

        with read_only():
            lineage.explain_run(run_id=world.run.run_id)
