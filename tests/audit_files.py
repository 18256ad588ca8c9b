"""Audit databases made to measure: real schemas, synthetic runs of any size.

The schema is copied from a real database of the era, so a made file differs from a genuine one
in its values only.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from datetime import datetime, timedelta
from pathlib import Path

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
REAL = {
    "A": DATA / "era-a" / "threshold_gate" / "audit.db",
    "B": DATA / "era-b" / "threshold_gate" / "audit.db",
}
START = datetime(2026, 1, 27, 12)  # noqa: DTZ001  # the original writes naive UTC
CONDITION = "row['amount'] > 1000"


def sha(text: str) -> str:
    """A well-formed hash that depends on the text."""
    return hashlib.sha256(text.encode()).hexdigest()


def moment(step: int) -> str:
    """The instant `step` milliseconds after noon, as SQLite keeps it."""
    return (START + timedelta(milliseconds=step)).isoformat(sep=" ", timespec="microseconds")


def empty(path: Path, *, era: str = "A") -> sqlite3.Connection:
    """Create a database of the era without any run; the caller closes it."""
    uri = f"file:{REAL[era]}?immutable=1"  # only the schema is read, and nothing is made beside it
    with contextlib.closing(sqlite3.connect(uri, uri=True)) as real:
        statements = [
            statement
            for (statement,) in real.execute(
                "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type DESC"
            )
        ]
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    for statement in statements:
        connection.execute(statement)
    return connection


def insert(connection: sqlite3.Connection, table: str, **values: object) -> None:
    """One record, by column."""
    names = ", ".join(f'"{name}"' for name in values)
    marks = ", ".join(f":{name}" for name in values)
    connection.execute(f'INSERT INTO "{table}" ({names}) VALUES ({marks})', values)


def write_run(  # every part of a run that tests vary
    connection: sqlite3.Connection,
    *,
    run_id: str,
    rows: int,
    first_row: int = 0,
    status: str = "completed",
    era: str = "A",
) -> None:
    """A run: source, transform with one call, gate, two sinks; eight records a row.

    With `first_row` it goes on where an earlier call stopped: only rows are added then.
    """
    connection.execute("BEGIN")
    if first_row == 0:
        _write_graph(connection, run_id, status)
    else:
        connection.execute(
            "UPDATE runs SET status = ?, completed_at = ? WHERE run_id = ?",
            (status, _end(status, first_row + rows), run_id),
        )
    for index in range(first_row, first_row + rows):
        _write_row(connection, run_id, index, era)
    if first_row == 0 and status != "running":
        connection.execute(
            "UPDATE runs SET completed_at = ? WHERE run_id = ?", (_end(status, rows), run_id)
        )
    if status == "completed":
        _write_artifacts(connection, run_id)
    connection.execute("COMMIT")


def _end(status: str, rows: int) -> str | None:
    return None if status == "running" else moment(rows * 10 + 100)


def node_ids(run_id: str) -> dict[str, str]:
    """The nodes of a written run by what they are."""
    del run_id  # equal configuration, equal ids: they recur from run to run
    return {
        "source": "source_csv_b86f8483e2e3",
        "transform": "transform_classify_0d1e2f3a4b5c_0",
        "gate": "config_gate_amount_threshold_63328d7ff1ba",
        "high": "sink_high_values_19d30ab14808",
        "output": "sink_output_629dcbeea5d6",
    }


def _write_graph(connection: sqlite3.Connection, run_id: str, status: str) -> None:
    insert(
        connection,
        "runs",
        run_id=run_id,
        started_at=moment(0),
        completed_at=None,
        config_hash=sha("settings"),
        settings_json='{"source":{"plugin":"csv"}}',
        canonical_version="sha256-rfc8785-v1",
        status=status,
    )
    ids = node_ids(run_id)
    kinds = {"high": "sink", "output": "sink"}
    for step, (name, node_id) in enumerate(ids.items()):
        insert(
            connection,
            "nodes",
            node_id=node_id,
            run_id=run_id,
            plugin_name=name,
            node_type=kinds.get(name, name),
            plugin_version="1.0.0",
            determinism="deterministic",
            config_hash=sha(name),
            config_json=f'{{"condition":"{CONDITION}"}}',
            registered_at=moment(step),
            schema_mode="free",
        )
    for source, target, label in (
        ("source", "transform", "continue"),
        ("transform", "gate", "continue"),
        ("gate", "high", "true"),
        ("gate", "output", "continue"),
    ):
        insert(
            connection,
            "edges",
            edge_id=sha(f"{run_id}{label}{source}")[:32],
            run_id=run_id,
            from_node_id=ids[source],
            to_node_id=ids[target],
            label=label,
            default_mode="move",
            created_at=moment(9),
        )


def _write_row(connection: sqlite3.Connection, run_id: str, index: int, era: str) -> None:
    ids = node_ids(run_id)
    at = index * 10 + 10
    high = index % 4 == 0
    key = sha(f"{run_id}/{index}")[:28]
    row_id, token_id = f"{key}row0", f"{key}tok0"
    data, classified = sha(f"row {index}"), sha(f"classified {index}")
    insert(
        connection,
        "rows",
        row_id=row_id,
        run_id=run_id,
        source_node_id=ids["source"],
        row_index=index,
        source_data_hash=data,
        source_data_ref=data,
        created_at=moment(at),
    )
    token: dict[str, object] = {"token_id": token_id, "row_id": row_id, "created_at": moment(at)}
    insert(connection, "tokens", **token, **({"run_id": run_id} if era == "B" else {}))
    for step, (name, before, after) in enumerate(
        (
            ("transform", data, classified),
            ("gate", classified, classified),
            ("high" if high else "output", classified, sha(f"receipt {index}")),
        ),
        start=1,
    ):
        insert(
            connection,
            "node_states",
            state_id=f"{key}st{step:02}",
            token_id=token_id,
            run_id=run_id,
            node_id=ids[name],
            step_index=step,
            attempt=0,
            status="completed",
            input_hash=before,
            output_hash=after,
            duration_ms=7.25 if name in ("high", "output") else 0.161 + step,
            started_at=moment(at + step),
            completed_at=moment(at + step + 1),
        )
    insert(
        connection,
        "calls",
        call_id=f"{key}call",
        state_id=f"{key}st01",
        call_index=0,
        call_type="llm",
        status="success",
        request_hash=sha(f"ask {index}"),
        response_hash=sha(f"answer {index}"),
        latency_ms=12.5,
        created_at=moment(at + 1),
    )
    insert(
        connection,
        "routing_events",
        event_id=f"{key}evnt",
        state_id=f"{key}st02",
        edge_id=sha(f"{run_id}{'true' if high else 'continue'}gate")[:32],
        routing_group_id=f"{key}rgrp",
        ordinal=0,
        mode="move",
        reason_hash=sha(str(high)),
        created_at=moment(at + 2),
    )
    insert(
        connection,
        "token_outcomes",
        outcome_id=f"out_{key}",
        run_id=run_id,
        token_id=token_id,
        outcome="routed" if high else "completed",
        is_terminal=1,
        recorded_at=moment(at + 5),
        sink_name="high_values" if high else "output",
    )


def _write_artifacts(connection: sqlite3.Connection, run_id: str) -> None:
    ids = node_ids(run_id)
    for name in ("high", "output"):
        found = connection.execute(
            "SELECT state_id FROM node_states WHERE run_id = ? AND node_id = ? LIMIT 1",
            (run_id, ids[name]),
        ).fetchone()
        if found:
            insert(
                connection,
                "artifacts",
                artifact_id=sha(run_id + name)[:32],
                run_id=run_id,
                produced_by_state_id=found[0],
                sink_node_id=ids[name],
                artifact_type="file",
                path_or_uri=f"file://{name}.csv",
                content_hash=sha(run_id + name),
                size_bytes=100,
                created_at=moment(99),
            )
