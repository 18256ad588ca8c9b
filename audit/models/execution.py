"""What was done: visits to nodes, routing decisions, external calls, operations."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from audit.models.fields import (
    ReasonedIndex,
    RefIndex,
    all_null,
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
    CallStatus,
    CallType,
    NodeStateStatus,
    OperationStatus,
    OperationType,
    RoutingMode,
)

_ENDED = ("completed_at", "duration_ms")


class NodeState(models.Model):
    """One attempt of one token at one node: the central record of execution.

    It opens with an input hash and ends completed, failed or pending; each of the four
    has columns that it must have and columns that it must not have.
    """

    pk = models.CompositePrimaryKey("run_id", "state_id")
    run_id = id_field()
    state_id = id_field()
    token_id = id_field()
    node_id = id_field()
    step_index = models.IntegerField()
    attempt = models.IntegerField()
    status = word_field(NodeStateStatus)
    input_hash = hash_field()
    output_hash = hash_field(null=True)
    context_before_json = text_field(null=True)
    context_after_json = text_field(null=True)
    duration_ms = models.FloatField(null=True)
    # What imported runs carry; ours keeps the error as a payload, so that it can be erased.
    error_json = text_field(null=True)
    error_hash = hash_field(null=True)
    error_ref = text_field(null=True)
    success_reason_json = text_field(null=True)
    started_at = instant_field()
    completed_at = instant_field(null=True)
    token = link("audit.Token", "run_id", "token_id", back="states")
    node = link("audit.Node", "run_id", "node_id", back="states")

    class Meta:
        db_table = "node_states"
        constraints = [
            points_to("tokens", "run_id", "token_id", name="node_states_token"),
            points_to("nodes", "run_id", "node_id", name="node_states_node"),
            unique(
                "run_id",
                "token_id",
                "node_id",
                "attempt",
                name="node_states_one_per_attempt",
                reason="Two workers cannot both make attempt n of a token at a node.",
            ),
            unique(
                "run_id",
                "token_id",
                "step_index",
                "attempt",
                name="node_states_one_per_step",
                reason="A step of a token has one visit per attempt; orders the token page.",
            ),
            one_of("status", NodeStateStatus, name="node_states_status_known"),
            models.CheckConstraint(
                condition=~Q(status=NodeStateStatus.OPEN)
                | all_null((*_ENDED, "output_hash", "error_json", "context_after_json")),
                name="node_states_open",
                violation_error_message=(
                    "An open state has no end, duration, output, error or context after."
                ),
            ),
            models.CheckConstraint(
                condition=~Q(status=NodeStateStatus.PENDING)
                | (none_null(_ENDED) & all_null(("output_hash", "error_json"))),
                name="node_states_pending",
                violation_error_message=(
                    "A pending state has an end and a duration, and no output or error."
                ),
            ),
            models.CheckConstraint(
                condition=~Q(status=NodeStateStatus.COMPLETED)
                | (none_null((*_ENDED, "output_hash")) & all_null(("error_json",))),
                name="node_states_completed",
                violation_error_message=(
                    "A completed state has an end, a duration and an output, and no error."
                ),
            ),
            models.CheckConstraint(
                condition=~Q(status__in=[NodeStateStatus.FAILED, NodeStateStatus.REJECTED])
                | none_null(_ENDED),
                name="node_states_failed",
                violation_error_message="A failed state has an end and a duration.",
            ),
            models.CheckConstraint(
                condition=Q(error_hash__isnull=True)
                | Q(status__in=[NodeStateStatus.FAILED, NodeStateStatus.REJECTED]),
                name="node_states_error_failed",
                violation_error_message="Only a failed state has an error.",
            ),
            finite("started_at", "completed_at", name="node_states_times_finite"),
        ]
        indexes = [
            RefIndex("error_ref", name="node_states_by_error_ref"),
            ReasonedIndex(
                # No column that ends a visit: the update that does so touches no index.
                fields=["run_id", "node_id", "started_at", "state_id"],
                name="node_states_by_node",
                reason="The page of a node: its visits in order of time.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.token_id} at {self.node_id}, attempt {self.attempt}"


class RoutingEvent(models.Model):
    """One edge that a gate chose during a node state; a fork chooses several in one group."""

    pk = models.CompositePrimaryKey("run_id", "event_id")
    run_id = id_field()
    event_id = id_field()
    state_id = id_field()
    edge_id = id_field()
    routing_group_id = id_field()
    ordinal = models.IntegerField()
    mode = word_field(RoutingMode)
    reason_hash = hash_field(null=True)
    reason_ref = text_field(null=True)
    created_at = instant_field()
    state = link("audit.NodeState", "run_id", "state_id", back="routing_events")
    edge = link("audit.Edge", "run_id", "edge_id")

    class Meta:
        db_table = "routing_events"
        constraints = [
            points_to("node_states", "run_id", "state_id", name="routing_events_state"),
            points_to("edges", "run_id", "edge_id", name="routing_events_edge"),
            unique(
                "run_id",
                "routing_group_id",
                "ordinal",
                name="routing_events_one_per_ordinal",
                reason="The edges of one decision have an order without ties.",
            ),
            one_of("mode", RoutingMode, name="routing_events_mode_known"),
            finite("created_at", name="routing_events_times_finite"),
        ]
        indexes = [
            RefIndex("reason_ref", name="routing_events_by_reason_ref"),
            ReasonedIndex(
                fields=["run_id", "state_id"],
                name="routing_events_by_state",
                reason="The token page: where a visit sent the token.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.mode} along {self.edge_id}"


class Operation(models.Model):
    """What a source or sink did as a whole, outside any token: a load, a write."""

    pk = models.CompositePrimaryKey("run_id", "operation_id")
    run_id = id_field()
    operation_id = id_field()
    node_id = id_field()
    operation_type = word_field(OperationType)
    started_at = instant_field()
    completed_at = instant_field(null=True)
    status = word_field(OperationStatus)
    input_data_ref = text_field(null=True)
    input_data_hash = hash_field(null=True)
    output_data_ref = text_field(null=True)
    output_data_hash = hash_field(null=True)
    error_message = text_field(null=True)
    error_hash = hash_field(null=True)
    error_ref = text_field(null=True)
    duration_ms = models.FloatField(null=True)
    node = link("audit.Node", "run_id", "node_id", back="operations")

    class Meta:
        db_table = "operations"
        constraints = [
            points_to("nodes", "run_id", "node_id", name="operations_node"),
            one_of("operation_type", OperationType, name="operations_type_known"),
            one_of("status", OperationStatus, name="operations_status_known"),
            finite("started_at", "completed_at", name="operations_times_finite"),
        ]
        indexes = [
            RefIndex("input_data_ref", name="operations_by_input_data_ref"),
            RefIndex("output_data_ref", name="operations_by_output_data_ref"),
            RefIndex("error_ref", name="operations_by_error_ref"),
        ]

    def __str__(self) -> str:
        return f"{self.operation_type} at {self.node_id}"


class Call(models.Model):
    """One external request and its answer, made during a node state or an operation."""

    pk = models.CompositePrimaryKey("run_id", "call_id")
    run_id = id_field()
    call_id = id_field()
    state_id = id_field(null=True)
    operation_id = id_field(null=True)
    call_index = models.IntegerField()
    call_type = word_field(CallType)
    status = word_field(CallStatus)
    request_hash = hash_field()
    request_ref = text_field(null=True)
    response_hash = hash_field(null=True)
    response_ref = text_field(null=True)
    error_json = text_field(null=True)
    error_hash = hash_field(null=True)
    error_ref = text_field(null=True)
    latency_ms = models.FloatField(null=True)
    created_at = instant_field()
    state = link("audit.NodeState", "run_id", "state_id", null=True, back="calls")
    operation = link("audit.Operation", "run_id", "operation_id", null=True, back="calls")

    class Meta:
        db_table = "calls"
        constraints = [
            points_to("node_states", "run_id", "state_id", name="calls_state"),
            points_to("operations", "run_id", "operation_id", name="calls_operation"),
            models.CheckConstraint(
                condition=Q(state_id__isnull=False, operation_id__isnull=True)
                | Q(state_id__isnull=True, operation_id__isnull=False),
                name="calls_one_parent",
                violation_error_message="A call belongs to a node state or to an operation.",
            ),
            unique(
                "run_id",
                "state_id",
                "call_index",
                name="calls_one_per_state_index",
                condition=Q(state_id__isnull=False),
                reason="Concurrent calls of a state get different numbers; orders the page.",
            ),
            unique(
                "run_id",
                "operation_id",
                "call_index",
                name="calls_one_per_operation_index",
                condition=Q(operation_id__isnull=False),
                reason="Concurrent calls of an operation get different numbers.",
            ),
            one_of("call_type", CallType, name="calls_type_known"),
            one_of("status", CallStatus, name="calls_status_known"),
            finite("created_at", name="calls_times_finite"),
        ]
        indexes = [
            RefIndex("request_ref", name="calls_by_request_ref"),
            RefIndex("response_ref", name="calls_by_response_ref"),
            RefIndex("error_ref", name="calls_by_error_ref"),
            ReasonedIndex(
                fields=["run_id", "request_hash"],
                name="calls_by_request",
                reason="Replay: the recorded answers to this request, in order.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.call_type} call {self.call_index}"
