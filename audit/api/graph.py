"""The pipeline of a run as a graph, with what moved along it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from audit import lineage
from audit.api.asking import Resource
from audit.api.lineage import NodeNameSerializer

if TYPE_CHECKING:
    from rest_framework.request import Request


class TrafficSerializer(serializers.Serializer):
    """What happened at a node. Durations are milliseconds, of single visits."""

    visits = serializers.IntegerField()
    tokens = serializers.IntegerField()
    completed = serializers.IntegerField()
    failed = serializers.IntegerField()
    unfinished = serializers.IntegerField()
    retried = serializers.IntegerField()
    p50_ms = serializers.FloatField(allow_null=True)
    p95_ms = serializers.FloatField(allow_null=True)


class GraphNodeSerializer(serializers.Serializer):
    """A node; `traffic` is null while the run is still to be counted."""

    node = NodeNameSerializer()
    traffic = TrafficSerializer(allow_null=True)


class GraphEdgeSerializer(serializers.Serializer):
    """An edge of the pipeline; `share` is of what left its source, from 0 to 1."""

    edge_id = serializers.CharField()
    source = serializers.CharField()
    target = serializers.CharField()
    label = serializers.CharField()
    mode = serializers.CharField()
    routed_away = serializers.BooleanField()
    tokens = serializers.IntegerField(allow_null=True)
    share = serializers.FloatField(allow_null=True)


class StraySerializer(serializers.Serializer):
    """Tokens that went from one node to another along no registered edge."""

    source = serializers.CharField()
    target = serializers.CharField()
    tokens = serializers.IntegerField()


class GraphSerializer(serializers.Serializer):
    """The whole graph. `nodes_cut` and `edges_cut` say that there are more than are told."""

    nodes = GraphNodeSerializer(many=True)
    edges = GraphEdgeSerializer(many=True)
    strays = StraySerializer(many=True)
    counted = serializers.BooleanField()
    nodes_cut = serializers.BooleanField()
    edges_cut = serializers.BooleanField()


class Graph(Resource):
    """The nodes and edges of a run."""

    @extend_schema(operation_id="graph", responses=GraphSerializer)
    def get(self, _request: Request, run_id: str) -> Response:
        _run, graph = lineage.explain_graph(run_id=run_id)
        return Response(GraphSerializer(graph).data)
