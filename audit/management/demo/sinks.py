"""Where the demo's tokens end: lines in a batch that becomes a payment, the rest with a person."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from audit import canonical, recorder
from audit.management.demo.claims import share
from audit.management.demo.pipeline import BATCH_SIZE, made_id
from audit.management.demo.travel import Traveller, Try, end, later, visit

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from audit.management.demo.pipeline import Pipeline

_SETTLE_MS = 90


@dataclass
class Buffer:
    """What waits: the draft that fills, and what the sinks write next."""

    batches: int = 0
    batch_id: str | None = None
    members: list[dict[str, Any]] = field(default_factory=list)
    payments: list[Traveller] = field(default_factory=list)
    reviews: list[Traveller] = field(default_factory=list)


def take_payable(pipeline: Pipeline, buffer: Buffer, payable: Sequence[Traveller]) -> None:
    """Put lines into the draft; whenever it is full, it becomes a payment."""
    left = list(payable)
    while left:
        room = BATCH_SIZE - len(buffer.members)
        joining, left = left[:room], left[room:]
        at = max(token.at for token in joining)
        if buffer.batch_id is None:
            buffer.batch_id = made_id(pipeline.run_id, "batch", buffer.batches)
            buffer.batches += 1
            recorder.create_batch(
                run_id=pipeline.run_id,
                batch_id=buffer.batch_id,
                aggregation_node_id=pipeline.nodes["settle_batch"],
                at=at,
            )
        recorder.add_batch_members(
            run_id=pipeline.run_id,
            batch_id=buffer.batch_id,
            token_ids=[token.token_id for token in joining],
            at=at,
        )
        buffer.members += [
            {
                "token_id": token.token_id,
                "claim_id": token.data["claim_id"],
                "line": token.data["line"],
                "billed": str(token.data["billed"]),
            }
            for token in joining
        ]
        if len(buffer.members) == BATCH_SIZE:
            settle(pipeline, buffer, "count", f"{BATCH_SIZE} lines", at=at)


def settle(pipeline: Pipeline, buffer: Buffer, trigger: str, reason: str, *, at: datetime) -> None:
    """Fire the draft: its lines are summed by claim, and what comes out goes to be paid."""
    run_id, batch_id = pipeline.run_id, buffer.batch_id
    if batch_id is None:
        return
    recorder.begin_batch(
        run_id=run_id, batch_id=batch_id, trigger_type=trigger, trigger_reason=reason, at=at
    )
    lines = [{n: v for n, v in member.items() if n != "token_id"} for member in buffer.members]
    sums: dict[str, Decimal] = {}
    for line in lines:
        key = str(line["claim_id"])
        sums[key] = sums.get(key, Decimal(0)) + Decimal(line["billed"])
    paid = {
        "batch": batch_id,
        "payments": [{"claim_id": int(key), "amount": value} for key, value in sums.items()],
        "total": sum(sums.values(), Decimal(0)),
        "currency": "EUR",
        "lines": len(lines),
    }
    # The batch is worked on in a visit of its first member.
    worker = Traveller(str(buffer.members[0]["token_id"]), at, {"batch_rows": lines})
    state_id = visit(pipeline, worker, "settle_batch", Try(ms=_SETTLE_MS), output=paid)
    (payment,) = recorder.complete_batch(
        run_id=run_id,
        batch_id=batch_id,
        aggregation_state_id=state_id,
        outputs=1,
        step_in_pipeline=9,
        at=worker.at,
    )
    buffer.payments.append(Traveller(str(payment.token_id), worker.at, paid))
    buffer.batch_id, buffer.members = None, []


def write(  # noqa: PLR0913  # a write, and what may go wrong in it
    pipeline: Pipeline,
    sink: str,
    tokens: list[Traveller],
    *,
    part: int,
    at: datetime,
    failure: dict[str, Any] | None = None,
    attempt: int = 0,
) -> datetime:
    """One write of a sink: an operation, a visit of every token, and the file with its members.

    With `failure` nothing is written, and the tokens go on waiting for the next attempt.
    """
    if not tokens:
        return at
    run_id, path = pipeline.run_id, _path(pipeline, sink, part)
    content = _content(sink, tokens)
    digest = hashlib.sha256(content).hexdigest()
    operation_id = f"op_{made_id(run_id, 'write', sink, part, attempt)}"
    recorder.begin_operation(
        run_id=run_id,
        operation_id=operation_id,
        node_id=pipeline.nodes[sink],
        operation_type="sink_write",
        input_data={"path": path, "records": len(tokens)},
        at=at,
    )
    took = (12.0 if sink == "payments_csv" else 8.0) + share("write", sink, part) / 10
    written: list[recorder.Member] = []
    for token in tokens:
        token.at = at
        receipt = {"row": token.data, "artifact_path": path, "content_hash": digest}
        state_id = visit(
            pipeline,
            token,
            sink,
            Try(ms=took, error=failure),
            output=receipt,
            first_attempt=attempt,
        )
        written.append(recorder.Member(token.token_id, state_id))
    done = later(at, took)
    recorder.complete_operation(
        run_id=run_id,
        operation_id=operation_id,
        status="completed" if failure is None else "failed",
        output_data={"content_hash": digest, "size_bytes": len(content)} if not failure else None,
        error=failure,
        duration_ms=took,
        at=done,
    )
    if failure is not None:
        return done
    recorder.register_artifact(
        run_id=run_id,
        artifact_id=made_id(run_id, "file", sink, part),
        sink_node_id=pipeline.nodes[sink],
        artifact_type="file",
        path_or_uri=path,
        content_hash=digest,
        size_bytes=len(content),
        members=written,
        idempotency_key=f"{sink}:{part}",
        at=done,
    )
    outcome = "completed" if sink == "payments_csv" else "routed"
    for token in tokens:
        end(pipeline, token, outcome, sink_name=sink)
    return done


def _path(pipeline: Pipeline, sink: str, part: int) -> str:
    folder, ending = ("payments", "csv") if sink == "payments_csv" else ("review", "jsonl")
    return f"file:///data/{folder}/{pipeline.day}/part-{part:04}.{ending}"


def _content(sink: str, tokens: Sequence[Traveller]) -> bytes:
    """The bytes of the file, as the sink would write them."""
    if sink == "payments_csv":
        lines = ["batch,claim_id,amount,currency"]
        for token in tokens:
            lines += [
                f"{token.data['batch']},{each['claim_id']},{each['amount']},EUR"
                for each in token.data["payments"]
            ]
        return ("\r\n".join(lines) + "\r\n").encode()
    plain = [json.loads(canonical.canonical_bytes(token.data)) for token in tokens]
    return "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in plain).encode()
