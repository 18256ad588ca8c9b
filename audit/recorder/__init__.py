"""The only writer of the audit trail.

Each public function opens its own transaction and joins the caller's if there is one; to make
several events one, wrap the calls in `transaction.atomic()`. A refusal is a named error of
`audit.errors` and leaves the caller's transaction as it was. docs/recorder.md tells the rest.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from audit.recorder.connecting import close, connect, require_connected

if TYPE_CHECKING:
    from audit.recorder.artifacts import (
        Member,
        get_artifact_members,
        get_artifacts,
        get_artifacts_for_token,
        register_artifact,
    )
    from audit.recorder.batches import (
        add_batch_members,
        begin_batch,
        complete_batch,
        create_batch,
        fail_batch,
        get_batch,
        get_batch_members,
        get_batch_outputs,
        get_batches,
        get_batches_for_token,
        get_incomplete_batches,
        retry_batch,
    )
    from audit.recorder.bound import RunRecorder, Visit
    from audit.recorder.calls import (
        CallData,
        find_call_by_request,
        get_call,
        get_call_data,
        get_calls,
        iter_calls,
        record_call,
    )
    from audit.recorder.checkpoints import (
        create_checkpoint,
        get_checkpoint,
        get_checkpoints_for_run,
        get_latest_checkpoint,
        release_checkpoints,
    )
    from audit.recorder.execution import (
        Routing,
        begin_node_state,
        complete_node_state,
        get_node_state,
        get_node_states_for_token,
        get_routing_events,
        get_routing_events_for_token,
        iter_node_states,
        record_routing_event,
        record_routing_events,
    )
    from audit.recorder.failures import (
        get_transform_errors,
        get_transform_errors_for_token,
        get_validation_errors,
        get_validation_errors_for_row,
        record_transform_error,
        record_validation_error,
    )
    from audit.recorder.graph import (
        get_edge_map,
        get_edges,
        get_node,
        get_nodes,
        register_edge,
        register_node,
    )
    from audit.recorder.operations import begin_operation, complete_operation, get_operations
    from audit.recorder.outcomes import (
        count_outcomes,
        get_token_outcome,
        get_token_outcomes_for_row,
        iter_token_outcomes,
        record_token_outcome,
    )
    from audit.recorder.resuming import (
        ResumePlan,
        UnfinishedBatch,
        UnfinishedRow,
        plan_resume,
        validate_checkpoint,
    )
    from audit.recorder.rows import (
        NewRow,
        RowData,
        create_row,
        create_rows_batch,
        get_row,
        get_row_data,
        get_rows,
        iter_rows,
    )
    from audit.recorder.runs import (
        Grades,
        begin_run,
        complete_run,
        compute_reproducibility_grade,
        get_run,
        get_run_events,
        get_source_schema,
        list_runs,
        resume_run,
        set_export_status,
    )
    from audit.recorder.tokens import (
        coalesce_tokens,
        create_token,
        expand_token,
        fork_token,
        get_child_tokens,
        get_token,
        get_token_parents,
        get_tokens,
        get_tokens_for_run,
        iter_tokens,
    )

__all__ = [
    "CallData",
    "Grades",
    "Member",
    "NewRow",
    "ResumePlan",
    "Routing",
    "RowData",
    "RunRecorder",
    "UnfinishedBatch",
    "UnfinishedRow",
    "Visit",
    "add_batch_members",
    "begin_batch",
    "begin_node_state",
    "begin_operation",
    "begin_run",
    "close",
    "coalesce_tokens",
    "complete_batch",
    "complete_node_state",
    "complete_operation",
    "complete_run",
    "compute_reproducibility_grade",
    "connect",
    "count_outcomes",
    "create_batch",
    "create_checkpoint",
    "create_row",
    "create_rows_batch",
    "create_token",
    "expand_token",
    "fail_batch",
    "find_call_by_request",
    "fork_token",
    "get_artifact_members",
    "get_artifacts",
    "get_artifacts_for_token",
    "get_batch",
    "get_batch_members",
    "get_batch_outputs",
    "get_batches",
    "get_batches_for_token",
    "get_call",
    "get_call_data",
    "get_calls",
    "get_checkpoint",
    "get_checkpoints_for_run",
    "get_child_tokens",
    "get_edge_map",
    "get_edges",
    "get_incomplete_batches",
    "get_latest_checkpoint",
    "get_node",
    "get_node_state",
    "get_node_states_for_token",
    "get_nodes",
    "get_operations",
    "get_routing_events",
    "get_routing_events_for_token",
    "get_row",
    "get_row_data",
    "get_rows",
    "get_run",
    "get_run_events",
    "get_source_schema",
    "get_token",
    "get_token_outcome",
    "get_token_outcomes_for_row",
    "get_token_parents",
    "get_tokens",
    "get_tokens_for_run",
    "get_transform_errors",
    "get_transform_errors_for_token",
    "get_validation_errors",
    "get_validation_errors_for_row",
    "iter_calls",
    "iter_node_states",
    "iter_rows",
    "iter_token_outcomes",
    "iter_tokens",
    "list_runs",
    "plan_resume",
    "record_call",
    "record_routing_event",
    "record_routing_events",
    "record_token_outcome",
    "record_transform_error",
    "record_validation_error",
    "register_artifact",
    "register_edge",
    "register_node",
    "release_checkpoints",
    "resume_run",
    "retry_batch",
    "set_export_status",
    "validate_checkpoint",
]

# What is imported above for the type checker, in modules that import models: Django must be
# configured before that, and `connect` is what configures it.
_SUBJECTS = (
    "artifacts",
    "batches",
    "bound",
    "calls",
    "checkpoints",
    "execution",
    "failures",
    "graph",
    "operations",
    "outcomes",
    "resuming",
    "rows",
    "runs",
    "tokens",
)

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Everything else, imported when it is first asked for."""
        if name not in __all__:
            raise AttributeError(f"the recorder has no {name}")
        require_connected()
        for subject in _SUBJECTS:
            found = getattr(import_module(f"{__name__}.{subject}"), name, None)
            if found is not None:
                globals()[name] = found
                return found
        raise AttributeError(name)  # pragma: no cover - a test asks for every name
