"""Runs and their rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from audit import lineage
from audit.api.asking import AFTER, LIMIT, Resource
from audit.vocabulary import Outcome, RunStatus

if TYPE_CHECKING:
    from rest_framework.request import Request

STATUSES = (lineage.NEEDS_A_PERSON, *RunStatus.values)
OUTCOMES = (*Outcome.values, lineage.NO_OUTCOME)
LAST_INDEX = 10**18 - 1


class OutcomeCountSerializer(serializers.Serializer):
    """How many tokens have this as their last verdict; an empty word means none at all."""

    outcome = serializers.CharField(allow_blank=True)
    tokens = serializers.IntegerField()


class FiguresSerializer(serializers.Serializer):
    """What was counted when the run had ended."""

    pipeline = serializers.CharField()
    rows = serializers.IntegerField()
    tokens = serializers.IntegerField()
    states = serializers.IntegerField()
    calls = serializers.IntegerField()
    errors = serializers.IntegerField()
    outcomes = OutcomeCountSerializer(many=True)
    counted_at = serializers.DateTimeField()


class RunSerializer(serializers.Serializer):
    """One run; `figures` is null while they are still to be counted."""

    run_id = serializers.CharField()
    status = serializers.ChoiceField(RunStatus.values)
    imported = serializers.BooleanField()
    started_at = serializers.DateTimeField()
    completed_at = serializers.DateTimeField(allow_null=True)
    duration_ms = serializers.FloatField(allow_null=True)
    config_hash = serializers.CharField()
    grade = serializers.CharField(allow_null=True)
    figures = FiguresSerializer(allow_null=True)


class RunsPageSerializer(serializers.Serializer):
    """A page of runs, newest first."""

    results = RunSerializer(many=True)
    next = serializers.URLField(allow_null=True)
    total = serializers.IntegerField()


class RowSerializer(serializers.Serializer):
    """One row as the source delivered it, and what became of its tokens."""

    row_id = serializers.CharField()
    row_index = serializers.IntegerField()
    source_data_hash = serializers.CharField()
    tokens = serializers.IntegerField()
    outcomes = OutcomeCountSerializer(many=True)
    failed_visits = serializers.IntegerField()
    first_started_at = serializers.DateTimeField(allow_null=True)
    last_completed_at = serializers.DateTimeField(allow_null=True)
    duration_ms = serializers.FloatField(allow_null=True)


class RowsPageSerializer(serializers.Serializer):
    """A page of rows in the order of the source."""

    results = RowSerializer(many=True)
    next = serializers.URLField(allow_null=True)


class Runs(Resource):
    """Runs, newest first."""

    parameters = ("status", "text", "after", "limit")

    @extend_schema(
        operation_id="list_runs",
        parameters=[
            OpenApiParameter("status", str, enum=STATUSES),
            OpenApiParameter("text", str, description="Part of a run id, or of the pipeline."),
            AFTER,
            LIMIT,
        ],
        responses=RunsPageSerializer,
    )
    def get(self, _request: Request) -> Response:
        asked = lineage.RunFilter(status=self.asked("status", STATUSES), text=self.asked("text"))
        found = lineage.list_runs(asked=asked, after=self.asked("after"), limit=self.limit())
        runs = RunSerializer(found.lines, many=True).data
        return self.page(runs, after=found.next_after, total=found.total)


class Run(Resource):
    """One run."""

    @extend_schema(operation_id="run", responses=RunSerializer)
    def get(self, _request: Request, run_id: str) -> Response:
        return Response(RunSerializer(lineage.describe_run(run_id=run_id)).data)


class Rows(Resource):
    """The rows of a run."""

    parameters = ("outcome", "after", "limit")

    @extend_schema(
        operation_id="list_rows",
        parameters=[OpenApiParameter("outcome", str, enum=OUTCOMES), AFTER, LIMIT],
        responses=RowsPageSerializer,
    )
    def get(self, _request: Request, run_id: str) -> Response:
        found = lineage.list_rows(
            run_id=run_id,
            outcome=self.asked("outcome", OUTCOMES),
            after=self.asked_number("after", least=0, most=LAST_INDEX),
            limit=self.limit(),
        )
        return self.page(RowSerializer(found.lines, many=True).data, after=found.next_after)
