"""The lineage of a token on its page, as a picture and as data: they say the same."""

import gzip
import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from urllib.parse import unquote_plus

import pytest
from django.urls import reverse

from audit.models import NodeState, Token, TokenOutcome, TokenParent
from tests.builders import (
    after_noon,
    digest,
    make_artifact,
    make_batch,
    make_child,
    make_edge,
    make_node,
    make_outcome,
    make_parent,
    make_refusal,
    make_route,
    make_row,
    make_run,
    make_state,
    make_token,
    make_world,
    new_id,
)

pytestmark = pytest.mark.django_db

HOSTILE = "<img src=x onerror=alert(1)>\"'\u202egnp.exe\u200b&amp;"


def address(token, name="token", query=""):
    return reverse(f"audit:{name}", args=[token.run_id, token.token_id]) + query


def expanded(parts=500, failed=()):
    """A token that was forked in 3, merged, and expanded; three visits and more for each part."""
    run = make_run()
    source = make_node(run, "csv", "source")
    gate = make_node(run, "gate", "gate")
    check = make_node(run, "check")
    split = make_node(run, "split")
    price = make_node(run, "price")
    tariff = make_node(run, "tariff", "gate")
    sink = make_node(run, "out", "sink")
    for start, end in ((source, gate), (gate, check), (check, split), (split, price)):
        make_edge(start, end)
    make_edge(price, tariff)
    onward = make_edge(tariff, sink)
    root = make_token(make_row(source))
    make_state(root, gate, 1)
    make_outcome(root, "forked")
    branches = [make_child(root, place, branch_name=name) for place, name in enumerate("abc")]
    for branch in branches:
        make_state(branch, check, 2)
        make_outcome(branch, "coalesced")
    merged = make_child(branches[0], 0, join_group_id="join")
    for place, branch in enumerate(branches[1:], start=1):
        make_parent(merged, branch, place)
    make_state(merged, split, 3)
    make_outcome(merged, "expanded")
    tokens = Token.objects.bulk_create(
        Token(
            run_id=run.run_id,
            row_id=root.row_id,
            token_id=new_id(),
            expand_group_id="parts",
            created_at=after_noon(3),
        )
        for _ in range(parts)
    )
    TokenParent.objects.bulk_create(
        TokenParent(
            run_id=run.run_id,
            token_id=one.token_id,
            parent_token_id=merged.token_id,
            ordinal=place,
        )
        for place, one in enumerate(tokens)
    )
    states = []
    for place, one in enumerate(tokens):
        bad = place in failed
        steps = [(price, 4, "failed" if bad else "completed")]
        steps += [] if bad else [(tariff, 5, "completed"), (sink, 6, "completed")]
        states += [
            NodeState(
                run_id=run.run_id,
                state_id=new_id(),
                token_id=one.token_id,
                node_id=node.node_id,
                step_index=step,
                attempt=0,
                status=status,
                input_hash=digest("data"),
                output_hash=digest("data") if status == "completed" else None,
                error_json='{"reason":"no tariff"}' if status == "failed" else None,
                started_at=after_noon(step),
                completed_at=after_noon(step + 0.02),
                duration_ms=20.0,
            )
            for node, step, status in steps
        ]
    NodeState.objects.bulk_create(states)
    TokenOutcome.objects.bulk_create(
        TokenOutcome(
            run_id=run.run_id,
            outcome_id=new_id(),
            token_id=one.token_id,
            outcome="failed" if place in failed else "completed",
            sink_name=None if place in failed else "out",
            is_terminal=True,
            recorded_at=after_noon(7),
        )
        for place, one in enumerate(tokens)
    )
    make_route(next(state for state in states if state.node_id == tariff.node_id), onward)
    return root, merged, tokens


class Drawn(HTMLParser):
    """Lanes, cells and edges as they stand in the page or in the picture."""

    def __init__(self, text):
        super().__init__()
        self.lanes, self.states, self.edges = {}, set(), set()
        self.lane = None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        has = dict(attributes)
        if "data-lane" in has:
            self.lane = int(has["data-lane"])
            self.lanes[self.lane] = set()
        if "data-state" in has and self.lane:
            self.lanes[self.lane].add(has["data-state"])
            self.states.add(has["data-state"])
        if "data-edge" in has:
            kind, start, end = has["data-edge"].split()
            self.edges.add((kind, int(start), int(end)))


def three_ways(signed_in, token, query=""):
    """The page, the picture and the data of one lineage."""
    page = Drawn(signed_in.get(address(token, query=query)).text)
    picture = Drawn(signed_in.get(address(token, "lineage_svg", query)).text)
    data = json.loads(signed_in.get(address(token, "lineage_json", query)).text)
    return page, picture, data


class TestPagePictureAndData:
    def same(self, signed_in, token, query=""):
        page, picture, data = three_ways(signed_in, token, query)
        lanes = {lane["number"]: set(lane["states"]) for lane in data["lanes"]}
        edges = {(edge["kind"], edge["from_lane"], edge["to_lane"]) for edge in data["edges"]}
        assert page.lanes == picture.lanes == lanes
        assert page.edges == picture.edges == edges
        return page, data

    def test_agree_with_each_other_and_with_a_naive_walk(self, signed_in):
        root, merged, tokens = expanded(2)

        page, data = self.same(signed_in, merged)

        run = {"run_id": root.run_id}
        walked = set(NodeState.objects.filter(**run).values_list("state_id", flat=True))
        assert page.states == walked
        assert {one["state_id"] for one in data["visits"]} == walked
        links = set(TokenParent.objects.filter(**run).values_list("token_id", "parent_token_id"))
        assert {(one["token_id"], one["parent_id"]) for one in data["links"]} == links
        number = {lane["key"]: lane["number"] for lane in data["lanes"]}
        assert page.edges == {
            ("creation", number[parent], number[child]) for child, parent in links
        }
        assert set(number) == {root.token_id, *(t.token_id for t in tokens), merged.token_id} | {
            child for child, parent in links if parent == root.token_id
        }

    @pytest.mark.parametrize("query", ["", "?keep=errors", "?keep=not_good", "?axis=step&q=7"])
    def test_agree_on_what_is_folded_and_left_out(self, signed_in, query):
        _, merged, _ = expanded(60, failed={7})

        page, _ = self.same(signed_in, merged, query)

        assert page.lanes

    def test_agree_on_batches(self, signed_in):
        world = make_world(rows=3)
        totals = make_node(world.run, "totals", "aggregation")
        make_batch(totals, *world.tokens)

        page, _ = self.same(signed_in, world.tokens[1])

        assert {kind for kind, _, _ in page.edges} == {"membership"}

    @pytest.mark.parametrize("axis", ["time", "table"])
    def test_have_the_same_lanes_on_every_axis(self, signed_in, axis):
        _, merged, _ = expanded(60, failed={7, 8})

        step = Drawn(signed_in.get(address(merged)).text)
        other = Drawn(signed_in.get(address(merged, query=f"?axis={axis}")).text)

        assert list(step.lanes) == list(other.lanes)
        assert step.states == other.states

    def test_the_picture_is_whole_and_needs_nothing_else(self, signed_in):
        root, _, _ = expanded(30)

        answer = signed_in.get(address(root, "lineage_svg"))

        assert answer["Content-Type"] == "image/svg+xml"
        picture = ET.fromstring(answer.text)  # our own picture
        assert picture.tag == "{http://www.w3.org/2000/svg}svg"
        assert root.token_id in answer.text
        assert f"run {root.run_id}" in answer.text
        assert "28 tokens folded" in answer.text
        assert "none hidden" in answer.text
        assert not re.search(r"style|class=\"cell|http://(?!www\.w3\.org)", answer.text)


class TestFolds:
    def test_five_hundred_parts_are_told_in_fifteen_lanes(self, signed_in):
        _, _, tokens = expanded(500, failed={147})

        text = signed_in.post(address(tokens[46])).text

        assert len(Drawn(text).lanes) <= 15
        assert "no tariff" in text
        assert "part 46" in text
        assert re.search(r"\+49\d more", text)

    def test_open_by_a_link_and_fold_again(self, signed_in):
        root, _, _ = expanded(500)
        folded = signed_in.get(address(root)).text
        opening = re.search(r'class="more" href="(\?open=[0-9a-f]{12})#lineage"', folded)[1]

        opened = signed_in.get(address(root, query=opening)).text

        assert len(Drawn(opened).lanes) == len(Drawn(folded).lanes) + 100
        assert 'aria-label="fold these again"' in opened

    def test_say_what_is_left_out(self, signed_in):
        _, merged, _ = expanded(60)

        text = signed_in.get(address(merged, query="?keep=errors")).text

        assert re.search(r"\d lanes? hidden", text)

    @pytest.mark.parametrize(
        "query",
        ["open=x", "open=abc", "axis=sideways", "keep=all", "gaps=1", "cols=0", "cols=x", "q=%00"],
    )
    def test_refuse_what_cannot_be_understood(self, signed_in, query):
        world = make_world(rows=1)

        assert signed_in.get(address(world.tokens[0], query=f"?{query}")).status_code == 400

    def test_ignore_a_key_that_names_no_fold(self, signed_in):
        world = make_world(rows=1)

        answer = signed_in.get(address(world.tokens[0], query="?open=0123456789ab"))

        assert answer.status_code == 200


class TestPicked:
    def test_visit_is_told_beside_the_lanes(self, signed_in):
        world = make_world(rows=1)
        token = world.tokens[0]
        node = make_node(world.run, "again")
        state = make_state(token, node, 4, status="failed", error_json='{"reason":"no"}')
        make_state(token, node, 4, attempt=1)

        text = signed_in.get(address(token, query=f"?visit={state.state_id}")).text

        panel = text[text.index('id="selected"') : text.index("</aside>")]
        assert reverse("audit:visit", args=[state.run_id, state.state_id]) in panel
        assert "What went wrong" in panel
        assert "attempt" in panel
        assert "hash chain" in panel

    def test_visit_that_is_nowhere_is_not_found(self, signed_in):
        world = make_world(rows=1)

        assert signed_in.get(address(world.tokens[0], query="?visit=gone")).status_code == 404

    def test_visit_keeps_the_rest_of_the_view(self, signed_in):
        _, merged, _ = expanded(60)

        text = signed_in.get(address(merged, query="?axis=table&keep=not_good")).text

        assert "?axis=table&amp;keep=not_good&amp;visit=" in text


class TestManyColumns:
    def test_are_told_in_pages(self, signed_in):
        run = make_run()
        source = make_node(run, "csv", "source")
        nodes = [make_node(run, f"step{number}") for number in range(60)]
        for start, end in zip([source, *nodes], nodes, strict=False):
            make_edge(start, end)
        token = make_token(make_row(source))
        for step, one in enumerate(nodes, start=1):
            make_state(token, one, step)

        first, last = (signed_in.get(address(token, query=query)).text for query in ("", "?cols=3"))

        assert "columns, page 1 of 3" in first
        assert "step0<" in first
        assert len(Drawn(first).states) == 24
        assert len(Drawn(last).states) == 12
        assert len(Drawn(signed_in.get(address(token, "lineage_svg")).text).states) == 60


class TestHostileNames:
    @pytest.mark.parametrize("axis", ["step", "time", "table"])
    def test_are_shown_and_not_obeyed(self, signed_in, axis):
        run = make_run()
        source = make_node(run, "csv", "source")
        node = make_node(run, "n", node_id=HOSTILE[:60], plugin_name=HOSTILE)
        other = make_node(run, "m", node_id=f"transform_{HOSTILE[:40]}_{'0' * 12}")
        root = make_token(make_row(source))
        for place in range(3):
            child = make_child(root, place, branch_name=HOSTILE)
            make_state(child, node, 1, state_id=f"{HOSTILE[:20]}{place}")
            make_state(child, other, 2, status="failed", error_json=HOSTILE)
            make_outcome(child, "routed", sink_name=HOSTILE)

        texts = [
            signed_in.get(address(root, query=f"?axis={axis}")).text,
            signed_in.get(address(root, "lineage_svg")).text,
        ]

        for text in texts:
            assert "<img" not in text
            assert "\u202e" not in text.replace("data-state", "")
            assert "\u200b" not in text
        ET.fromstring(texts[1])  # our own picture

    def test_lead_to_the_visit_that_they_name(self, signed_in):
        world = make_world(rows=1)
        key = "a&b=c#d/e ü%"
        make_state(world.tokens[0], make_node(world.run, "again"), 4, state_id=key)

        text = signed_in.get(address(world.tokens[0])).text
        link = re.search(r'href="\?visit=(a%26[^"#]*)#selected"', text)[1]

        assert unquote_plus(link) == key
        answer = signed_in.get(address(world.tokens[0], query=f"?visit={link}"))
        assert 'id="selected"' in answer.text


class TestWeight:
    def test_of_five_hundred_tokens_is_under_forty_kilobytes(self, signed_in):
        root, _, tokens = expanded(500, failed={147, 200})
        state = NodeState.objects.filter(token_id=tokens[46].token_id).first()

        for query in ("", f"?visit={state.state_id}", "?axis=time", "?axis=table"):
            page = signed_in.get(address(tokens[46], query=query)).content
            assert len(gzip.compress(page)) < 40_000
        assert root

    def test_costs_the_same_queries_whatever_was_expanded(self, signed_in, count_queries):
        small, large = (expanded(parts)[2][1] for parts in (4, 150))

        costs = {
            count_queries(lambda one=one: signed_in.get(address(one))) for one in (small, large)
        }

        assert len(costs) == 1

    def test_costs_at_most_twenty_nine_queries(self, signed_in, count_queries):
        _root, _merged, tokens = expanded(3)

        assert count_queries(lambda: signed_in.get(address(tokens[0]))) <= 29

    def test_of_the_scripts_of_all_pages_is_under_fifteen_kilobytes(self):
        from pathlib import Path

        root = Path(__file__).resolve().parents[2]
        # The pages that verify files bring their own, and no other page loads it.
        pages = [
            page for page in root.glob("templates/**/*.html") if not page.stem.startswith("verify")
        ]
        named = {
            name for page in pages for name in re.findall(r"audit/js/\w+\.js", page.read_text())
        }

        assert "audit/js/lineage.js" in named
        scripts = [(root / "static" / name).read_bytes() for name in named]
        assert not any(b"import " in script for script in scripts)
        assert sum(len(gzip.compress(script)) for script in scripts) < 15_000


class TestStory:
    """What stands below the lanes: choices with their proof, outputs, refusals of the row."""

    def test_says_why_it_was_sent_where_it_went_and_what_proves_it(self, signed_in):
        world = make_world(rows=1)
        gate = make_node(world.run, "large", "gate")
        state = make_state(world.tokens[0], gate, 8)
        make_route(state, make_edge(gate, world.sink, "high"))

        text = signed_in.get(address(world.tokens[0])).text

        story = text[text.index('id="choices"') : text.index('id="verdicts"')]
        assert "took <strong>high</strong>" in story
        assert "cannot be verified: no reason is recorded" in story
        assert f"visit={state.state_id}#selected" in story

    def test_names_the_outputs_that_its_children_reached(self, signed_in):
        world = make_world(rows=1)
        (root,) = world.tokens
        other = make_node(world.run, "copy", "sink")
        make_artifact(make_state(root, other, 8), path_or_uri="mine")
        make_artifact(make_state(make_child(root), world.sink, 3), path_or_uri="far")

        text = signed_in.get(address(root)).text

        outputs = text[text.index('id="outputs"') : text.index('id="parents"')]
        assert "reached by</span> this token<" in outputs
        assert outputs.count("reached by") == outputs.count("recorded</span>") == 2
        assert ">far</a>" in outputs

    def test_tells_refusals_of_the_row_and_of_its_content_apart(self, signed_in):
        world = make_world(rows=1)
        (row,) = world.rows
        own = make_refusal(world.run, row_id=row.row_id)
        same = make_refusal(world.run, row_hash=row.source_data_hash)

        text = signed_in.get(address(world.tokens[0])).text

        record = f"/runs/{world.run.run_id}/records/validation_error/"
        places = [
            text.index(words)
            for words in (
                'id="refused"',
                f"{record}{own.error_id}/",
                'id="same-content"',
                f"{record}{same.error_id}/",
            )
        ]
        assert places == sorted(places)


class TestTime:
    def test_offers_to_fold_idle_time_and_says_how_much_it_folded(self, signed_in):
        world = make_world(rows=1)
        token = world.tokens[0]
        make_state(token, make_node(world.run, "late"), 500)

        plain = signed_in.get(address(token, query="?axis=time")).text
        folded = signed_in.get(address(token, query="?axis=time&gaps=fold")).text

        assert "Fold idle time" in plain
        assert "99 % idle" in plain or "&gt; 99 % idle" in plain
        assert "8 min 18 s idle, folded" in folded
        assert "Show idle time to scale" in folded

    def test_draws_a_fold_that_the_database_counted_as_activity(self, signed_in):
        _root, merged, tokens = expanded(260)
        page = signed_in.get(address(merged, query="?axis=time")).text
        alone = signed_in.get(address(tokens[0], query="?axis=time&q=nothing")).text

        assert page.count('class="strip"') >= 1
        assert 'class="strip"' not in alone

    def test_of_a_token_without_visits_is_a_page_too(self, signed_in):
        world = make_world(rows=0)
        token = make_token(make_row(world.source))

        for axis in ("step", "time", "table"):
            assert signed_in.get(address(token, query=f"?axis={axis}")).status_code == 200
