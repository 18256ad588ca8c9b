"""Questions to the audit trail. Answers are frozen; nothing here writes.

Every question costs a number of queries that does not grow with the run.
"""

from __future__ import annotations

from audit.lineage.absent import OtherKind
from audit.lineage.access_events import AccessFilter, AccessPage, list_access, stream_access
from audit.lineage.artifact_story import (
    ArtifactsPage,
    ArtifactStory,
    explain_artifact,
    list_artifacts,
)
from audit.lineage.batch_story import BatchesPage, BatchStory, explain_batch, list_batches
from audit.lineage.call_story import CallStory, explain_call
from audit.lineage.choices import Choice, Choices, read_choices
from audit.lineage.closure import gather_closure, gather_row
from audit.lineage.closure_facts import Closure
from audit.lineage.contents import revealed
from audit.lineage.endings import Ending, tell_ending
from audit.lineage.error_classes import RECORDS_READ, ErrorsPage, KindOfErrors, list_errors
from audit.lineage.figures import COUNTED_TO, SoFar, count_so_far
from audit.lineage.further import Further, count_further
from audit.lineage.graphs import GraphEdge, GraphNode, RunGraph, explain_graph, read_graph
from audit.lineage.headlines import read_headlines
from audit.lineage.house import HouseFacts, describe_house, schema_fits
from audit.lineage.journeys import (
    ORDERS,
    RAREST,
    Journey,
    JourneyFilter,
    JourneysPage,
    list_journeys,
)
from audit.lineage.lanes import Lanes, lay_lanes
from audit.lineage.ledger import Entry, Ledger, LedgerPage, explain_ledger, read_ledger
from audit.lineage.lineage_data import lineage_data
from audit.lineage.node_story import ATTEMPTS, NodeStory, explain_node
from audit.lineage.reached import Reached, ReachedArtifact, read_reached
from audit.lineage.record_seals import RecordSeal, read_record_seal
from audit.lineage.recovery import RecoveryPage, explain_recovery
from audit.lineage.refusals import refusals_about
from audit.lineage.row_tokens import token_for_row
from audit.lineage.rows import NO_OUTCOME, RowsPage, RowStory, explain_row, list_rows
from audit.lineage.runs import (
    NEEDS_A_PERSON,
    RunFacts,
    RunFilter,
    RunLine,
    RunsPage,
    RunStory,
    any_run_exists,
    describe_run,
    explain_run,
    list_runs,
)
from audit.lineage.seals import Comparison, Proof, read_proof
from audit.lineage.timeline import Event, Place, Timeline, place_of, read_timeline
from audit.lineage.tokens import TokenStory, explain_token
from audit.lineage.visit_story import VisitStory, explain_visit

__all__ = [
    "ATTEMPTS",
    "COUNTED_TO",
    "NEEDS_A_PERSON",
    "NO_OUTCOME",
    "ORDERS",
    "RAREST",
    "RECORDS_READ",
    "AccessFilter",
    "AccessPage",
    "ArtifactStory",
    "ArtifactsPage",
    "BatchStory",
    "BatchesPage",
    "CallStory",
    "Choice",
    "Choices",
    "Closure",
    "Comparison",
    "Ending",
    "Entry",
    "ErrorsPage",
    "Event",
    "Further",
    "GraphEdge",
    "GraphNode",
    "HouseFacts",
    "Journey",
    "JourneyFilter",
    "JourneysPage",
    "KindOfErrors",
    "Lanes",
    "Ledger",
    "LedgerPage",
    "NodeStory",
    "OtherKind",
    "Place",
    "Proof",
    "Reached",
    "ReachedArtifact",
    "RecordSeal",
    "RecoveryPage",
    "RowStory",
    "RowsPage",
    "RunFacts",
    "RunFilter",
    "RunGraph",
    "RunLine",
    "RunStory",
    "RunsPage",
    "SoFar",
    "Timeline",
    "TokenStory",
    "VisitStory",
    "any_run_exists",
    "count_further",
    "count_so_far",
    "describe_house",
    "describe_run",
    "explain_artifact",
    "explain_batch",
    "explain_call",
    "explain_graph",
    "explain_ledger",
    "explain_node",
    "explain_recovery",
    "explain_row",
    "explain_run",
    "explain_token",
    "explain_visit",
    "gather_closure",
    "gather_row",
    "lay_lanes",
    "lineage_data",
    "list_access",
    "list_artifacts",
    "list_batches",
    "list_errors",
    "list_journeys",
    "list_rows",
    "list_runs",
    "place_of",
    "read_choices",
    "read_graph",
    "read_headlines",
    "read_ledger",
    "read_proof",
    "read_reached",
    "read_record_seal",
    "read_timeline",
    "refusals_about",
    "revealed",
    "schema_fits",
    "stream_access",
    "tell_ending",
    "token_for_row",
]
