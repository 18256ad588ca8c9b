"""Retention: how long contents are kept, what holds them, and what lists do not show."""

from __future__ import annotations

from typing import Self

from django.db import models
from django.db.models import F, Q

from audit.models.fields import (
    CompositeForeignKey,
    ReasonedIndex,
    finite,
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
    HoldScope,
    HoldStatus,
    PolicyScope,
)


class RetentionGuard(models.Model):
    """The one row on which holds and purges meet.

    Placing or releasing a hold and changing a policy update it; whoever purges locks it, and asks
    what is held only then. Without it a hold that commits during a purge is violated, at every
    isolation level.
    """

    singleton_id = models.IntegerField(primary_key=True, default=1)
    epoch = models.BigIntegerField()

    class Meta:
        db_table = "retention_guard"
        constraints = [
            models.CheckConstraint(
                condition=Q(singleton_id=1),
                name="retention_guard_one_row",
                violation_error_message="There is one row.",
            ),
        ]

    def __str__(self) -> str:
        return f"epoch {self.epoch}"


class RetentionPolicyQuerySet(models.QuerySet["RetentionPolicy"]):
    """Ways to select policies."""

    def in_force(self) -> Self:
        """The newest version of each policy that has not ended, by name."""
        newest = self.order_by("name", "-version").distinct("name").values("policy_id")
        return self.filter(policy_id__in=newest, ended=False).order_by("name")


class RetentionPolicy(models.Model):
    """One version of a policy: how long the payloads of some runs are kept.

    Never edited: a new version takes the place of the one before, from then on. A version that
    says `ended` ends the policy. `delete_after_days` is null where nothing is ever deleted by it.
    """

    policy_id = models.BigAutoField(primary_key=True)
    name = text_field()
    version = models.IntegerField()
    prev_version = models.IntegerField(null=True)
    scope = word_field(PolicyScope)
    scope_value = text_field(null=True)
    # Days since the end of the run.
    keep_days = models.IntegerField()
    delete_after_days = models.IntegerField(null=True)
    ended = models.BooleanField(default=False)
    reason = text_field()
    # By number: a person may go, what they decided may not.
    made_by = models.BigIntegerField()
    made_at = instant_field()

    objects = RetentionPolicyQuerySet.as_manager()

    class Meta:
        db_table = "retention_policies"
        constraints = [
            unique(
                "name",
                "version",
                name="retention_policies_version",
                reason="Of two that change a policy at once, one comes second.",
            ),
            CompositeForeignKey(
                columns=("name", "prev_version"),
                to_table="retention_policies",
                to_columns=("name", "version"),
                name="retention_policies_previous",
                violation_error_message="A version follows one that is there.",
            ),
            models.CheckConstraint(
                condition=Q(version=1, prev_version__isnull=True)
                | Q(version__gt=1, prev_version__isnull=False, prev_version=F("version") - 1),
                name="retention_policies_without_gap",
                violation_error_message="Versions are numbered from one, without gap.",
            ),
            models.CheckConstraint(
                condition=Q(keep_days__gte=0)
                & (Q(delete_after_days__isnull=True) | Q(delete_after_days__gte=F("keep_days"))),
                name="retention_policies_days",
                violation_error_message="Nothing is deleted before it may be.",
            ),
            models.CheckConstraint(
                condition=Q(scope=PolicyScope.ALL, scope_value__isnull=True)
                | ~Q(scope=PolicyScope.ALL) & Q(scope_value__isnull=False),
                name="retention_policies_scope",
                violation_error_message="A policy for some runs says which.",
            ),
            one_of("scope", PolicyScope, name="retention_policies_scope_known"),
            finite("made_at", name="retention_policies_times_finite"),
        ]

    def __str__(self) -> str:
        return f"{self.name} v{self.version}"


class LegalHoldQuerySet(models.QuerySet["LegalHold"]):
    """Ways to select holds."""

    def active(self) -> Self:
        """Those that keep what they cover: also while their release is only asked for."""
        return self.exclude(status=HoldStatus.RELEASED)


class LegalHold(models.Model):
    """Nothing that it covers is deleted, whatever a policy or a plan says, until it is released.

    It has no end date. One person asks for its release and another one, who may approve, confirms
    it; the row guard of the database holds them to that.
    """

    hold_id = models.BigAutoField(primary_key=True)
    status = word_field(HoldStatus)
    scope = word_field(HoldScope)
    scope_value = text_field(null=True)
    matter = text_field()
    reason = text_field()
    placed_by = models.BigIntegerField()
    placed_at = instant_field()
    release_asked_by = models.BigIntegerField(null=True)
    release_asked_at = instant_field(null=True)
    release_reason = text_field(null=True)
    released_by = models.BigIntegerField(null=True)
    released_at = instant_field(null=True)

    objects = LegalHoldQuerySet.as_manager()

    class Meta:
        db_table = "legal_holds"
        constraints = [
            models.CheckConstraint(
                condition=Q(scope=HoldScope.EVERYTHING, scope_value__isnull=True)
                | ~Q(scope=HoldScope.EVERYTHING) & Q(scope_value__isnull=False),
                name="legal_holds_scope",
                violation_error_message="A hold on a run or a pipeline says which.",
            ),
            models.CheckConstraint(
                condition=~Q(matter="") & ~Q(reason=""),
                name="legal_holds_say_why",
                violation_error_message="A hold has a matter and a reason.",
            ),
            models.CheckConstraint(
                condition=Q(status=HoldStatus.ACTIVE, release_asked_by__isnull=True)
                | ~Q(status=HoldStatus.ACTIVE)
                & none_null(["release_asked_by", "release_asked_at", "release_reason"]),
                name="legal_holds_release_asked",
                violation_error_message="Whose release is asked for says by whom and why.",
            ),
            models.CheckConstraint(
                condition=Q(released_by__isnull=True, released_at__isnull=True)
                & ~Q(status=HoldStatus.RELEASED)
                | Q(status=HoldStatus.RELEASED)
                & none_null(["released_by", "released_at"])
                & ~Q(released_by=F("release_asked_by")),
                name="legal_holds_two_people",
                violation_error_message="Nobody releases a hold alone.",
            ),
            one_of("scope", HoldScope, name="legal_holds_scope_known"),
            one_of("status", HoldStatus, name="legal_holds_status_known"),
            finite("placed_at", "release_asked_at", "released_at", name="legal_holds_times_finite"),
        ]
        indexes = [
            ReasonedIndex(
                fields=["status", "hold_id"],
                name="legal_holds_by_status",
                reason="Every purge: what is held now?",
            ),
        ]

    def __str__(self) -> str:
        return f"hold {self.hold_id}: {self.matter}"


class RunHidingQuerySet(models.QuerySet["RunHiding"]):
    """Ways to select what is hidden."""

    def in_effect(self) -> Self:
        """Those that were not undone."""
        return self.filter(restored_at__isnull=True)


class RunHiding(models.Model):
    """A run that lists do not show: soft deletion, which deletes nothing.

    It can be undone until the day that is shown. Its records, proofs and holds are as before.
    """

    hiding_id = models.BigAutoField(primary_key=True)
    run_id = id_field()
    reason = text_field()
    hidden_by = models.BigIntegerField()
    hidden_at = instant_field()
    restorable_until = instant_field()
    restored_by = models.BigIntegerField(null=True)
    restored_at = instant_field(null=True)
    run = link("audit.Run", "run_id", back="hidings")

    objects = RunHidingQuerySet.as_manager()

    class Meta:
        db_table = "run_hidings"
        constraints = [
            points_to("runs", "run_id", name="run_hidings_run"),
            unique(
                "run_id",
                name="run_hidings_once",
                reason="A run is hidden or it is not. Every list asks by this.",
                condition=Q(restored_at__isnull=True),
            ),
            models.CheckConstraint(
                condition=Q(restored_by__isnull=True, restored_at__isnull=True)
                | Q(
                    restored_by__isnull=False,
                    restored_at__isnull=False,
                    restored_at__lte=F("restorable_until"),
                ),
                name="run_hidings_undone_in_time",
                violation_error_message="It can be undone until the day that was said.",
            ),
            finite("hidden_at", "restorable_until", "restored_at", name="run_hidings_times_finite"),
        ]

    def __str__(self) -> str:
        return f"{self.run_id} is hidden"
