"""The one decision about payloads, against a small model of it in Python."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit import retention
from audit.models import Export, PurgeItem, PurgeKept
from audit.retention import deciding
from tests.builders import NOON, digest, make_node, make_payload, make_row, make_run, new_id
from tests.retention.worlds import make_person

DAYS = st.integers(0, 40)
RUN = st.fixed_dictionaries(
    {
        "status": st.sampled_from(["completed", "failed", "running", "interrupted"]),
        "age": DAYS,
        "pipeline": st.sampled_from(["a", "b"]),
        "payloads": st.sets(st.integers(0, 3), max_size=3),
        "read": st.booleans(),
    }
)
POLICY = st.fixed_dictionaries(
    {
        "scope": st.sampled_from([("all", None), ("pipeline", "a"), ("status", "failed")]),
        "keep": st.integers(0, 20),
        "more": st.none() | st.integers(0, 20),
        "ended": st.booleans(),
    }
)
HOLD = st.sampled_from([("everything", None), ("pipeline", "b"), ("run", 0), ("run", 1)])


def covers(scope, value, run, index):
    """Whether a policy or hold is about a run."""
    return (
        scope in {"all", "everything"}
        or (scope == "pipeline" and value == run["pipeline"])
        or (scope == "status" and value == run["status"])
        or (scope == "run" and value == index)
    )


def rank(run, index, policies, holds, *, orphan=False):
    """The rule for one run, the strongest first."""
    about = [p for p in policies if not p["ended"] and covers(*p["scope"], run, index)]
    if any(covers(*hold, run, index) for hold in holds):
        return "legal_hold"
    if run["status"] in {"running", "interrupted"}:
        return "not_over"
    if any(run["age"] < p["keep"] for p in about):
        return "keep_at_least"
    if run["read"] and not orphan:
        return "in_use"
    after = [p["keep"] + p["more"] for p in about if p["more"] is not None]
    if not after:
        return "no_policy"
    return "not_due" if run["age"] < min(after) else None


@pytest.mark.django_db
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(
    runs=st.lists(RUN, max_size=3),
    policies=st.lists(POLICY, max_size=3),
    holds=st.lists(HOLD, max_size=2, unique=True),
    orphan_age=DAYS,
)
def test_the_strongest_rule_of_all_runs_wins(runs, policies, holds, orphan_age):
    order = ["legal_hold", "not_over", "keep_at_least", "in_use", "not_due", "no_policy", None]
    with transaction.atomic():
        person = make_person(new_id())
        for index, run in enumerate(runs):
            ended = None if run["status"] == "running" else NOON - timedelta(days=run["age"])
            made = make_run(
                run_id=f"run{index}",
                status=run["status"],
                completed_at=ended,
                settings_json=f'{{"pipeline": "{run["pipeline"]}"}}',
            )
            source = make_node(made, "csv", "source")
            for number in run["payloads"]:
                make_row(source, number, source_data_ref=digest(f"{number}"))
            if run["read"]:
                Export.objects.create(
                    export_id=new_id(), run_id=f"run{index}", requested_by=1, requested_at=NOON,
                    with_csv=False, with_payloads=True, provisional=False, status="requested",
                    step="sealing", attempt=0, fence=0, records_done=0,
                )  # fmt: skip
        for number in range(4):
            make_payload(digest(f"{number}"), recorded_at=NOON - timedelta(days=orphan_age))
        for number, policy in enumerate(policies):
            retention.set_policy(
                name=f"p{number}", scope=policy["scope"][0], scope_value=policy["scope"][1],
                keep_days=policy["keep"], reason="r", by=person.pk, at=NOON,
                delete_after_days=None if policy["more"] is None
                else policy["keep"] + policy["more"],
            )  # fmt: skip
            if policy["ended"]:
                retention.end_policy(name=f"p{number}", reason="r", by=person.pk, at=NOON)
        for scope, value in holds:
            if scope != "run" or value < len(runs):
                retention.place_hold(
                    scope=scope, scope_value=f"run{value}" if scope == "run" else value,
                    matter="m", reason="r", by=person.pk, at=NOON,
                )  # fmt: skip

        retention.preview(by=person.pk, at=NOON)
        found = dict(PurgeKept.objects.values_list("content_hash", "rule"))
        found |= dict.fromkeys(PurgeItem.objects.values_list("content_hash", flat=True))
        again = deciding.decide(refs=[digest(f"{number}") for number in range(4)], at=NOON)
        transaction.set_rollback(True)

    expected = {}
    for number in range(4):
        ranks = [
            rank(run, index, policies, holds)
            for index, run in enumerate(runs)
            if number in run["payloads"]
        ] or [
            rank(
                {"status": "", "age": orphan_age, "pipeline": "", "read": False},
                None,
                [p for p in policies if p["scope"][0] == "all"],
                [hold for hold in holds if hold[0] == "everything"],
                orphan=True,
            )
        ]
        expected[digest(f"{number}")] = min(ranks, key=order.index)
    assert found == expected
    assert {each.content_hash: each.rule for each in again} == expected
