"""Every table. Import models from here; inside the package, modules import only `fields`."""

from __future__ import annotations

from audit.models.access import AccessEvent, AccessSeal
from audit.models.api_tokens import LONGEST_LIFE, ApiToken
from audit.models.artifacts import Artifact, ArtifactMember
from audit.models.batches import Batch, BatchMember, BatchOutput
from audit.models.execution import Call, NodeState, Operation, RoutingEvent
from audit.models.exports import Export
from audit.models.failures import TransformError, ValidationError
from audit.models.findings import Finding
from audit.models.graph import Edge, Node
from audit.models.imports import Import, ImportJob
from audit.models.parts import Part
from audit.models.payloads import Payload
from audit.models.purges import (
    PayloadPurge,
    PurgeCertificate,
    PurgeItem,
    PurgeKept,
    PurgePlan,
    PurgeRun,
    RunGrade,
)
from audit.models.recovery import Checkpoint
from audit.models.retention import LegalHold, RetentionGuard, RetentionPolicy, RunHiding
from audit.models.runs import Run, RunEvent, SecretResolution
from audit.models.schema_info import SCHEMA_VERSION, SchemaInfo
from audit.models.seals import KeyEvent, Seal, SealCheck, SealLogEntry
from audit.models.shared import SharedValue
from audit.models.summaries import SUMMARY_VERSION, RunJourney, RunSummary
from audit.models.tokens import Row, Token, TokenOutcome, TokenParent

# The audit trail, in an order in which every link points to a table that stands before it.
AUDIT_MODELS = (
    Run,
    Node,
    Edge,
    Row,
    Token,
    TokenParent,
    NodeState,
    RoutingEvent,
    Operation,
    Call,
    Batch,
    BatchMember,
    BatchOutput,
    TokenOutcome,
    Artifact,
    ArtifactMember,
    ValidationError,
    TransformError,
    Checkpoint,
    SecretResolution,
    RunEvent,
)

# What a seal covers: the trail, and what a purge adds to the records of a run.
SEALED_MODELS = (*AUDIT_MODELS, PayloadPurge, RunGrade)

# What proves the trail; it only grows as well.
EVIDENCE_MODELS = (Seal, SealCheck, SealLogEntry, KeyEvent, AccessSeal)

# What is never taken away either: who asked for what and got it, what was kept and what deleted.
KEPT_MODELS = (
    Export,
    ImportJob,
    AccessEvent,
    RetentionPolicy,
    LegalHold,
    PurgePlan,
    PurgeItem,
    PurgeRun,
    PurgeCertificate,
    PayloadPurge,
    RunGrade,
    RunHiding,
)

__all__ = [
    "AUDIT_MODELS",
    "EVIDENCE_MODELS",
    "KEPT_MODELS",
    "LONGEST_LIFE",
    "SCHEMA_VERSION",
    "SEALED_MODELS",
    "SUMMARY_VERSION",
    "AccessEvent",
    "AccessSeal",
    "ApiToken",
    "Artifact",
    "ArtifactMember",
    "Batch",
    "BatchMember",
    "BatchOutput",
    "Call",
    "Checkpoint",
    "Edge",
    "Export",
    "Finding",
    "Import",
    "ImportJob",
    "KeyEvent",
    "LegalHold",
    "Node",
    "NodeState",
    "Operation",
    "Part",
    "Payload",
    "PayloadPurge",
    "PurgeCertificate",
    "PurgeItem",
    "PurgeKept",
    "PurgePlan",
    "PurgeRun",
    "RetentionGuard",
    "RetentionPolicy",
    "RoutingEvent",
    "Row",
    "Run",
    "RunEvent",
    "RunGrade",
    "RunHiding",
    "RunJourney",
    "RunSummary",
    "SchemaInfo",
    "Seal",
    "SealCheck",
    "SealLogEntry",
    "SecretResolution",
    "SharedValue",
    "Token",
    "TokenOutcome",
    "TokenParent",
    "TransformError",
    "ValidationError",
]
