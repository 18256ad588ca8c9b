"""Which release wrote a file, told from its tables and columns.

The original moved columns without changing its version stamp, so columns decide and the stamp
is a hint. Only what this version can import without losing a value is accepted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from audit.errors import SourceRefused
from audit.vocabulary import Era

if TYPE_CHECKING:
    from collections.abc import Mapping

Columns = dict[str, frozenset[str]]

# The seventeen tables of January 2026, every column of them.
ERA_A: Mapping[str, str] = {
    "runs": "run_id started_at completed_at config_hash settings_json reproducibility_grade "
    "canonical_version source_schema_json status export_status export_error exported_at "
    "export_format export_sink",
    "nodes": "node_id run_id plugin_name node_type plugin_version determinism config_hash "
    "config_json schema_hash sequence_in_pipeline registered_at schema_mode schema_fields_json",
    "edges": "edge_id run_id from_node_id to_node_id label default_mode created_at",
    "rows": "row_id run_id source_node_id row_index source_data_hash source_data_ref created_at",
    "tokens": "token_id row_id fork_group_id join_group_id expand_group_id branch_name "
    "step_in_pipeline created_at",
    "token_parents": "token_id parent_token_id ordinal",
    "token_outcomes": "outcome_id run_id token_id outcome is_terminal recorded_at sink_name "
    "batch_id fork_group_id join_group_id expand_group_id error_hash context_json",
    "node_states": "state_id token_id run_id node_id step_index attempt status input_hash "
    "output_hash context_before_json context_after_json duration_ms error_json started_at "
    "completed_at",
    "routing_events": "event_id state_id edge_id routing_group_id ordinal mode reason_hash "
    "reason_ref created_at",
    "calls": "call_id state_id call_index call_type status request_hash request_ref "
    "response_hash response_ref error_json latency_ms created_at",
    "batches": "batch_id run_id aggregation_node_id aggregation_state_id trigger_reason "
    "trigger_type attempt status created_at completed_at",
    "batch_members": "batch_id token_id ordinal",
    "batch_outputs": "batch_output_id batch_id output_type output_id",
    "artifacts": "artifact_id run_id produced_by_state_id sink_node_id artifact_type "
    "path_or_uri content_hash size_bytes idempotency_key created_at",
    "validation_errors": "error_id run_id node_id row_hash row_data_json error schema_mode "
    "destination created_at",
    "transform_errors": "error_id run_id token_id transform_id row_hash row_data_json "
    "error_details_json destination created_at",
    "checkpoints": "checkpoint_id run_id token_id node_id sequence_number "
    "aggregation_state_json created_at upstream_topology_hash checkpoint_node_config_hash",
}

# What February 2026 brought, table by table, between A and B. A2 may have any of it.
SINCE_A: Mapping[str, str] = {
    "runs": "source_field_resolution_json schema_contract_json schema_contract_hash",
    "nodes": "input_contract_json output_contract_json",
    "tokens": "run_id",
    "token_outcomes": "expected_branches_json",
    "node_states": "success_reason_json",
    "calls": "operation_id",
    "validation_errors": "violation_type original_field_name normalized_field_name "
    "expected_type actual_type",
    "checkpoints": "format_version",
    "operations": "operation_id run_id node_id operation_type started_at completed_at status "
    "input_data_ref input_data_hash output_data_ref output_data_hash error_message duration_ms",
    "secret_resolutions": "resolution_id run_id timestamp env_var_name source vault_url "
    "secret_name fingerprint resolution_latency_ms",
}
# The first operations had no hashes.
_A2_OPERATIONS_OPTIONAL = frozenset({"input_data_hash", "output_data_hash"})

# Tables that a genuine file may hold beside the trail, with nothing of it inside.
_BESIDE = frozenset({"alembic_version"})

_SUPPORTED = "This version of Landscape imports eras A, A2 and B (January to March 2026)."


def detect(*, tables: Columns, user_version: int, identity: tuple[str, str, int] | None) -> Era:
    """Name the era of a file, or refuse it.

    `identity` is (application, store kind, epoch) of `elspeth_schema_identity`, if there is one.

    Raises:
        SourceRefused: the file is of another era, or not an audit database.
    """
    if identity is not None:
        application, store, epoch = identity
        if store == "session":
            message = "This is a session database, not an audit database: choose the audit file."
            raise SourceRefused(message)
        message = (
            f"This is an audit database of era F (application {application!r}, schema epoch "
            f"{epoch}, July 2026). {_SUPPORTED}"
        )
        raise SourceRefused(message)
    if user_version:
        message = (
            f"This is an audit database of era {_era_of_epoch(user_version)} "
            f"(schema epoch {user_version}). {_SUPPORTED}"
        )
        raise SourceRefused(message)
    if not {"runs", "nodes", "tokens", "node_states"} <= tables.keys():
        message = (
            "This is an SQLite database, but not an audit database: it has no tables runs, "
            "nodes, tokens and node_states. Choose the audit.db of a pipeline."
        )
        raise SourceRefused(message)
    outcomes = tables.get("token_outcomes", frozenset())
    if {"completed", "path"} <= outcomes:
        message = f"This is an audit database of era D or later (two-axis outcomes). {_SUPPORTED}"
        raise SourceRefused(message)
    if "run_id" in tables["tokens"]:
        era = Era.B
    elif "operations" in tables:
        era = Era.A2
    elif "expand_group_id" not in tables["tokens"] or "run_id" not in tables["node_states"]:
        message = f"This is an audit database from before era A. {_SUPPORTED}"
        raise SourceRefused(message)
    else:
        era = Era.A
    _demand_columns(era, tables)
    return era


def _era_of_epoch(epoch: int) -> str:
    for last, era in ((6, "C"), (11, "D"), (23, "E")):
        if epoch <= last:
            return era
    return "F or later"


def _demand_columns(era: Era, tables: Columns) -> None:
    """Every column of the era is there, and no column that would be left behind."""
    since_a = {table: frozenset(columns.split()) for table, columns in SINCE_A.items()}
    required = {table: frozenset(columns.split()) for table, columns in ERA_A.items()}
    known = {
        table: required.get(table, frozenset()) | since_a.get(table, frozenset())
        for table in required.keys() | since_a.keys()
    }
    if era == Era.A2:
        required["operations"] = since_a["operations"] - _A2_OPERATIONS_OPTIONAL
        required["calls"] |= since_a["calls"]
    if era == Era.B:
        required = known
    problems = [f"table {table} is missing" for table in sorted(required.keys() - tables.keys())]
    for table in sorted(known.keys() & tables.keys()):
        if missing := sorted(required.get(table, frozenset()) - tables[table]):
            problems.append(f"table {table} lacks {', '.join(missing)}")
        if unknown := sorted(tables[table] - known[table]):
            problems.append(f"table {table} has unknown columns {', '.join(unknown)}")
    if problems:
        message = (
            f"The tables are not those of era {era.value}: {'; '.join(problems)}. "
            "Nothing is imported, because values would be lost or invented."
        )
        raise SourceRefused(message)


def foreign_tables(tables: Columns) -> list[str]:
    """Tables of the file that are no part of the trail; they stay where they are."""
    ours = ERA_A.keys() | SINCE_A.keys() | _BESIDE
    return sorted(name for name in tables if name not in ours and not name.startswith("sqlite_"))
