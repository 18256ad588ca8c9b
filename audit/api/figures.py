"""What was counted of a run when it had ended: its journeys and its ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.response import Response

from audit import lineage
from audit.api.asking import AFTER, LIMIT, Resource
from audit.api.lineage import NodeNameSerializer
from audit.api.runs import OUTCOMES

if TYPE_CHECKING:
    from rest_framework.request import Request


class StepTakenSerializer(serializers.Serializer):
    """One place on a path: how the last attempt there ended, and what was chosen."""

    node_id = serializers.CharField()
    status = serializers.CharField()
    retried = serializers.BooleanField()
    choices = serializers.ListField(child=serializers.CharField())


class PathSerializer(serializers.Serializer):
    """What one token did, or several alike; `further` steps are not told."""

    made = serializers.CharField()
    branch = serializers.CharField(allow_null=True)
    several = serializers.BooleanField()
    outcome = serializers.CharField(allow_blank=True)
    sink_name = serializers.CharField(allow_null=True)
    steps = StepTakenSerializer(many=True)
    further = serializers.IntegerField()


class ExampleSerializer(serializers.Serializer):
    """A row that took the journey."""

    row_index = serializers.IntegerField()
    row_id = serializers.CharField()


class JourneySerializer(serializers.Serializer):
    """The paths of a row's tokens, how many rows took them, and how long that took them."""

    journey_id = serializers.CharField()
    rows = serializers.IntegerField()
    retried = serializers.BooleanField()
    p50_ms = serializers.FloatField(allow_null=True)
    p95_ms = serializers.FloatField(allow_null=True)
    paths = PathSerializer(many=True)
    further = serializers.IntegerField()
    examples = serializers.SerializerMethodField()

    @extend_schema_field(ExampleSerializer(many=True))
    def get_examples(self, journey: lineage.Journey) -> list[dict[str, object]]:
        return [{"row_index": index, "row_id": row_id} for index, row_id in journey.examples]


class JourneysPageSerializer(serializers.Serializer):
    """A page of journeys. `counted` is false while the run is still to be counted."""

    results = JourneySerializer(many=True)
    next = serializers.URLField(allow_null=True)
    counted = serializers.BooleanField()
    matching = serializers.IntegerField()
    matching_rows = serializers.IntegerField()


class EntrySerializer(serializers.Serializer):
    """One line of an account."""

    word = serializers.CharField()
    count = serializers.IntegerField()


class NodeAccountSerializer(serializers.Serializer):
    """What was at a node: rows at a source, tokens elsewhere."""

    node = NodeNameSerializer()
    came = serializers.IntegerField()
    passed_on = serializers.IntegerField()
    ended = EntrySerializer(many=True)
    unconfirmed = serializers.IntegerField()
    unaccounted = serializers.IntegerField()


class LostSerializer(serializers.Serializer):
    """A record to look at; `token_id` is null for a row that never became a token."""

    row_index = serializers.IntegerField()
    row_id = serializers.CharField()
    token_id = serializers.CharField(allow_null=True)
    claimed = serializers.CharField(allow_null=True)
    last_seen = serializers.CharField(allow_null=True)


class LedgerSerializer(serializers.Serializer):
    """Both accounts of a run; lists of records hold their first hundred."""

    rows_in = serializers.IntegerField()
    rows = EntrySerializer(many=True)
    rows_unaccounted = serializers.IntegerField()
    made = EntrySerializer(many=True)
    tokens = EntrySerializer(many=True)
    tokens_unaccounted = serializers.IntegerField()
    unconfirmed = serializers.IntegerField()
    nodes = NodeAccountSerializer(many=True)
    lost = LostSerializer(many=True)
    unconfirmed_list = LostSerializer(many=True)


class LedgerAnswerSerializer(serializers.Serializer):
    """The ledger, or null while the run is still to be counted."""

    ledger = LedgerSerializer(allow_null=True)


class Journeys(Resource):
    """The distinct paths that the rows of a run took."""

    parameters = ("order", "node", "outcome", "retried", "after", "limit")

    @extend_schema(
        operation_id="list_journeys",
        parameters=[
            OpenApiParameter("order", str, enum=lineage.ORDERS),
            OpenApiParameter("node", str, description="Only paths that contain this node."),
            OpenApiParameter("outcome", str, enum=OUTCOMES),
            OpenApiParameter("retried", str, enum=("yes", "no")),
            AFTER,
            LIMIT,
        ],
        responses=JourneysPageSerializer,
    )
    def get(self, _request: Request, run_id: str) -> Response:
        outcome = self.asked("outcome", OUTCOMES)
        retried = self.asked("retried", ("yes", "no"))
        asked = lineage.JourneyFilter(
            order=self.asked("order", lineage.ORDERS) or lineage.ORDERS[0],
            node=self.asked("node"),
            outcome="" if outcome == lineage.NO_OUTCOME else outcome,
            retried=None if retried is None else retried == "yes",
        )
        found = lineage.list_journeys(
            run_id=run_id, asked=asked, after=self.asked("after"), limit=self.limit()
        )
        return self.page(
            JourneySerializer(found.lines, many=True).data,
            after=found.next_after,
            counted=found.run.figures is not None,
            matching=found.matching,
            matching_rows=found.matching_rows,
        )


class LedgerOfRun(Resource):
    """Whether what came in equals what came of it."""

    @extend_schema(operation_id="ledger", responses=LedgerAnswerSerializer)
    def get(self, _request: Request, run_id: str) -> Response:
        found = lineage.explain_ledger(run_id=run_id).ledger
        return Response({"ledger": LedgerSerializer(found).data if found else None})
