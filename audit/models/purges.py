"""Purges: plans, what was on their lists, what became of it, and what runs say of it."""

from __future__ import annotations

from typing import Self

from django.db import models
from django.db.models import F, Q

from audit.models.fields import (
    CompositeForeignKey,
    ReasonedIndex,
    finite,
    hash_field,
    id_field,
    instant_field,
    link,
    none_null,
    one_of,
    points_to,
    text_field,
    unique,
    word_field,
)
from audit.vocabulary import (
    KeepRule,
    PlanStatus,
    PurgeItemStatus,
    ReproducibilityGrade,
)

# Somebody may still approve it, or a worker still has to do with it.
PLAN_OPEN = (
    PlanStatus.PROPOSED,
    PlanStatus.APPROVED,
    PlanStatus.EXECUTING,
    PlanStatus.STOPPING,
)
# What a worker carries on with.
PLAN_WORKED_ON = (PlanStatus.EXECUTING, PlanStatus.STOPPING)
# Deleted from, and certified.
PLAN_ENDED = (PlanStatus.EXECUTED, PlanStatus.STOPPED)


def _plan_key(name: str) -> CompositeForeignKey:
    return CompositeForeignKey(
        columns=("plan_id",),
        to_table="purge_plans",
        to_columns=("plan_id",),
        name=name,
        violation_error_message="Belongs to a plan that is there.",
    )


class PurgePlanQuerySet(models.QuerySet["PurgePlan"]):
    """Ways to select plans."""

    def newest_first(self) -> Self:
        """In the order of the list."""
        return self.order_by("-plan_id")


class PurgePlan(models.Model):
    """A fixed list of payloads to delete: made by one person, approved by another, then executed.

    The list is in `purge_items`; `digest` is over it, and an approval names digest and count. The
    row guard lets the steps pass in this order alone, asks for the approver's role at that moment,
    and tells by the database's own clock when the waiting time is over (`may_begin_at`).
    """

    plan_id = models.BigAutoField(primary_key=True)
    status = word_field(PlanStatus)
    made_by = models.BigIntegerField()
    made_at = instant_field()
    wait_seconds = models.IntegerField()
    # The policies as they were, and what stays by rule: {rule: [payloads, bytes]}.
    policies_json = text_field()
    kept_json = text_field(null=True)
    # What goes by policy, and what was skipped so far by rule: {id or rule: [payloads, bytes]}.
    goes_json = text_field(null=True)
    skipped_json = text_field(null=True)
    # Inline texts of the runs concerned, which no purge takes away: {"table.column": values}.
    inline_json = text_field(null=True)
    items = models.BigIntegerField(null=True)
    bytes = models.BigIntegerField(null=True)
    runs = models.BigIntegerField(null=True)
    digest = hash_field(null=True)

    approved_by = models.BigIntegerField(null=True)
    approved_at = instant_field(null=True)
    approval_reason = text_field(null=True)
    approved_digest = hash_field(null=True)
    typed_count = models.BigIntegerField(null=True)
    may_begin_at = instant_field(null=True)
    declined_by = models.BigIntegerField(null=True)
    declined_at = instant_field(null=True)
    decline_reason = text_field(null=True)
    begun_by = models.BigIntegerField(null=True)
    begun_at = instant_field(null=True)
    stopped_by = models.BigIntegerField(null=True)
    stopped_at = instant_field(null=True)
    ended_at = instant_field(null=True)
    purged_items = models.BigIntegerField(default=0)
    purged_bytes = models.BigIntegerField(default=0)
    skipped_items = models.BigIntegerField(default=0)
    # Why the last attempt to carry it on came to nothing.
    problem = text_field(null=True)

    objects = PurgePlanQuerySet.as_manager()

    class Meta:
        db_table = "purge_plans"
        constraints = [
            one_of("status", PlanStatus, name="purge_plans_status_known"),
            models.CheckConstraint(
                condition=Q(status=PlanStatus.DRAFTING)
                | none_null(
                    ["items", "bytes", "runs", "digest", "kept_json", "goes_json", "inline_json"]
                ),
                name="purge_plans_list_fixed",
                violation_error_message="A plan that can be seen has its list, and a digest of it.",
            ),
            models.CheckConstraint(
                condition=Q(approved_by__isnull=True)
                | none_null(["approved_at", "approved_digest", "typed_count", "may_begin_at"])
                & Q(
                    approved_digest=F("digest"),
                    typed_count=F("items"),
                ),
                name="purge_plans_approval_whole",
                violation_error_message="An approval is bound to the digest and the count.",
            ),
            models.CheckConstraint(
                condition=Q(approved_by__isnull=True) | ~Q(approved_by=F("made_by")),
                name="purge_plans_two_people",
                violation_error_message="Nobody approves their own plan.",
            ),
            models.CheckConstraint(
                condition=Q(
                    status__in=[PlanStatus.DRAFTING, PlanStatus.PROPOSED, PlanStatus.DECLINED]
                )
                | Q(approved_by__isnull=False),
                name="purge_plans_approved_first",
                violation_error_message="Nothing is executed that was not approved.",
            ),
            models.CheckConstraint(
                condition=~Q(status=PlanStatus.DECLINED)
                | none_null(["declined_by", "declined_at", "decline_reason"]),
                name="purge_plans_decline_says_why",
                violation_error_message="Who declines a plan says why.",
            ),
            models.CheckConstraint(
                condition=Q(begun_by__isnull=False, begun_at__isnull=False)
                & ~Q(status__in=[PlanStatus.DRAFTING, PlanStatus.PROPOSED, PlanStatus.APPROVED])
                | Q(begun_by__isnull=True, begun_at__isnull=True)
                & Q(
                    status__in=[
                        PlanStatus.DRAFTING,
                        PlanStatus.PROPOSED,
                        PlanStatus.APPROVED,
                        PlanStatus.DECLINED,
                    ]
                ),
                name="purge_plans_begun_by_somebody",
                violation_error_message="A purge was begun by somebody.",
            ),
            models.CheckConstraint(
                condition=Q(status__in=PLAN_ENDED, ended_at__isnull=False)
                | ~Q(status__in=PLAN_ENDED) & Q(ended_at__isnull=True),
                name="purge_plans_end_once",
                violation_error_message="A purge has an end when nothing more can come of it.",
            ),
            finite(
                "made_at",
                "approved_at",
                "may_begin_at",
                "declined_at",
                "begun_at",
                "stopped_at",
                "ended_at",
                name="purge_plans_times_finite",
            ),
        ]
        indexes = [
            ReasonedIndex(
                fields=["status", "plan_id"],
                name="purge_plans_by_status",
                reason="The sweeper: what is being executed? The pages: what waits for whom?",
            ),
        ]

    def __str__(self) -> str:
        return f"plan {self.plan_id}"


class PurgeItem(models.Model):
    """One payload on the list of a plan: fixed with the plan, and what became of it."""

    pk = models.CompositePrimaryKey("plan_id", "content_hash")
    plan_id = models.BigIntegerField()
    content_hash = id_field()
    size_bytes = models.BigIntegerField()
    # By which version of which policy it goes.
    policy_id = models.BigIntegerField()
    status = word_field(PurgeItemStatus)
    skipped_for = word_field(KeepRule, null=True)
    purged_at = instant_field(null=True)

    class Meta:
        db_table = "purge_items"
        # No foreign keys: a million rows in one statement, checked by the guard as a set.
        constraints = [
            one_of("status", PurgeItemStatus, name="purge_items_status_known"),
            one_of("skipped_for", KeepRule, name="purge_items_rule_known"),
            models.CheckConstraint(
                condition=~Q(status=PurgeItemStatus.SKIPPED) | Q(skipped_for__isnull=False),
                name="purge_items_skip_says_why",
                violation_error_message="What is skipped says for which rule.",
            ),
            models.CheckConstraint(
                condition=Q(status__in=[PurgeItemStatus.PLANNED, PurgeItemStatus.SKIPPED])
                | Q(purged_at__isnull=False),
                name="purge_items_purged_when",
                violation_error_message="What was purged says when.",
            ),
            finite("purged_at", name="purge_items_times_finite"),
        ]
        indexes = [
            ReasonedIndex(
                fields=["plan_id", "status", "content_hash"],
                name="purge_items_in_hand",
                # Not what is planned: a list of a million is made in seconds.
                condition=Q(status__in=[PurgeItemStatus.PURGED, PurgeItemStatus.SKIPPED]),
                reason="Whose bytes have still to be deleted, and what was skipped?",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.content_hash} of plan {self.plan_id}"


class PurgeKept(models.Model):
    """One payload that a plan leaves where it is, and the rule that keeps it.

    For whoever reads the plan before it is approved; gone when the plan has ended. The plan's own
    row keeps the counts.
    """

    pk = models.CompositePrimaryKey("plan_id", "content_hash")
    plan_id = models.BigIntegerField()
    content_hash = id_field()
    size_bytes = models.BigIntegerField(null=True)
    rule = word_field(KeepRule)
    hold_id = models.BigIntegerField(null=True)
    policy_id = models.BigIntegerField(null=True)
    due_at = instant_field(null=True)

    class Meta:
        db_table = "purge_kept"
        constraints = [one_of("rule", KeepRule, name="purge_kept_rule_known")]

    def __str__(self) -> str:
        return f"{self.content_hash} stays: {self.rule}"


class PurgeRun(models.Model):
    """One run that a plan takes payloads from, as the plan foresees it."""

    pk = models.CompositePrimaryKey("plan_id", "run_id")
    plan_id = models.BigIntegerField()
    run_id = id_field()
    items = models.BigIntegerField()
    bytes = models.BigIntegerField()
    # Whether an answer is among them without which the run cannot be replayed.
    replay_critical = models.BooleanField()
    grade_before = word_field(ReproducibilityGrade, null=True)
    grade_after = word_field(ReproducibilityGrade, null=True)

    class Meta:
        db_table = "purge_runs"
        constraints = [
            _plan_key("purge_runs_plan"),
            points_to("runs", "run_id", name="purge_runs_run"),
        ]

    def __str__(self) -> str:
        return f"{self.run_id} in plan {self.plan_id}"


class PurgeCertificate(models.Model):
    """What was deleted under a plan, as a signed statement; made once, when the purge ends."""

    plan_id = models.BigIntegerField(primary_key=True)
    made_at = instant_field()
    # The statement in canonical form, and the signed envelope around it.
    statement_json = text_field()
    envelope = text_field()
    key_id = id_field()

    class Meta:
        db_table = "purge_certificates"
        constraints = [
            _plan_key("purge_certificates_plan"),
            finite("made_at", name="purge_certificates_times_finite"),
        ]

    def __str__(self) -> str:
        return f"certificate of plan {self.plan_id}"


class PayloadPurge(models.Model):
    """A payload to which this run refers was deleted: a record of the run, sealed with it."""

    pk = models.CompositePrimaryKey("run_id", "purge_id")
    run_id = id_field()
    purge_id = id_field()
    payload_sha256 = hash_field()
    purged_at = instant_field()
    policy = text_field()
    reason = text_field()
    plan_id = models.BigIntegerField()
    requested_by = models.BigIntegerField()
    approved_by = models.BigIntegerField()
    run = link("audit.Run", "run_id", back="payload_purges")

    class Meta:
        db_table = "payload_purges"
        constraints = [
            points_to("runs", "run_id", name="payload_purges_run"),
            _plan_key("payload_purges_plan"),
            finite("purged_at", name="payload_purges_times_finite"),
        ]
        indexes = [
            ReasonedIndex(
                fields=["payload_sha256"],
                name="payload_purges_by_payload",
                reason="Where contents are gone: when, and under which plan?",
            ),
            ReasonedIndex(
                fields=["plan_id", "run_id"],
                name="payload_purges_by_plan",
                reason="The end of a plan: which runs have to be sealed anew?",
            ),
            ReasonedIndex(
                fields=["run_id", "purged_at"],
                name="payload_purges_by_run",
                reason="The sweeper and the desk's jobs: was a run purged since it was sealed?",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.payload_sha256} of {self.run_id}"


class RunGrade(models.Model):
    """The reproducibility of a run fell, because of a purge: a record of the run."""

    pk = models.CompositePrimaryKey("run_id", "change_id")
    run_id = id_field()
    change_id = id_field()
    changed_at = instant_field()
    grade_before = word_field(ReproducibilityGrade)
    grade_after = word_field(ReproducibilityGrade)
    reason = text_field()
    plan_id = models.BigIntegerField()
    run = link("audit.Run", "run_id", back="grades")

    class Meta:
        db_table = "run_grades"
        constraints = [
            points_to("runs", "run_id", name="run_grades_run"),
            _plan_key("run_grades_plan"),
            models.CheckConstraint(
                condition=Q(
                    grade_before=ReproducibilityGrade.REPLAY_REPRODUCIBLE,
                    grade_after=ReproducibilityGrade.ATTRIBUTABLE_ONLY,
                ),
                name="run_grades_only_fall",
                violation_error_message="A purge never makes a run more reproducible.",
            ),
            unique(
                "run_id",
                name="run_grades_once",
                reason="A run falls once: of two purges at once, one records it.",
            ),
            finite("changed_at", name="run_grades_times_finite"),
        ]

    def __str__(self) -> str:
        return f"{self.run_id} is {self.grade_after}"
