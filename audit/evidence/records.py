"""Record types: what is sealed and exported of every table, column by column, and in which order.

The order of `RECORD_TYPES` is the order of the leaves, and the order of a type's columns is that
of its CSV file. Both are part of the format (docs/export-format.md): a column is added at the
end of its type, and never taken away or renamed. A test holds every table of the trail to be
here with all its columns, save those that Landscape itself changes after a run has ended.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import rfc8785

FORMAT = "landscape-export/1"

# What the pipeline's own export and a purge change after the end: never part of a record.
VOLATILE = {
    "runs": {
        "reproducibility_grade",
        "export_status",
        "export_error",
        "exported_at",
        "export_format",
        "export_sink",
    },
}

# Columns of plain text in which a pipeline says what went wrong, in its own words.
_TOLD = {"error", "error_message"}


@dataclass(frozen=True)
class RecordType:
    """One kind of record: its table, its order, and its columns as (name, type)."""

    name: str
    table: str
    # What orders the records of a run, and names one of them.
    key: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]
    # What may change while the record is open, and the words of `status` that say it is.
    mutable: tuple[str, ...] = ()
    open_words: tuple[str, ...] = ()

    def of_type(self, *kinds: str) -> tuple[str, ...]:
        """The columns of these types."""
        return tuple(name for name, kind in self.columns if kind in kinds)

    @property
    def holds_contents(self) -> bool:
        """Whether its lines can hold what pipelines worked on or were told: texts of any kind."""
        return self.name != "seal" and any(
            kind == "json_text" or name in _TOLD for name, kind in self.columns
        )

    def described(self) -> dict[str, Any]:
        """The type as `schema.json` holds it."""
        return {
            "name": self.name,
            "key": list(self.key),
            "columns": [list(column) for column in self.columns],
        }


def _type(  # noqa: PLR0913  # a table below, one row each
    name: str, table: str, key: str, columns: str, *, mutable: str = "", open_words: str = ""
) -> RecordType:
    """A record type; a column without a kind is text, or JSON text where its name says so."""

    def column(written: str) -> tuple[str, str]:
        name, _, kind = written.partition(":")
        return name, kind or ("json_text" if name.endswith("_json") else "string")

    return RecordType(
        name,
        table,
        tuple(key.split()),
        tuple(column(each) for each in ["run_id", *columns.split()]),
        tuple(mutable.split()),
        tuple(open_words.split()),
    )


SEAL = _type(
    "seal",
    "seals",
    "epoch",
    "epoch:integer reason sealed_at:timestamp first_leaf:int64 counts_json schema_sha256:hash "
    "prev_size:int64 prev_root:hash reproducibility_grade",
)

RECORD_TYPES = (
    _type(
        "run",
        "runs",
        "run_id",
        "started_at:timestamp completed_at:timestamp config_hash settings_json "
        "canonical_version source_schema_json source_field_resolution_json status "
        "schema_contract_json schema_contract_hash run_mode replay_source_run_id "
        "recorder_version",
        mutable="status completed_at",
        open_words="running failed interrupted",
    ),
    _type(
        "node",
        "nodes",
        "node_id",
        "node_id plugin_name node_type plugin_version determinism config_hash config_json "
        "schema_hash sequence_in_pipeline:integer registered_at:timestamp schema_mode "
        "schema_fields_json input_contract_json output_contract_json",
    ),
    _type(
        "edge",
        "edges",
        "edge_id",
        "edge_id from_node_id to_node_id label default_mode created_at:timestamp",
    ),
    _type(
        "operation",
        "operations",
        "operation_id",
        "operation_id node_id operation_type started_at:timestamp completed_at:timestamp status "
        "input_data_ref input_data_hash output_data_ref output_data_hash error_message "
        "error_hash error_ref duration_ms:double",
        mutable="completed_at status output_data_ref output_data_hash error_message error_hash "
        "error_ref duration_ms",
        open_words="open pending",
    ),
    _type(
        "row",
        "rows",
        "row_index row_id",
        "row_id source_node_id row_index:int64 source_data_hash source_data_ref "
        "created_at:timestamp",
    ),
    _type(
        "token",
        "tokens",
        "token_id",
        "token_id row_id fork_group_id join_group_id expand_group_id branch_name "
        "step_in_pipeline:integer created_at:timestamp",
    ),
    _type(
        "token_parent",
        "token_parents",
        "token_id ordinal",
        "token_id parent_token_id ordinal:integer",
    ),
    _type(
        "token_outcome",
        "token_outcomes",
        "outcome_id",
        "outcome_id token_id outcome is_terminal:boolean recorded_at:timestamp sink_name "
        "batch_id fork_group_id join_group_id expand_group_id error_hash context_json "
        "expected_branches_json",
    ),
    _type(
        "node_state",
        "node_states",
        "state_id",
        "state_id token_id node_id step_index:integer attempt:integer status input_hash "
        "output_hash context_before_json context_after_json duration_ms:double error_json "
        "error_hash error_ref success_reason_json started_at:timestamp completed_at:timestamp",
        mutable="status output_hash context_after_json duration_ms error_json error_hash "
        "error_ref success_reason_json completed_at",
        open_words="open pending",
    ),
    _type(
        "routing_event",
        "routing_events",
        "event_id",
        "event_id state_id edge_id routing_group_id ordinal:integer mode reason_hash "
        "reason_ref created_at:timestamp",
    ),
    _type(
        "call",
        "calls",
        "call_id",
        "call_id state_id operation_id call_index:integer call_type status request_hash "
        "request_ref response_hash response_ref error_json error_hash error_ref "
        "latency_ms:double created_at:timestamp",
    ),
    _type(
        "batch",
        "batches",
        "batch_id",
        "batch_id aggregation_node_id aggregation_state_id trigger_reason trigger_type "
        "attempt:integer retry_of status created_at:timestamp completed_at:timestamp",
        mutable="aggregation_state_id trigger_reason trigger_type status completed_at",
        open_words="draft executing",
    ),
    _type("batch_member", "batch_members", "batch_id ordinal", "batch_id token_id ordinal:integer"),
    _type(
        "batch_output",
        "batch_outputs",
        "batch_output_id",
        "batch_output_id batch_id output_type output_id",
    ),
    _type(
        "artifact",
        "artifacts",
        "artifact_id",
        "artifact_id produced_by_state_id sink_node_id artifact_type path_or_uri content_hash "
        "size_bytes:int64 idempotency_key created_at:timestamp",
    ),
    _type(
        "validation_error",
        "validation_errors",
        "error_id",
        "error_id node_id row_id row_hash row_data_json row_data_ref error error_hash error_ref "
        "schema_mode destination created_at:timestamp violation_type original_field_name "
        "normalized_field_name expected_type actual_type",
    ),
    _type(
        "transform_error",
        "transform_errors",
        "error_id",
        "error_id token_id transform_id state_id row_hash row_data_json row_data_ref "
        "error_details_json error_details_hash error_details_ref destination "
        "created_at:timestamp",
    ),
    _type(
        "checkpoint",
        "checkpoints",
        "checkpoint_id",
        "checkpoint_id token_id node_id sequence_number:integer aggregation_state_json "
        "created_at:timestamp upstream_topology_hash checkpoint_node_config_hash "
        "format_version:integer",
    ),
    _type(
        "artifact_member",
        "artifact_members",
        "artifact_id token_id ordinal",
        "artifact_id token_id state_id ordinal:integer inferred:boolean",
    ),
    _type(
        "run_event",
        "run_events",
        "event_id",
        "event_id kind recorded_at:timestamp detail_json",
    ),
    _type(
        "secret_resolution",
        "secret_resolutions",
        "resolution_id",
        "resolution_id timestamp:double env_var_name source vault_url secret_name fingerprint "
        "resolution_latency_ms:double",
    ),
    _type(
        "payload_purge",
        "payload_purges",
        "purge_id",
        "purge_id payload_sha256 purged_at:timestamp policy reason plan_id:int64 "
        "requested_by:int64 approved_by:int64",
    ),
    _type(
        "run_grade",
        "run_grades",
        "changed_at change_id",
        "change_id changed_at:timestamp grade_before grade_after reason plan_id:int64",
    ),
)

BY_NAME = {kind.name: kind for kind in (SEAL, *RECORD_TYPES)}


def schema_bytes() -> bytes:
    """`schema.json`: the types in leaf order with their keys and columns, canonical."""
    types = [kind.described() for kind in (SEAL, *RECORD_TYPES)]
    return rfc8785.dumps({"format": FORMAT, "types": types})


def schema_sha256() -> str:
    """What a seal says of the schema that its records follow."""
    return hashlib.sha256(schema_bytes()).hexdigest()
