"""The recorder bound to one run: nothing is left open by accident."""

from __future__ import annotations

import pytest

from audit import recorder
from audit.models import NodeState, Row, Run
from audit.recorder import RunRecorder
from tests.recorder.world import NOON, end_token, make_run, make_token

pytestmark = pytest.mark.django_db


@pytest.fixture
def bound(_var):
    make_run()
    make_token()
    return RunRecorder("r", now=lambda: NOON)


def visit(bound):
    return bound.node_state(token_id="t", node_id="model", step_index=1, input_data={"id": 0})


class TestForwarding:
    def test_fills_in_run_and_moment(self, bound):
        bound.create_row(source_node_id="source", row_index=5, data={})

        assert bound.get_rows(after_index=4)[0].created_at == NOON

    @pytest.mark.parametrize("name", ["add", "sha256", "begin_a_run", "list_runs"])
    def test_knows_functions_of_a_run_only(self, bound, name):
        with pytest.raises(AttributeError, match=name):
            getattr(bound, name)


class TestTransaction:
    def test_keeps_all_or_nothing(self, bound):
        def fail_half_way():
            with bound.transaction():
                bound.create_row(source_node_id="source", row_index=5, data={})
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail_half_way()
        assert Row.objects.count() == 1


class TestNodeState:
    def test_completes_with_what_it_was_told(self, bound):
        with visit(bound) as here:
            here.complete({"ok": True})

        assert NodeState.objects.get().status == "completed"

    def test_fails_by_an_exception_which_goes_on(self, bound):
        with pytest.raises(ZeroDivisionError), visit(bound):
            raise ZeroDivisionError("by zero")

        state = NodeState.objects.get()
        assert (state.status, state.error_json) == ("failed", None)
        assert len(state.error_ref) == 64

    def test_fails_when_nobody_says_what_came_of_it(self, bound):
        with pytest.raises(ValueError, match=r"without visit\.complete"), visit(bound):
            pass

        assert NodeState.objects.get().status == "failed"

    def test_may_fail_and_may_wait_without_an_exception(self, bound):
        with visit(bound) as here:
            here.fail({"reason": "no"})
        assert NodeState.objects.get().status == "failed"


class TestRun:
    def test_completes(self, bound):
        end_token()

        with bound.run():
            pass

        assert Run.objects.get().status == "completed"

    def test_fails_by_an_exception_which_goes_on(self, bound):
        with pytest.raises(KeyboardInterrupt), bound.run():
            raise KeyboardInterrupt

        assert recorder.get_run(run_id="r").status == "failed"
