"""The words that the database may hold: every enum of the trail, values as the original wrote them.

A vocabulary holds all members that a supported schema era can contain, later spellings
included, so that importing never has to translate. What our own recorder may *write* is
narrower and is decided there.
"""

from __future__ import annotations

from django.db.models import TextChoices


class RunStatus(TextChoices):
    """How a run stands."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    COMPLETED_WITH_FAILURES = "completed_with_failures"
    EMPTY = "empty"
    INTERRUPTED = "interrupted"


class RunMode(TextChoices):
    """Where a run's external calls were answered."""

    LIVE = "live"
    REPLAY = "replay"
    VERIFY = "verify"


class NodeStateStatus(TextChoices):
    """How one visit of a token to a node stands."""

    OPEN = "open"
    PENDING = "pending"
    COMPLETED = "completed"
    FAILED = "failed"
    REJECTED = "rejected", "rejected (an old word for failed)"


class ExportStatus(TextChoices):
    """How the pipeline's own export of a run went; null means that none was asked for."""

    PENDING = "pending"
    COMPLETED = "completed"
    FAILED = "failed"


class BatchStatus(TextChoices):
    """How an aggregation batch stands."""

    DRAFT = "draft"
    EXECUTING = "executing"
    COMPLETED = "completed"
    FAILED = "failed"


class TriggerType(TextChoices):
    """What made a batch fire."""

    COUNT = "count"
    TIMEOUT = "timeout"
    CONDITION = "condition"
    END_OF_SOURCE = "end_of_source"
    MANUAL = "manual"


class NodeType(TextChoices):
    """What kind of step a node is."""

    SOURCE = "source"
    TRANSFORM = "transform"
    GATE = "gate"
    AGGREGATION = "aggregation"
    COALESCE = "coalesce"
    SINK = "sink"
    QUEUE = "queue"


class Determinism(TextChoices):
    """Whether running a node again gives the same answer."""

    DETERMINISTIC = "deterministic"
    SEEDED = "seeded"
    IO_READ = "io_read"
    IO_WRITE = "io_write"
    EXTERNAL_CALL = "external_call"
    NON_DETERMINISTIC = "non_deterministic"


class RoutingMode(TextChoices):
    """Whether a token moves along an edge, is copied along it, or is diverted."""

    MOVE = "move"
    COPY = "copy"
    DIVERT = "divert"


class Outcome(TextChoices):
    """How a token ended; `buffered` alone is not an end."""

    COMPLETED = "completed"
    ROUTED = "routed"
    FORKED = "forked"
    FAILED = "failed"
    QUARANTINED = "quarantined"
    CONSUMED_IN_BATCH = "consumed_in_batch"
    COALESCED = "coalesced"
    EXPANDED = "expanded"
    BUFFERED = "buffered"


class CallType(TextChoices):
    """What an external call went to."""

    LLM = "llm"
    HTTP = "http"
    SQL = "sql"
    FILESYSTEM = "filesystem"
    HTTP_REDIRECT = "http_redirect"
    VECTOR = "vector"


class CallStatus(TextChoices):
    """How an external call ended."""

    SUCCESS = "success"
    ERROR = "error"


class ReproducibilityGrade(TextChoices):
    """What re-running a finished run can promise."""

    FULL_REPRODUCIBLE = "full_reproducible"
    REPLAY_REPRODUCIBLE = "replay_reproducible"
    ATTRIBUTABLE_ONLY = "attributable_only"


class SchemaMode(TextChoices):
    """How strictly a node's schema was applied; the later words mean the same three ideas."""

    DYNAMIC = "dynamic"
    STRICT = "strict"
    FREE = "free"
    PARSE = "parse"
    OBSERVED = "observed"
    FIXED = "fixed"
    FLEXIBLE = "flexible"


class OutputType(TextChoices):
    """What a batch put out."""

    TOKEN = "token"  # noqa: S105  # a travelling row, not a password
    ARTIFACT = "artifact"


class OperationType(TextChoices):
    """What a source or sink did outside any token."""

    SOURCE_LOAD = "source_load"
    SINK_WRITE = "sink_write"
    RUNTIME_PREFLIGHT = "runtime_preflight"


class OperationStatus(TextChoices):
    """How an operation stands."""

    OPEN = "open"
    COMPLETED = "completed"
    FAILED = "failed"
    PENDING = "pending"


class RunEventKind(TextChoices):
    """What happened to a run as a whole after it began."""

    RESUMED = "resumed"
    STATUS_CHANGED = "status_changed"
    CHECKPOINTS_RELEASED = "checkpoints_released"


class PayloadState(TextChoices):
    """What became of the bytes behind a reference."""

    AVAILABLE = "available"
    MISSING = "missing"
    CORRUPTED = "corrupted"
    PURGED = "purged"


class FindingLevel(TextChoices):
    """Whether a finding is what its era always wrote, or something that should not be."""

    INFO = "info"
    ERROR = "error"


class SealReason(TextChoices):
    """Why an epoch of a run was sealed."""

    RUN_COMPLETED = "run_completed"
    RUN_FAILED = "run_failed"
    RUN_RESUMED = "run_resumed"
    PAYLOAD_PURGED = "payload_purged"
    GRADE_CHANGED = "grade_changed"
    CORRECTION = "correction"
    IMPORTED = "imported"


class KeyEventKind(TextChoices):
    """What happened to a signing key."""

    INTRODUCED = "introduced"
    RETIRED = "retired"
    COMPROMISED = "compromised"


class ImportOutcome(TextChoices):
    """What an import did to one run."""

    IMPORTED = "imported"
    ALREADY_PRESENT = "already_present"
    EXTENDED = "extended"
    REFUSED = "refused"


class ImportJobStatus(TextChoices):
    """How an import that somebody uploaded stands."""

    REQUESTED = "requested"
    RUNNING = "running"
    WAITING = "waiting"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    REFUSED = "refused"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Era(TextChoices):
    """Which release wrote an audit database."""

    A = "A", "A (January 2026)"
    A2 = "A2", "A2 (February 2026, 0.1)"
    B = "B", "B (to March 2026, 0.3)"


class ExportJobStatus(TextChoices):
    """How an export that somebody asked for stands."""

    REQUESTED = "requested"
    RUNNING = "running"
    PUBLISHING = "publishing"
    WAITING = "waiting"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class ExportStep(TextChoices):
    """What the worker is at, in this order."""

    SEALING = "sealing"
    WRITING = "writing"
    PACKING = "packing"
    PUBLISHING = "publishing"


class AccessAction(TextChoices):
    """What somebody did, was given, or was refused."""

    READ = "read"
    CONTENTS_REVEALED = "contents_revealed"
    PROOF_GIVEN = "proof_given"
    EXPORT_REQUESTED = "export_requested"
    EXPORT_CANCELLED = "export_cancelled"
    EXPORT_DOWNLOADED = "export_downloaded"
    VERIFIED = "verified"
    POLICY_SET = "policy_set"
    HOLD_PLACED = "hold_placed"
    HOLD_RELEASE_ASKED = "hold_release_asked"
    HOLD_RELEASED = "hold_released"
    PLAN_MADE = "plan_made"
    PLAN_APPROVED = "plan_approved"
    PLAN_DECLINED = "plan_declined"
    PLAN_EXECUTED = "plan_executed"
    PLAN_STOPPED = "plan_stopped"
    RUN_HIDDEN = "run_hidden"
    RUN_RESTORED = "run_restored"
    ROLE_CHANGED = "role_changed"
    SIGNED_IN = "signed_in"
    SIGN_IN_REFUSED = "sign_in_refused"
    TOKEN_MADE = "token_made"  # noqa: S105  # a word
    TOKEN_REVOKED = "token_revoked"  # noqa: S105  # a word
    FILE_IMPORTED = "file_imported"
    ACCESS_LOG_READ = "access_log_read"


class AccessResult(TextChoices):
    """What came of an attempt."""

    GIVEN = "given"
    REFUSED = "refused"


class TokenScope(TextChoices):
    """What an API token is for; never more than its owner may do."""

    READ = "read"
    EXPORT = "export"


class Role(TextChoices):
    """The groups that people are put into; what each may do stands in `audit.access.ROLES`."""

    VIEWER = "viewer"
    AUDITOR = "auditor"
    EXPORTER = "exporter"
    RETENTION_ADMINISTRATOR = "retention administrator"
    RETENTION_APPROVER = "retention approver"
    ADMINISTRATOR = "administrator"


class Right(TextChoices):
    """What somebody may do here: the codenames of the application's permissions."""

    SEE_RECORDS = "see_records", "Can see structure, hashes and counts"
    REVEAL_CONTENTS = "reveal_contents", "Can reveal payloads, errors' contents and row data"
    REQUEST_EXPORT = "request_export", "Can have runs exported, and download what was made"
    SEE_ALL_EXPORTS = "see_all_exports", "Can see and download everybody's exports"
    SEE_ACCESS_LOG = "see_access_log", "Can see who was given what"
    PLAN_RETENTION = "plan_retention", "Can set policies, plan purges, hide runs, ask for releases"
    PLACE_HOLDS = "place_holds", "Can place legal holds"
    APPROVE_RETENTION = "approve_retention", "Can approve what others plan, never one's own"
    IMPORT_FILES = "import_files", "Can import audit databases by upload"
    SEE_JOBS = "see_jobs", "Can see workers, queues, imports and jobs"


class PolicyScope(TextChoices):
    """Which runs a retention policy is about."""

    ALL = "all", "every run"
    PIPELINE = "pipeline", "the runs of one pipeline"
    STATUS = "status", "the runs with one status"


class HoldScope(TextChoices):
    """What a legal hold keeps."""

    RUN = "run", "one run"
    PIPELINE = "pipeline", "every run of one pipeline"
    EVERYTHING = "everything", "everything"


class HoldStatus(TextChoices):
    """How a legal hold stands; it keeps until it is released."""

    ACTIVE = "active"
    RELEASE_ASKED = "release_asked", "release asked for"
    RELEASED = "released"


class PlanStatus(TextChoices):
    """How a purge plan stands; `drafting` lasts only while its list is made."""

    DRAFTING = "drafting"
    PROPOSED = "proposed", "waiting for a second person"
    APPROVED = "approved"
    DECLINED = "declined"
    EXECUTING = "executing"
    STOPPING = "stopping"
    EXECUTED = "executed"
    STOPPED = "stopped"


class PurgeItemStatus(TextChoices):
    """What became of one payload on a purge plan."""

    PLANNED = "planned"
    # Its tombstone stands; the bytes follow.
    PURGED = "purged"
    ERASED = "erased"
    # The same contents were recorded again before the bytes went.
    RECORDED_AGAIN = "recorded_again", "recorded again"
    SKIPPED = "skipped"


class KeepRule(TextChoices):
    """What keeps a payload, the strongest first."""

    LEGAL_HOLD = "legal_hold", "legal hold"
    NOT_OVER = "not_over", "the run is not over, or may go on"
    UNCLEAR = "unclear", "the end of the run is unknown"
    KEEP_AT_LEAST = "keep_at_least", "too young to be deleted"
    IN_USE = "in_use", "an export is reading it"
    NOT_DUE = "not_due", "not due yet"
    NO_POLICY = "no_policy", "no policy deletes it"
    # Only when a plan is executed: it went, or was never there.
    NOT_THERE = "not_there", "its bytes are not there"
