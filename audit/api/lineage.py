"""Lineage of a token or a row: everything it came from, and everything that came of it."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.response import Response

from audit.api.asking import Resource
from audit.lineage import gather_closure, gather_row

if TYPE_CHECKING:
    from rest_framework.request import Request

    from audit.lineage import Closure
    from audit.lineage.closure_facts import BatchFacts

OPEN = OpenApiParameter(
    "open", str, description="Group keys, parted by dots, whose tokens are told one by one."
)
SINK = OpenApiParameter("sink", str, description="Only what ended in this sink, and its past.")


class TokenSerializer(serializers.Serializer):
    """One token; `ordinal` is its place among the siblings that were made with it."""

    token_id = serializers.CharField()
    row_id = serializers.CharField()
    row_index = serializers.IntegerField()
    branch_name = serializers.CharField(allow_null=True)
    made = serializers.ChoiceField(["source", "fork", "expansion", "merge", "batch", "unknown"])
    group_id = serializers.CharField(allow_null=True)
    ordinal = serializers.IntegerField()
    outcome = serializers.CharField(allow_null=True)
    is_terminal = serializers.BooleanField()
    sink_name = serializers.CharField(allow_null=True)
    error_hash = serializers.CharField(allow_null=True)
    batch_id = serializers.CharField(allow_null=True)
    created_at = serializers.DateTimeField()


class RouteSerializer(serializers.Serializer):
    """An edge that a visit chose."""

    label = serializers.CharField()
    mode = serializers.CharField()
    edge_id = serializers.CharField()
    to_node_id = serializers.CharField()


class VisitSerializer(serializers.Serializer):
    """One attempt, counted from 0, at one node; durations are milliseconds."""

    state_id = serializers.CharField()
    token_id = serializers.CharField()
    node_id = serializers.CharField()
    step_index = serializers.IntegerField()
    attempt = serializers.IntegerField()
    attempts = serializers.IntegerField()
    status = serializers.CharField()
    started_at = serializers.DateTimeField()
    completed_at = serializers.DateTimeField(allow_null=True)
    duration_ms = serializers.FloatField(allow_null=True)
    input_hash = serializers.CharField()
    output_hash = serializers.CharField(allow_null=True)
    error_hash = serializers.CharField(allow_null=True)
    calls = serializers.IntegerField()
    calls_failed = serializers.IntegerField()
    routes = RouteSerializer(many=True)


class ParentLinkSerializer(serializers.Serializer):
    """The token came from the parent."""

    token_id = serializers.CharField()
    parent_id = serializers.CharField()
    ordinal = serializers.IntegerField()


class BatchMemberSerializer(serializers.Serializer):
    """A token that waited in the batch, at its place."""

    token_id = serializers.CharField()
    ordinal = serializers.IntegerField()


class BatchOutputSerializer(serializers.Serializer):
    """What came of the batch: a token or an artifact."""

    output_type = serializers.CharField()
    output_id = serializers.CharField()


class BatchSerializer(serializers.Serializer):
    """A batch; membership is not ancestry. Members and outputs are those of this lineage."""

    batch_id = serializers.CharField()
    node_id = serializers.CharField()
    state_id = serializers.CharField(allow_null=True)
    status = serializers.CharField()
    trigger_type = serializers.CharField(allow_null=True)
    attempt = serializers.IntegerField()
    members_total = serializers.IntegerField()
    members = serializers.SerializerMethodField()
    outputs = serializers.SerializerMethodField()

    @extend_schema_field(BatchMemberSerializer(many=True))
    def get_members(self, batch: BatchFacts) -> list[dict[str, object]]:
        return [{"token_id": token_id, "ordinal": place} for token_id, place in batch.members]

    @extend_schema_field(BatchOutputSerializer(many=True))
    def get_outputs(self, batch: BatchFacts) -> list[dict[str, str]]:
        return [{"output_type": kind, "output_id": key} for kind, key in batch.outputs]


class StepSerializer(serializers.Serializer):
    """One place on a path, and how the last attempt there ended."""

    node_id = serializers.CharField()
    step_index = serializers.IntegerField()
    status = serializers.CharField()
    retried = serializers.BooleanField()
    label = serializers.CharField(allow_null=True)


class GroupSerializer(serializers.Serializer):
    """Equal siblings that are told together; `open` tells them one by one.

    `at_work` counts those under way in equal parts of the time from `started_at` to `ended_at`.
    """

    group_key = serializers.CharField()
    parent_id = serializers.CharField()
    made = serializers.CharField()
    group_id = serializers.CharField(allow_null=True)
    branch_name = serializers.CharField(allow_null=True)
    path = StepSerializer(many=True)
    outcome = serializers.CharField(allow_null=True)
    sink_name = serializers.CharField(allow_null=True)
    tokens = serializers.IntegerField()
    example_id = serializers.CharField()
    p50_ms = serializers.FloatField(allow_null=True)
    p95_ms = serializers.FloatField(allow_null=True)
    worst_status = serializers.CharField(allow_null=True)
    started_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    at_work = serializers.ListField(child=serializers.IntegerField())


class NodeNameSerializer(serializers.Serializer):
    """A node of the pipeline."""

    node_id = serializers.CharField()
    name = serializers.CharField()


class NodeSerializer(NodeNameSerializer):
    """A node of the pipeline and its column."""

    layer = serializers.IntegerField()


class HopSerializer(serializers.Serializer):
    """One hop of the hash chain, and whether the hashes carry it."""

    kind = serializers.CharField()
    from_state = serializers.CharField(allow_null=True)
    to_state = serializers.CharField(allow_null=True)
    token_id = serializers.CharField()
    parent_id = serializers.CharField(allow_null=True)
    verdict = serializers.ChoiceField(["agrees", "breaks_expected", "breaks", "cannot_tell"])
    reason = serializers.CharField()


class LineageSerializer(serializers.Serializer):
    """A whole lineage. `limits` says in words what was cut; empty means that nothing was."""

    run_id = serializers.CharField(source="run.run_id")
    focus_id = serializers.CharField(allow_null=True)
    row_ids = serializers.ListField(child=serializers.CharField())
    tokens = TokenSerializer(many=True)
    links = ParentLinkSerializer(many=True)
    visits = VisitSerializer(many=True)
    batches = BatchSerializer(many=True)
    groups = GroupSerializer(many=True)
    ghosts = serializers.ListField(child=serializers.CharField())
    ancestors = serializers.ListField(child=serializers.CharField())
    nodes = NodeSerializer(many=True)
    hops = HopSerializer(many=True)
    tokens_total = serializers.IntegerField()
    visits_total = serializers.IntegerField()
    limits = serializers.ListField(child=serializers.CharField())

    def to_representation(self, closure: Closure) -> dict[str, Any]:
        """What the closure looks up by id is told as lists, in its order."""
        return super().to_representation(
            {each.name: getattr(closure, each.name) for each in fields(closure)}
            | {
                "tokens": list(closure.tokens.values()),
                "visits": [each for visits in closure.visits.values() for each in visits],
                "nodes": list(closure.nodes.values()),
                "ghosts": sorted(closure.ghosts),
                "ancestors": sorted(closure.ancestors),
            }
        )


class TokenLineage(Resource):
    """Everything a token came from, and everything that came of that."""

    parameters = ("open",)

    @extend_schema(operation_id="token_lineage", parameters=[OPEN], responses=LineageSerializer)
    def get(self, _request: Request, run_id: str, token_id: str) -> Response:
        opened = frozenset(filter(None, (self.asked("open") or "").split(".")))
        closure = gather_closure(run_id=run_id, token_id=token_id, open_groups=opened)
        return Response(LineageSerializer(closure).data)


class RowLineage(Resource):
    """Everything that came of a row."""

    parameters = ("open", "sink")

    @extend_schema(operation_id="row_lineage", parameters=[OPEN, SINK], responses=LineageSerializer)
    def get(self, _request: Request, run_id: str, row_id: str) -> Response:
        opened = frozenset(filter(None, (self.asked("open") or "").split(".")))
        closure = gather_row(
            run_id=run_id, row_id=row_id, sink=self.asked("sink"), open_groups=opened
        )
        return Response(LineageSerializer(closure).data)
