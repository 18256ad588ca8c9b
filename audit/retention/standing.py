"""What the pages of retention ask: policies, holds, what is due, plans and certificates."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.db import connection
from django.db.models import F

from audit.errors import NotRecorded
from audit.models import (
    LegalHold,
    PurgeCertificate,
    PurgeKept,
    PurgePlan,
    PurgeRun,
    RetentionPolicy,
    RunHiding,
)
from audit.retention import deciding
from audit.vocabulary import HoldScope, KeepRule, PlanStatus, PolicyScope

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

A_PAGE = 100


@dataclass(frozen=True, kw_only=True)
class RunsByRule:
    """How many runs a rule decides about; `first_due` is when the first of them changes."""

    rule: str
    words: str
    runs: int
    first_due: datetime | None


@dataclass(frozen=True, kw_only=True)
class Overview:
    """Everything that `/retention/` shows."""

    policies: tuple[RetentionPolicy, ...]
    holds: tuple[LegalHold, ...]
    due: tuple[RunsByRule, ...]
    plans: tuple[PurgePlan, ...]
    certified: frozenset[int]
    hidden: tuple[RunHiding, ...]
    next_after: int | None
    # Names by number; a person that is gone has none.
    people: dict[int, str]

    @property
    def due_now(self) -> int:
        """Runs whose payloads may be deleted now."""
        return sum(each.runs for each in self.due if each.rule == "due")


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a plan: so many payloads, for a reason in words."""

    words: str
    payloads: int
    size_bytes: int
    rule: str = ""


@dataclass(frozen=True, kw_only=True)
class PlanStory:
    """Everything that the page of one plan shows."""

    plan: PurgePlan
    goes: tuple[Part, ...]
    stays: tuple[Part, ...]
    skipped: tuple[Part, ...]
    runs: tuple[PurgeRun, ...]
    falling: int
    inline: dict[str, int]
    certificate: PurgeCertificate | None
    people: dict[int, str] = field(default_factory=dict)

    @property
    def kept_payloads(self) -> int:
        """How many stay."""
        return sum(each.payloads for each in self.stays)


def overview(*, at: datetime, after: int | None = None) -> Overview:
    """Policies in force, holds, what is due, and a hundred plans from the newest on.

    Costs a fixed number of queries; what is due goes over the runs, never over their records.
    """
    policies = tuple(RetentionPolicy.objects.in_force())
    holds = tuple(LegalHold.objects.active().order_by("-hold_id")[:A_PAGE])
    asked = PurgePlan.objects.exclude(status=PlanStatus.DRAFTING).newest_first()
    if after is not None:
        asked = asked.filter(plan_id__lt=after)
    found = list(asked[: A_PAGE + 1])
    plans = tuple(found[:A_PAGE])
    hidden = tuple(RunHiding.objects.in_effect().order_by("-hidden_at")[:A_PAGE])
    certified = PurgeCertificate.objects.filter(plan_id__in=[each.plan_id for each in plans])
    people = {
        *(each.made_by for each in policies),
        *(each.made_by for each in plans),
        *(each.approved_by for each in plans),
        *(each.placed_by for each in holds),
        *(each.release_asked_by for each in holds),
        *(each.hidden_by for each in hidden),
    }
    return Overview(
        policies=policies,
        holds=holds,
        due=_by_rule(at),
        plans=plans,
        certified=frozenset(certified.values_list("plan_id", flat=True)),
        hidden=hidden,
        next_after=plans[-1].plan_id if len(found) > A_PAGE else None,
        people=names(people),
    )


def explain_plan(*, plan_id: int) -> PlanStory:
    """One plan: its list by policy, what stays by rule, the runs concerned (a hundred of them).

    Raises:
        NotRecorded: there is no such plan.
    """
    plan = PurgePlan.objects.filter(plan_id=plan_id).exclude(status=PlanStatus.DRAFTING).first()
    if plan is None:
        raise NotRecorded("plan", str(plan_id))
    runs = PurgeRun.objects.filter(plan_id=plan_id)
    kept = json.loads(str(plan.kept_json))
    people = [plan.made_by, plan.approved_by, plan.declined_by, plan.begun_by, plan.stopped_by]
    return PlanStory(
        plan=plan,
        goes=_goes(plan),
        stays=tuple(
            Part(words=rule.label, payloads=kept[rule][0], size_bytes=kept[rule][1], rule=str(rule))
            for rule in deciding.RULES
            if rule in kept
        ),
        skipped=_skipped(plan),
        runs=tuple(runs.order_by("-items", "run_id")[:A_PAGE]),
        falling=runs.exclude(grade_before=F("grade_after"))
        .filter(grade_after__isnull=False)
        .count(),
        inline=json.loads(str(plan.inline_json)),
        certificate=PurgeCertificate.objects.filter(plan_id=plan_id).first(),
        people=names(people),
    )


def kept_payloads(*, plan_id: int, rule: str, after: str | None = None) -> list[PurgeKept]:
    """A hundred payloads that a rule keeps, in the order of their hashes, and one more."""
    kept = PurgeKept.objects.filter(plan_id=plan_id, rule=rule)
    if after is not None:
        kept = kept.filter(content_hash__gt=after)
    return list(kept.order_by("content_hash")[: A_PAGE + 1])


def policy_versions(*, limit: int = 500) -> list[RetentionPolicy]:
    """Every version of every policy, by name, the newest first."""
    return list(RetentionPolicy.objects.order_by("name", "-version")[:limit])


def hiding_of(*, run_id: str) -> RunHiding | None:
    """How a run is hidden from lists, or None where lists show it. One query."""
    return RunHiding.objects.in_effect().filter(run_id=run_id).first()


def names(numbers: Iterable[int | None]) -> dict[int, str]:
    """The names of people by their numbers; one query."""
    wanted = {number for number in numbers if number is not None}
    found = get_user_model().objects.filter(pk__in=wanted)
    return {person.pk: person.get_username() for person in found}


def about_policy(policy: RetentionPolicy) -> str:
    """For which runs a policy is, in words."""
    if policy.scope == PolicyScope.ALL:
        return "every run"
    if policy.scope == PolicyScope.STATUS:
        return f"runs that are {policy.scope_value}"
    return f"runs of the pipeline {policy.scope_value}"


def about_hold(hold: LegalHold) -> str:
    """What a hold keeps, in words."""
    if hold.scope == HoldScope.EVERYTHING:
        return "everything"
    return f"{'run' if hold.scope == HoldScope.RUN else 'pipeline'} {hold.scope_value}"


def _by_rule(at: datetime) -> tuple[RunsByRule, ...]:
    with connection.cursor() as cursor:
        cursor.execute(deciding.runs_by_rank(), {"at": at})
        found = cursor.fetchall()
    told = []
    for rank, runs, first_due in found:
        rule = None if rank == deciding.GOES else deciding.RULES[rank]
        told.append(
            RunsByRule(
                rule=str(rule or "due"),
                words=rule.label if rule else "due: the next plan lists their payloads",
                runs=runs,
                first_due=first_due if rule == KeepRule.NOT_DUE else None,
            )
        )
    return tuple(told)


def _goes(plan: PurgePlan) -> tuple[Part, ...]:
    # Policies of the list are those that the plan keeps a copy of.
    known = {str(each["policy_id"]): each for each in json.loads(str(plan.policies_json))}
    return tuple(
        Part(words=_because(known.get(policy_id, {})), payloads=count, size_bytes=size)
        for policy_id, (count, size) in _totals(plan.goes_json)
    )


def _because(policy: dict[str, Any]) -> str:
    if not policy:
        return "a policy"
    return (
        f"{policy['name']} v{policy['version']}: "
        f"{policy['delete_after_days']:,} days after the end of the run"
    )


def _skipped(plan: PurgePlan) -> tuple[Part, ...]:
    return tuple(
        Part(words=KeepRule(rule).label, payloads=count, size_bytes=size, rule=rule)
        for rule, (count, size) in _totals(plan.skipped_json)
    )


def _totals(kept: object) -> list[tuple[str, tuple[int, int]]]:
    # A list of millions is counted when it is made, never when somebody looks.
    return list(json.loads(str(kept or "{}")).items())
