"""The API as a client sees it: one shape of answer, one of error, pages by key, a true schema."""

from __future__ import annotations

import pytest
from django.urls import get_resolver
from drf_spectacular.validation import validate_schema

from tests.builders import (
    make_batch,
    make_child,
    make_edge,
    make_row,
    make_run,
    make_state,
    make_token,
    make_world,
)

pytestmark = pytest.mark.django_db

API = "/api/v1/"


@pytest.fixture
def world():
    return make_world(rows=3)


def error(answer):
    assert answer["Content-Type"] == "application/json"
    assert list(answer.json()) == ["error"]
    assert list(answer.json()["error"]) == ["code", "message", "detail"]
    return answer.status_code, answer.json()["error"]["code"], answer.json()["error"]["message"]


class TestErrors:
    def test_have_one_shape(self, signed_in, client, world):
        known = f"{API}runs/{world.run.run_id}/"
        other = make_run()

        assert error(client.get(f"{API}runs/"))[:2] == (401, "not_authenticated")
        assert error(signed_in.post(f"{API}runs/"))[:2] == (405, "method_not_allowed")
        assert error(signed_in.get(f"{API}nowhere/"))[:2] == (404, "not_found")
        assert error(signed_in.get(f"{API}runs/x/")) == (
            404,
            "not_found",
            "There is no run x on record.",
        )
        assert error(signed_in.get(f"{known}tokens/x/lineage/")) == (
            404,
            "not_found",
            "There is no token x on record.",
        )
        foreign = f"{API}runs/{other.run_id}/tokens/{world.tokens[0].token_id}/lineage/"
        assert "belongs to run" in error(signed_in.get(foreign))[2]

    @pytest.mark.parametrize(
        ("query", "words"),
        [
            ("x=1", "'x' is not known here"),
            ("limit=1&limit=2", "stands 2 times"),
            ("limit=0", "from 1 to 1000"),
            ("limit=1001", "from 1 to 1000"),
            ("limit=1_0", "from 1 to 1000"),
            ("limit=٣", "from 1 to 1000"),
            ("status=perhaps", "may be attention, running"),
            ("text=%00", "NUL"),
        ],
    )
    def test_say_what_cannot_be_asked(self, signed_in, query, words):
        status, code, message = error(signed_in.get(f"{API}runs/?{query}"))

        assert (status, code) == (400, "parse_error")
        assert words in message


class TestPages:
    def test_follow_each_other_by_key(self, signed_in, world):
        seen, address = [], f"{API}runs/{world.run.run_id}/rows/?limit=2"
        while address:
            page = signed_in.get(address).json()
            seen += [row["row_index"] for row in page["results"]]
            address = page["next"]

        assert seen == [0, 1, 2]

    def test_of_runs_are_newest_first_and_whole(self, signed_in):
        runs = [make_run().run_id for _ in range(5)]
        seen, address = [], f"{API}runs/?limit=2"
        while address:
            page = signed_in.get(address).json()
            assert page["total"] == len(runs)
            seen += [run["run_id"] for run in page["results"]]
            address = page["next"]

        assert sorted(seen) == sorted(runs)
        assert len(seen) == len(set(seen))

    def test_cost_the_same_at_any_size(self, signed_in, world, count_queries):
        address = f"{API}runs/{world.run.run_id}/rows/"
        few = count_queries(lambda: signed_in.get(address))
        for index in range(3, 40):
            make_token(make_row(world.source, index))

        assert count_queries(lambda: signed_in.get(address)) == few


class TestLineage:
    def test_tells_every_token_visit_and_link(self, signed_in, world):
        token = world.tokens[0]
        children = [make_child(token, ordinal) for ordinal in range(2)]
        states = [make_state(child, world.transform, 2) for child in children]
        batch = make_batch(world.transform, *children)

        told = signed_in.get(
            f"{API}runs/{world.run.run_id}/tokens/{token.token_id}/lineage/"
        ).json()

        family = {token.token_id, *(child.token_id for child in children)}
        assert {each["token_id"] for each in told["tokens"]} == family
        assert {(each["parent_id"], each["token_id"]) for each in told["links"]} == {
            (token.token_id, child.token_id) for child in children
        }
        assert {state.state_id for state in states} <= {each["state_id"] for each in told["visits"]}
        (held,) = told["batches"]
        assert held["batch_id"] == batch.batch_id
        assert {each["token_id"] for each in held["members"]} == family - {token.token_id}
        assert told["focus_id"] == token.token_id
        assert told["limits"] == []

    def test_of_a_row_begins_at_its_first_token(self, signed_in, world):
        row = world.tokens[1].row
        told = signed_in.get(f"{API}runs/{world.run.run_id}/rows/{row.row_id}/lineage/").json()

        assert [each["token_id"] for each in told["tokens"]] == [world.tokens[1].token_id]
        assert told["focus_id"] is None

    def test_costs_at_most_twelve_questions_about_it(self, signed_in, world, count_queries):
        address = f"{API}runs/{world.run.run_id}/tokens/{world.tokens[0].token_id}/lineage/"
        few = count_queries(lambda: signed_in.get(address))
        for ordinal in range(20):
            make_state(make_child(world.tokens[0], ordinal), world.transform, 2)

        # Two more are the session and its user.
        assert few <= count_queries(lambda: signed_in.get(address)) <= 12 + 2


class TestFigures:
    def test_tell_the_paths_of_a_run(self, signed_in, world):
        told = signed_in.get(f"{API}runs/{world.run.run_id}/journeys/?order=rarest").json()

        (journey,) = told["results"]
        assert (told["counted"], told["matching"], told["matching_rows"]) == (True, 1, 3)
        assert journey["rows"] == len(world.rows)
        assert [step["node_id"] for step in journey["paths"][0]["steps"]] == [
            world.transform.node_id,
            world.sink.node_id,
        ]
        assert journey["examples"][0] == {"row_index": 0, "row_id": world.rows[0].row_id}

    def test_tell_that_a_run_is_still_to_be_counted(self, signed_in):
        run = make_run(status="running")

        journeys = signed_in.get(f"{API}runs/{run.run_id}/journeys/").json()
        assert (journeys["counted"], journeys["results"]) == (False, [])
        assert signed_in.get(f"{API}runs/{run.run_id}/ledger/").json() == {"ledger": None}

    def test_tell_the_ledger(self, signed_in, world):
        ledger = signed_in.get(f"{API}runs/{world.run.run_id}/ledger/").json()["ledger"]

        assert (ledger["rows_in"], ledger["rows_unaccounted"]) == (3, 0)
        assert ledger["tokens"] == [{"word": "completed", "count": 3}]
        assert {account["node"]["node_id"] for account in ledger["nodes"]} == {
            node.node_id for node in (world.source, world.transform, world.sink)
        }

    def test_tell_the_graph(self, signed_in, world):
        edge = make_edge(world.source, world.transform)

        graph = signed_in.get(f"{API}runs/{world.run.run_id}/graph/").json()

        assert {each["node"]["node_id"] for each in graph["nodes"]} == {
            node.node_id for node in (world.source, world.transform, world.sink)
        }
        (told,) = graph["edges"]
        assert (told["edge_id"], told["source"], told["target"]) == (
            edge.edge_id,
            world.source.node_id,
            world.transform.node_id,
        )


class TestSchema:
    def test_is_valid_and_names_every_resource(self, signed_in):
        schema = signed_in.get(f"{API}schema/?format=json").json()

        validate_schema(schema)
        named = [each for each in get_resolver("audit.api.urls").url_patterns if each.name]
        assert len(schema["paths"]) == len(named) - len(["schema", "docs"])

    def test_says_what_the_answers_hold(self, signed_in, world):
        schema = signed_in.get(f"{API}schema/?format=json").json()
        told = signed_in.get(
            f"{API}runs/{world.run.run_id}/tokens/{world.tokens[0].token_id}/lineage/"
        ).json()

        parts = schema["components"]["schemas"]
        assert set(told) == set(parts["Lineage"]["properties"])
        assert set(told["tokens"][0]) == set(parts["Token"]["properties"])
        assert set(told["visits"][0]) == set(parts["Visit"]["properties"])

    @pytest.mark.browser
    def test_is_shown_on_a_page_that_obeys_the_content_policy(self, page, live_server):
        broken = []
        page.on("console", lambda line: broken.append(line.text) if line.type == "error" else None)

        page.goto(f"{live_server.url}{API}docs/")

        page.get_by_text("/api/v1/runs/{run_id}/rows/", exact=False).first.wait_for()
        assert broken == []
