"""Small worlds for the recorder's tests, built through the recorder itself."""

from __future__ import annotations

from datetime import UTC, datetime

from audit import recorder

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
SHA = "ab" * 32

PLUGINS = {
    "source": ("csv", "source", "io_read"),
    "model": ("llm", "transform", "external_call"),
    "gate": ("triage", "gate", "deterministic"),
    "batcher": ("sums", "aggregation", "deterministic"),
    "merge": ("merge", "coalesce", "deterministic"),
    "sink": ("csv_sink", "sink", "io_write"),
}
EDGES = [
    ("source", "model", "continue"),
    ("model", "gate", "continue"),
    ("gate", "sink", "small"),
    ("gate", "merge", "large"),
    ("gate", "batcher", "batch"),
    ("merge", "sink", "continue"),
]


def make_run(run_id="r"):
    """A running run with six nodes, named by what they are, and its edges `from>label`."""
    recorder.begin_run(run_id=run_id, settings={"name": "claims"}, at=NOON)
    for sequence, (node_id, (plugin, kind, determinism)) in enumerate(PLUGINS.items()):
        recorder.register_node(
            run_id=run_id,
            node_id=node_id,
            plugin_name=plugin,
            node_type=kind,
            plugin_version="1.0.0",
            determinism=determinism,
            sequence=sequence,
            config={"of": node_id},
            at=NOON,
        )
    for start, end, label in EDGES:
        recorder.register_edge(
            run_id=run_id,
            edge_id=f"{start}>{label}",
            from_node_id=start,
            to_node_id=end,
            label=label,
            mode="move",
            at=NOON,
        )
    return run_id


def make_row(run_id="r", index=0, **options):
    return recorder.create_row(
        **{
            "run_id": run_id,
            "source_node_id": "source",
            "row_index": index,
            "data": {"id": index},
            "at": NOON,
            "row_id": f"row{index}",
        }
        | options
    )


def make_token(token_id="t", run_id="r", index=0):
    """A token of row `index`, which is made if it is not there."""
    row = make_row(run_id, index)
    return recorder.create_token(run_id=run_id, row_id=row.row_id, token_id=token_id, at=NOON)


def make_state(token_id="t", node_id="model", step=1, run_id="r", **options):
    options = {"state_id": f"{token_id}@{node_id}", "attempt": 0} | options
    return recorder.begin_node_state(
        run_id=run_id,
        token_id=token_id,
        node_id=node_id,
        step_index=step,
        input_data={"id": 0},
        at=NOON,
        **options,
    )


def end_state(state_id="t@model", status="completed", run_id="r", **options):
    defaults = {"completed": {"output_data": {"ok": True}}, "failed": {"error": {"type": "E"}}}
    return recorder.complete_node_state(
        **{
            "run_id": run_id,
            "state_id": state_id,
            "status": status,
            "duration_ms": 1.5,
            "at": NOON,
        }
        | defaults.get(status, {})
        | options
    )


def end_token(token_id="t", run_id="r", **options):
    options = options or {"outcome": "completed", "sink_name": "out"}
    return recorder.record_token_outcome(run_id=run_id, token_id=token_id, at=NOON, **options)
