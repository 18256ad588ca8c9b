"""Rows, the tokens that travel for them, their ancestry and their ends."""

from __future__ import annotations

from typing import Self

from django.db import models
from django.db.models import F, Q

from audit.models.fields import (
    ReasonedIndex,
    RefIndex,
    finite,
    hash_field,
    id_field,
    instant_field,
    link,
    one_of,
    points_to,
    text_field,
    unique,
    word_field,
)
from audit.vocabulary import Outcome


class RowQuerySet(models.QuerySet["Row"]):
    """Ways to select rows."""

    def in_order(self) -> Self:
        """The order in which the source delivered them; unique within a run."""
        return self.order_by("run_id", "row_index")


class Row(models.Model):
    """One record as the source delivered it. It never changes."""

    pk = models.CompositePrimaryKey("run_id", "row_id")
    run_id = id_field()
    row_id = id_field()
    source_node_id = id_field()
    row_index = models.BigIntegerField()
    source_data_hash = hash_field()
    source_data_ref = text_field(null=True)
    created_at = instant_field()
    run = link("audit.Run", "run_id", back="rows")
    source_node = link("audit.Node", "run_id", "source_node_id", to_columns=("run_id", "node_id"))

    objects = RowQuerySet.as_manager()

    class Meta:
        db_table = "rows"
        constraints = [
            points_to(
                "nodes",
                "run_id",
                "source_node_id",
                to_columns=("run_id", "node_id"),
                name="rows_source_node",
            ),
            unique(
                "run_id",
                "row_index",
                name="rows_one_per_index",
                reason="Two writers cannot both record row n; also orders the rows page.",
            ),
            finite("created_at", name="rows_times_finite"),
        ]
        indexes = [
            RefIndex("source_data_ref", name="rows_by_source_data_ref"),
        ]

    def __str__(self) -> str:
        return f"row {self.row_index} of {self.run_id}"


class Token(models.Model):
    """One travelling instance of a row; everything that is done is done to a token.

    It carries no data: what it carried is told by the hashes of its node states.
    """

    pk = models.CompositePrimaryKey("run_id", "token_id")
    run_id = id_field()
    token_id = id_field()
    row_id = id_field()
    fork_group_id = id_field(null=True)
    join_group_id = id_field(null=True)
    expand_group_id = id_field(null=True)
    branch_name = text_field(null=True)
    step_in_pipeline = models.IntegerField(null=True)
    created_at = instant_field()
    row = link("audit.Row", "run_id", "row_id", back="tokens")

    class Meta:
        db_table = "tokens"
        constraints = [
            points_to("rows", "run_id", "row_id", name="tokens_row"),
            finite("created_at", name="tokens_times_finite"),
        ]
        indexes = [
            ReasonedIndex(
                fields=["run_id", "row_id"],
                name="tokens_by_row",
                reason="The row page: every token that travelled for a row.",
            ),
        ]

    def __str__(self) -> str:
        return str(self.token_id)


class TokenParent(models.Model):
    """A token came from another: by fork, expansion or coalesce. Never by a batch."""

    pk = models.CompositePrimaryKey("run_id", "token_id", "parent_token_id")
    run_id = id_field()
    token_id = id_field()
    parent_token_id = id_field()
    ordinal = models.IntegerField()
    token = link("audit.Token", "run_id", "token_id", back="parent_links")
    parent = link(
        "audit.Token",
        "run_id",
        "parent_token_id",
        to_columns=("run_id", "token_id"),
        back="child_links",
    )

    class Meta:
        db_table = "token_parents"
        constraints = [
            points_to("tokens", "run_id", "token_id", name="token_parents_token"),
            points_to(
                "tokens",
                "run_id",
                "parent_token_id",
                to_columns=("run_id", "token_id"),
                name="token_parents_parent",
            ),
            unique(
                "run_id",
                "token_id",
                "ordinal",
                name="token_parents_one_per_ordinal",
                reason="The parents of a merged token have an order without ties.",
            ),
            models.CheckConstraint(
                condition=~Q(token_id=F("parent_token_id")),
                name="token_parents_not_itself",
                violation_error_message="A token is not its own parent.",
            ),
        ]
        indexes = [
            ReasonedIndex(
                fields=["run_id", "parent_token_id"],
                name="token_parents_by_parent",
                reason="The token page: the children of a token.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.token_id} from {self.parent_token_id}"


class TokenOutcome(models.Model):
    """A verdict on a token: several are possible (buffered, then consumed), one is final."""

    pk = models.CompositePrimaryKey("run_id", "outcome_id")
    run_id = id_field()
    outcome_id = id_field()
    token_id = id_field()
    outcome = word_field(Outcome)
    is_terminal = models.BooleanField()
    recorded_at = instant_field()
    sink_name = text_field(null=True)
    batch_id = id_field(null=True)
    fork_group_id = id_field(null=True)
    join_group_id = id_field(null=True)
    expand_group_id = id_field(null=True)
    error_hash = hash_field(null=True)
    context_json = text_field(null=True)
    expected_branches_json = text_field(null=True)
    token = link("audit.Token", "run_id", "token_id", back="outcomes")
    batch = link("audit.Batch", "run_id", "batch_id", null=True)

    class Meta:
        db_table = "token_outcomes"
        constraints = [
            points_to("tokens", "run_id", "token_id", name="token_outcomes_token"),
            points_to("batches", "run_id", "batch_id", name="token_outcomes_batch"),
            unique(
                "run_id",
                "token_id",
                name="token_outcomes_one_final",
                condition=Q(is_terminal=True),
                reason="Racing workers cannot both end a token.",
            ),
            one_of("outcome", Outcome, name="token_outcomes_outcome_known"),
            models.CheckConstraint(
                condition=Q(outcome=Outcome.BUFFERED, is_terminal=False)
                | (~Q(outcome=Outcome.BUFFERED) & Q(is_terminal=True)),
                name="token_outcomes_terminal_agrees",
                violation_error_message="Every outcome but buffered ends the token.",
            ),
            finite("recorded_at", name="token_outcomes_times_finite"),
        ]
        indexes = [
            ReasonedIndex(
                fields=["run_id", "token_id"],
                name="token_outcomes_by_token",
                reason="The token and rows pages: every verdict on a token, buffered included.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.outcome} for {self.token_id}"
