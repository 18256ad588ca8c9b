"""What the database itself refuses: rights of the application's login and append-only guards.

`apply()` is idempotent, runs as the owner after every migration and says everything again,
so a restored or half-migrated database ends in the same state. The application owns nothing.
It may add to the audit trail, and move a record on that is still open: `TRANSITIONS` lists from
where to where, `MUTABLE_COLUMNS` what may change on the way. A record that has ended never
changes again, except a failed run that resumes. UPDATE is granted by column because a lock on a
row needs UPDATE on at least one (PostgreSQL, "Explicit Locking"); rows that only grow are never
locked: a unique rule decides between two that want to end the same token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.apps import apps
from django.db import connections, transaction
from psycopg import sql

from audit.models import (
    AUDIT_MODELS,
    EVIDENCE_MODELS,
    KEPT_MODELS,
    SEALED_MODELS,
    AccessEvent,
    Batch,
    Export,
    ImportJob,
    LegalHold,
    NodeState,
    Operation,
    Payload,
    PurgeItem,
    PurgePlan,
    Run,
    RunHiding,
)
from audit.recorder import access_guards, retention_guards
from audit.vocabulary import (
    BatchStatus,
    ExportJobStatus,
    HoldStatus,
    ImportJobStatus,
    NodeStateStatus,
    OperationStatus,
    PlanStatus,
    PurgeItemStatus,
    RunStatus,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db import models

# What may still change while a record is open; everything else of the trail only grows.
MUTABLE_COLUMNS: dict[type[models.Model], tuple[str, ...]] = {
    Run: (
        "completed_at",
        "reproducibility_grade",
        "status",
        "export_status",
        "export_error",
        "exported_at",
        "export_format",
        "export_sink",
    ),
    NodeState: (
        "status",
        "output_hash",
        "context_after_json",
        "duration_ms",
        "error_json",
        "error_hash",
        "error_ref",
        "success_reason_json",
        "completed_at",
    ),
    Batch: ("aggregation_state_id", "trigger_reason", "trigger_type", "status", "completed_at"),
    Operation: (
        "completed_at",
        "status",
        "output_data_ref",
        "output_data_hash",
        "error_message",
        "error_hash",
        "error_ref",
        "duration_ms",
    ),
    Export: (
        "status",
        "step",
        "attempt",
        "fence",
        "lease_owner",
        "lease_until",
        "due_at",
        "rung_at",
        "started_at",
        "step_at",
        "finished_at",
        "records_done",
        "records_total",
        "error_code",
        "error_text",
        "file_sha256",
        "file_bytes",
        "file_name",
        "origin",
        "root",
        "provisional",
        "expires_at",
    ),
    LegalHold: (
        "status",
        "release_asked_by",
        "release_asked_at",
        "release_reason",
        "released_by",
        "released_at",
    ),
    PurgePlan: (
        "status",
        "kept_json",
        "goes_json",
        "skipped_json",
        "inline_json",
        "items",
        "bytes",
        "runs",
        "digest",
        "approved_by",
        "approved_at",
        "approval_reason",
        "approved_digest",
        "typed_count",
        "may_begin_at",
        "declined_by",
        "declined_at",
        "decline_reason",
        "begun_by",
        "begun_at",
        "stopped_by",
        "stopped_at",
        "ended_at",
        "purged_items",
        "purged_bytes",
        "skipped_items",
        "problem",
    ),
    PurgeItem: ("status", "skipped_for", "purged_at"),
    ImportJob: (
        "status",
        "attempt",
        "fence",
        "lease_owner",
        "lease_until",
        "due_at",
        "rung_at",
        "started_at",
        "finished_at",
        "records_done",
        "records_total",
        "doing",
        "error_text",
        "report_json",
    ),
}

# What may change in tables without a status to lead the way; their own guards say when.
AMENDABLE_COLUMNS: dict[type[models.Model], tuple[str, ...]] = {
    Payload: ("state", "size_bytes", "recorded_at", "purged_at", "purge_plan_id"),
    RunHiding: ("restored_by", "restored_at"),
}

# What the original changes on a run even after it has ended, and retention after a purge.
AFTER_THE_END: dict[type[models.Model], tuple[str, ...]] = {
    Run: (
        "reproducibility_grade",
        "export_status",
        "export_error",
        "exported_at",
        "export_format",
        "export_sink",
    ),
    # A bell is no step.
    Export: ("rung_at",),
    ImportJob: ("rung_at",),
}

# Every step that a status may take. `rejected` is an old word for failed.
TRANSITIONS: dict[type[models.Model], tuple[tuple[str, str], ...]] = {
    Run: (
        *((RunStatus.RUNNING, end) for end in RunStatus.values if end != RunStatus.RUNNING),
        # A resume.
        (RunStatus.FAILED, RunStatus.RUNNING),
        (RunStatus.INTERRUPTED, RunStatus.RUNNING),
    ),
    NodeState: tuple(
        (start, end)
        for start in (NodeStateStatus.OPEN, NodeStateStatus.PENDING)
        for end in NodeStateStatus.values
        if end not in {NodeStateStatus.OPEN, start}
    ),
    Batch: (
        (BatchStatus.DRAFT, BatchStatus.EXECUTING),
        (BatchStatus.DRAFT, BatchStatus.FAILED),
        (BatchStatus.EXECUTING, BatchStatus.COMPLETED),
        (BatchStatus.EXECUTING, BatchStatus.FAILED),
    ),
    Operation: (
        (OperationStatus.OPEN, OperationStatus.PENDING),
        (OperationStatus.OPEN, OperationStatus.COMPLETED),
        (OperationStatus.OPEN, OperationStatus.FAILED),
        (OperationStatus.PENDING, OperationStatus.COMPLETED),
        (OperationStatus.PENDING, OperationStatus.FAILED),
    ),
    # From a status to itself: the heartbeat of a worker, or another one that takes over.
    Export: (
        (ExportJobStatus.REQUESTED, ExportJobStatus.RUNNING),
        (ExportJobStatus.REQUESTED, ExportJobStatus.CANCELLED),
        (ExportJobStatus.WAITING, ExportJobStatus.RUNNING),
        (ExportJobStatus.WAITING, ExportJobStatus.CANCELLED),
        (ExportJobStatus.RUNNING, ExportJobStatus.RUNNING),
        (ExportJobStatus.RUNNING, ExportJobStatus.PUBLISHING),
        (ExportJobStatus.RUNNING, ExportJobStatus.WAITING),
        (ExportJobStatus.RUNNING, ExportJobStatus.FAILED),
        (ExportJobStatus.RUNNING, ExportJobStatus.CANCELLING),
        (ExportJobStatus.PUBLISHING, ExportJobStatus.PUBLISHING),
        (ExportJobStatus.PUBLISHING, ExportJobStatus.RUNNING),
        (ExportJobStatus.PUBLISHING, ExportJobStatus.WAITING),
        (ExportJobStatus.PUBLISHING, ExportJobStatus.FAILED),
        (ExportJobStatus.PUBLISHING, ExportJobStatus.CANCELLING),
        (ExportJobStatus.PUBLISHING, ExportJobStatus.SUCCEEDED),
        (ExportJobStatus.CANCELLING, ExportJobStatus.CANCELLING),
        (ExportJobStatus.CANCELLING, ExportJobStatus.CANCELLED),
        (ExportJobStatus.SUCCEEDED, ExportJobStatus.EXPIRED),
    ),
    LegalHold: (
        (HoldStatus.ACTIVE, HoldStatus.RELEASE_ASKED),
        (HoldStatus.RELEASE_ASKED, HoldStatus.ACTIVE),
        (HoldStatus.RELEASE_ASKED, HoldStatus.RELEASED),
    ),
    # From a status to itself: how far it is.
    PurgePlan: (
        (PlanStatus.DRAFTING, PlanStatus.PROPOSED),
        (PlanStatus.PROPOSED, PlanStatus.APPROVED),
        (PlanStatus.PROPOSED, PlanStatus.DECLINED),
        (PlanStatus.APPROVED, PlanStatus.DECLINED),
        (PlanStatus.APPROVED, PlanStatus.EXECUTING),
        (PlanStatus.EXECUTING, PlanStatus.EXECUTING),
        (PlanStatus.EXECUTING, PlanStatus.STOPPING),
        (PlanStatus.EXECUTING, PlanStatus.EXECUTED),
        (PlanStatus.STOPPING, PlanStatus.STOPPING),
        (PlanStatus.STOPPING, PlanStatus.STOPPED),
    ),
    PurgeItem: (
        (PurgeItemStatus.PLANNED, PurgeItemStatus.PURGED),
        (PurgeItemStatus.PLANNED, PurgeItemStatus.SKIPPED),
        (PurgeItemStatus.PURGED, PurgeItemStatus.ERASED),
        (PurgeItemStatus.PURGED, PurgeItemStatus.RECORDED_AGAIN),
    ),
    ImportJob: (
        (ImportJobStatus.REQUESTED, ImportJobStatus.RUNNING),
        (ImportJobStatus.REQUESTED, ImportJobStatus.CANCELLED),
        (ImportJobStatus.WAITING, ImportJobStatus.RUNNING),
        (ImportJobStatus.WAITING, ImportJobStatus.CANCELLED),
        (ImportJobStatus.RUNNING, ImportJobStatus.RUNNING),
        (ImportJobStatus.RUNNING, ImportJobStatus.WAITING),
        (ImportJobStatus.RUNNING, ImportJobStatus.SUCCEEDED),
        (ImportJobStatus.RUNNING, ImportJobStatus.REFUSED),
        (ImportJobStatus.RUNNING, ImportJobStatus.FAILED),
        (ImportJobStatus.RUNNING, ImportJobStatus.CANCELLING),
        (ImportJobStatus.CANCELLING, ImportJobStatus.CANCELLING),
        (ImportJobStatus.CANCELLING, ImportJobStatus.CANCELLED),
        # Once more, with the same file: it was not judged.
        (ImportJobStatus.FAILED, ImportJobStatus.REQUESTED),
        (ImportJobStatus.CANCELLED, ImportJobStatus.REQUESTED),
    ),
}

# Where nothing is ever taken away: the trail, what proves it, and who asked for it.
GUARDED_MODELS = (*AUDIT_MODELS, *EVIDENCE_MODELS, *KEPT_MODELS, Payload)

ONLY_GROWS = "LS001"
NOT_A_TRANSITION = "LS002"
NOT_MUTABLE = "LS003"

GUARD_FUNCTION = """
CREATE OR REPLACE FUNCTION landscape_append_only() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION '% of % is not possible: the audit trail only grows', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'LS001';
END $$
"""

_TRANSITION_FUNCTION = """
CREATE OR REPLACE FUNCTION {name}() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF ({old_fixed}) IS DISTINCT FROM ({new_fixed}) THEN
        RAISE EXCEPTION 'a column of % that never changes would change', TG_TABLE_NAME
            USING ERRCODE = 'LS003';
    END IF;
    IF ({old_open}) IS NOT DISTINCT FROM ({new_open}) THEN
        RETURN NEW;
    END IF;
    IF OLD.status || '>' || NEW.status <> ALL ('{{{steps}}}'::text[]) THEN
        RAISE EXCEPTION '% cannot go from % to %', TG_TABLE_NAME, OLD.status, NEW.status
            USING ERRCODE = 'LS002';
    END IF;
    RETURN NEW;
END $$
"""

# Landscape's tables in which the application may do no more than add and read.
_READ_ONLY = {"schema_info"}
# Nothing is added and nothing taken away; the one row is counted up.
_COUNTED_UP = {"retention_guard": "epoch"}
# What may be added, and of what only these columns change.
_CHANGES_IN = {"api_tokens": ("last_used_at", "revoked_at")}


def guard_events(model: type[models.Model]) -> str:
    """The statements that never pass on an audit table, in the order PostgreSQL prints them."""
    changes = model in MUTABLE_COLUMNS or model in AMENDABLE_COLUMNS
    return "DELETE OR TRUNCATE" if changes else "DELETE OR UPDATE OR TRUNCATE"


def table_statements(model: type[models.Model]) -> Iterator[sql.Composed]:
    """What every guarded table carries beyond its columns and constraints.

    Statistics of run_id stay at 0: else PostgreSQL believes that a new run has one row and
    scans the run by whatever index is at hand.
    """
    table = sql.Identifier(model._meta.db_table)
    if model in SEALED_MODELS and model is not Run:
        yield sql.SQL("ALTER TABLE {} ALTER COLUMN run_id SET STATISTICS 0").format(table)
    yield sql.SQL(
        "CREATE OR REPLACE TRIGGER landscape_append_only BEFORE {events} ON {table} "
        "FOR EACH STATEMENT EXECUTE FUNCTION public.landscape_append_only()"
    ).format(events=sql.SQL(guard_events(model)), table=table)
    # ALWAYS: a superuser's session_replication_role = replica does not switch it off.
    yield sql.SQL("ALTER TABLE {} ENABLE ALWAYS TRIGGER landscape_append_only").format(table)
    if model is AccessEvent:
        yield from access_guards.statements(table)
    if model in TRANSITIONS:
        yield sql.SQL(
            "CREATE OR REPLACE TRIGGER landscape_transition BEFORE UPDATE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION public.{function}()"
        ).format(table=table, function=sql.Identifier(transition_name(model)))
        yield sql.SQL("ALTER TABLE {} ENABLE ALWAYS TRIGGER landscape_transition").format(table)
    for statement in retention_guards.trigger_statements(model):
        yield sql.SQL(statement).format()


def transition_name(model: type[models.Model]) -> str:
    """The function behind a table's row guard."""
    return f"landscape_transition_{model._meta.db_table}"


def functions() -> dict[str, str]:
    """Every guard function by name, as the statement that creates it."""
    made = {
        "landscape_append_only": GUARD_FUNCTION,
        **access_guards.functions(),
        **retention_guards.functions(),
    }
    for model, steps in TRANSITIONS.items():
        columns = [str(field.column) for field in model._meta.concrete_fields]
        mutable, late = MUTABLE_COLUMNS[model], AFTER_THE_END.get(model, ())
        fixed = [column for column in columns if column not in mutable]
        guarded = [column for column in mutable if column not in late]
        made[transition_name(model)] = _TRANSITION_FUNCTION.format(
            name=transition_name(model),
            old_fixed=", ".join(f"OLD.{column}" for column in fixed),
            new_fixed=", ".join(f"NEW.{column}" for column in fixed),
            old_open=", ".join(f"OLD.{column}" for column in guarded),
            new_open=", ".join(f"NEW.{column}" for column in guarded),
            steps=",".join(f"{start}>{end}" for start, end in steps),
        )
    return made


def comment_statements(model: type[models.Model]) -> Iterator[sql.Composed]:
    """Why each constraint and index exists, readable in the database."""
    table = sql.Identifier(model._meta.db_table)
    for constraint in model._meta.constraints:
        why = str(constraint.violation_error_message)
        # A partial or plain unique rule of Django's may be an index instead of a constraint.
        if getattr(constraint, "condition", None) is not None and hasattr(constraint, "fields"):
            yield sql.SQL("COMMENT ON INDEX {} IS {}").format(
                sql.Identifier(constraint.name), sql.Literal(why)
            )
        else:
            yield sql.SQL("COMMENT ON CONSTRAINT {} ON {} IS {}").format(
                sql.Identifier(constraint.name), table, sql.Literal(why)
            )
    for index in model._meta.indexes:
        yield sql.SQL("COMMENT ON INDEX {} IS {}").format(
            sql.Identifier(index.name), sql.Literal(getattr(index, "reason", ""))
        )


def rights(model: type[models.Model]) -> Iterator[tuple[str, str]]:
    """What the application may do with a table, as (column or "", right)."""
    if model in GUARDED_MODELS:
        yield from (("", "select"), ("", "insert"))
        changing = MUTABLE_COLUMNS.get(model, ()) + AMENDABLE_COLUMNS.get(model, ())
        yield from ((column, "update") for column in changing)
    elif model._meta.db_table in _READ_ONLY:
        yield ("", "select")
    elif counter := _COUNTED_UP.get(model._meta.db_table):
        yield from (("", "select"), (counter, "update"))
    elif changing := _CHANGES_IN.get(model._meta.db_table, ()):
        yield from (("", "select"), ("", "insert"))
        yield from ((column, "update") for column in changing)
    else:
        yield from (("", right) for right in ("select", "insert", "update", "delete"))


def expected_rights() -> set[tuple[str, str, str]]:
    """Every right on Landscape's own tables, as (table, column or "", right)."""
    return {
        (model._meta.db_table, column, right)
        for model in apps.get_app_config("audit").get_models()
        for column, right in rights(model)
    }


def grant_statements(model: type[models.Model], login: str) -> Iterator[sql.Composed]:
    """REVOKE everything, then GRANT what `rights` lists."""
    table = sql.Identifier(model._meta.db_table)
    role = sql.Identifier(login)
    yield sql.SQL("REVOKE ALL ON {} FROM {}, PUBLIC").format(table, role)
    for column, right in rights(model):
        where = sql.SQL("({})").format(sql.Identifier(column)) if column else sql.SQL("")
        yield sql.SQL("GRANT {} {} ON {} TO {}").format(sql.SQL(right), where, table, role)


def apply(*, owner: str = "owner", application: str = "default") -> None:
    """Put every right, guard and comment in place, in one transaction of the owner."""
    login = str(connections[application].settings_dict["USER"])
    connection = connections[owner]
    if login == connections[owner].settings_dict["USER"]:
        message = "the owner's login and the application's must differ, else nothing is guarded"
        raise ValueError(message)
    tables = set(connection.introspection.table_names())
    every_model = apps.get_models(include_auto_created=True)
    with transaction.atomic(using=owner), connection.cursor() as cursor:
        for function in functions().values():
            cursor.execute(function)
        cursor.execute(
            sql.SQL("GRANT SELECT ON django_migrations TO {}").format(sql.Identifier(login))
        )
        for model in every_model:
            if model._meta.db_table not in tables:
                continue
            statements = list(grant_statements(model, login))
            if model in GUARDED_MODELS:
                statements += table_statements(model)
            if model._meta.app_label == "audit":
                statements += comment_statements(model)
            for statement in statements:
                cursor.execute(statement)
        cursor.execute(
            sql.SQL("GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {}").format(
                sql.Identifier(login)
            )
        )
