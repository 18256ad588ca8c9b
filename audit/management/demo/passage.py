"""The way of one claim through the pipeline, from the file to the doors of the sinks."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from audit import recorder
from audit.management.demo import claims, texts
from audit.management.demo.pipeline import BRANCHES, TOLERANCE, made_id
from audit.management.demo.travel import (
    Asked,
    Decision,
    Traveller,
    Try,
    end,
    later,
    reject,
    visit,
)

if TYPE_CHECKING:
    from datetime import datetime

    from audit.management.demo.claims import Claim, Line
    from audit.management.demo.pipeline import Pipeline

ATTEMPTS = 3
_CENT = Decimal("0.01")
# The lines of a claim are priced side by side, each begun a little after the one before.
_LINE_PACE_MS = 80


@dataclass
class Passed:
    """What became of a claim before any sink: who waits for a sink, who for a batch."""

    token_id: str | None
    at: datetime
    for_review: list[Traveller] = field(default_factory=list)
    payable: list[Traveller] = field(default_factory=list)


def pass_claim(pipeline: Pipeline, claim: Claim, *, row_index: int, at: datetime) -> Passed:
    """Record everything that happens to a claim until it waits for a sink or a batch."""
    run_id = pipeline.run_id
    row_id = made_id(run_id, "row", claim.number)
    recorder.create_row(
        run_id=run_id,
        row_id=row_id,
        source_node_id=pipeline.nodes["claims_csv"],
        row_index=row_index,
        data=claim.row,
        at=at,
    )
    if claim.number in claims.BAD_AMOUNT:
        _refuse(pipeline, claim, row_id, at=at)
        return Passed(None, at)
    token_id = made_id(run_id, "token", claim.number)
    recorder.create_token(run_id=run_id, row_id=row_id, token_id=token_id, at=at)
    token = Traveller(token_id, at, claim.row)
    passed = Passed(token_id, at)
    visit(pipeline, token, "claims_csv", Try(ms=3))
    if _normalise(pipeline, claim, token) and _triage(pipeline, claim, token):
        if claim.confidence < pipeline.version.threshold:
            _gate(pipeline, token, ["low_confidence"])
            passed.for_review.append(token)
        else:
            _go_on(pipeline, claim, token, passed)
    passed.at = max(passed.at, token.at)
    return passed


def _refuse(pipeline: Pipeline, claim: Claim, row_id: str, *, at: datetime) -> None:
    """Validation at the source: the record is kept as a row, and no token ever starts."""
    recorder.record_validation_error(
        run_id=pipeline.run_id,
        error_id=f"verr_{made_id(pipeline.run_id, 'refused', claim.number)}",
        node_id=pipeline.nodes["claims_csv"],
        row_id=row_id,
        row_data=claim.row,
        error={"field": "amount", "message": f"amount: ‹{claim.amount}› is not a decimal number"},
        schema_mode="strict",
        destination="discard",
        violation_type="type",
        expected_type="decimal",
        actual_type="str",
        at=later(at, 1),
    )


def _normalise(pipeline: Pipeline, claim: Claim, token: Traveller) -> bool:
    if claim.number in claims.BAD_DATES:
        error = {
            "reason": "dates_out_of_order",
            "field": "incident_date",
            "message": f"incident_date ‹{claim.incident_date}› is after reported_date"
            f" ‹{claim.reported_date}›",
        }
        state_id = visit(pipeline, token, "normalise", Try(ms=2, error=error))
        reject(pipeline, token, state_id, "quarantined", error)
        return False
    amount = Decimal(claim.amount)
    visit(
        pipeline,
        token,
        "normalise",
        Try(ms=2),
        output=token.data | {"amount": amount, "currency": "EUR"},
    )
    return True


def _triage(pipeline: Pipeline, claim: Claim, token: Traveller) -> bool:
    prompt = pipeline.version.prompt
    if claim.number in claims.ANSWER_CUT:
        call = texts.triage_cut(claim, token.data, prompt=prompt)
        error = {
            "reason": "answer_cut",
            "finish_reason": "length",
            "message": "finish reason length: answer cut, JSON incomplete",
        }
        tries = [Try(ms=call.ms + 20, calls=[call], error=error)] * ATTEMPTS
        state_id = visit(pipeline, token, "triage_model", *tries)
        reject(pipeline, token, state_id, "failed", error)
        return False
    call = texts.triage(claim, token.data, prompt=prompt)
    first = [_timeout(call, seconds=20)] if claims.model_is_slow(claim.number) else []
    answer = {
        "benefit_group": claim.kind.benefit_group,
        "confidence": claim.confidence,
        "ask_person": False,
    }
    visit(
        pipeline,
        token,
        "triage_model",
        *first,
        Try(ms=call.ms + 20, calls=[call]),
        output=token.data | answer,
    )
    return True


def _gate(pipeline: Pipeline, token: Traveller, labels: list[str]) -> None:
    threshold = pipeline.version.threshold
    reason = {
        "rule": f"confidence >= {threshold}",
        "inputs": {
            "confidence": token.data["confidence"],
            "ask_person": token.data["ask_person"],
        },
        "threshold": threshold,
        "verdict": "low_confidence" if len(labels) == 1 else "continue",
    }
    visit(pipeline, token, "conf_gate", Try(ms=2), decision=Decision(labels, reason))


def _go_on(pipeline: Pipeline, claim: Claim, token: Traveller, passed: Passed) -> None:
    """Three checks side by side, their merge, and the lines of the invoice."""
    _gate(pipeline, token, list(BRANCHES))
    run_id = pipeline.run_id
    children = recorder.fork_token(
        run_id=run_id,
        token_id=token.token_id,
        branches=BRANCHES,
        fork_group_id=made_id(run_id, "fork", claim.number),
        step_in_pipeline=4,
        at=token.at,
    )
    branches = [Traveller(str(child.token_id), token.at, token.data) for child in children]
    _coverage(pipeline, claim, branches[0])
    scored = _fraud_score(pipeline, claim, branches[1])
    _summary(pipeline, claim, branches[2])
    passed.at = max(branch.at for branch in branches)
    if not scored:
        _give_up_merge(pipeline, [branches[0], branches[2]], at=passed.at)
        return
    merged = _merge(pipeline, claim, branches)
    passed.at = merged.at
    _split(pipeline, claim, merged, passed)


def _coverage(pipeline: Pipeline, claim: Claim, branch: Traveller) -> None:
    call = texts.coverage(claim)
    found = {"coverage": {"covered": True, "tariff": claim.kind.tariff}}
    tried = Try(ms=call.ms + 6, calls=[call])
    visit(pipeline, branch, "coverage", tried, output=branch.data | found)


def _fraud_score(pipeline: Pipeline, claim: Claim, branch: Traveller) -> bool:
    if claim.number in claims.FRAUD_SERVICE_DOWN:
        call = texts.fraud_down(claim)
        error = texts.raised(call)
        tries = [Try(ms=call.ms + 4, calls=[call], error=error)] * ATTEMPTS
        visit(pipeline, branch, "fraud_score", *tries)
        end(pipeline, branch, "failed", error=error | {"attempts": ATTEMPTS})
        return False
    call = texts.fraud(claim)
    assert call.response is not None
    first = [_timeout(call, seconds=2)] if claims.fraud_is_slow(claim.number) else []
    found = {"fraud": {"score": call.response["body"]["score"]}}
    tried = Try(ms=call.ms + 4, calls=[call])
    visit(pipeline, branch, "fraud_score", *first, tried, output=branch.data | found)
    return True


def _summary(pipeline: Pipeline, claim: Claim, branch: Traveller) -> None:
    call = texts.summary(claim, branch.data)
    assert call.response is not None
    text = {"summary": call.response["content"]}
    tried = Try(ms=call.ms + 9, calls=[call])
    visit(pipeline, branch, "summary", tried, output=branch.data | text)


def _give_up_merge(pipeline: Pipeline, arrived: list[Traveller], *, at: datetime) -> None:
    error = {
        "failure_reason": "incomplete_branches",
        "message": "incomplete branches: fraud_score did not arrive",
        "expected_branches": list(BRANCHES),
        "branches_arrived": ["coverage", "summary"],
        "merge_policy": "require_all",
    }
    for branch in arrived:
        waited = max(0.0, (at - branch.at) / dt.timedelta(milliseconds=1)) + 4
        visit(pipeline, branch, "merge_checks", Try(ms=waited, error=error))
        end(pipeline, branch, "failed", error=error)


def _merge(pipeline: Pipeline, claim: Claim, branches: list[Traveller]) -> Traveller:
    """Every branch waits at the merge until the last one is there, and ends in it."""
    run_id = pipeline.run_id
    ready = later(max(branch.at for branch in branches), 4)
    visits = []
    for branch in branches:
        state_id = made_id(run_id, "visit", branch.token_id, "merge_checks", 0)
        recorder.begin_node_state(
            run_id=run_id,
            state_id=state_id,
            token_id=branch.token_id,
            node_id=pipeline.nodes["merge_checks"],
            step_index=5,
            attempt=0,
            input_data=branch.data,
            at=branch.at,
        )
        visits.append((state_id, branch.at))
    merged = recorder.coalesce_tokens(
        run_id=run_id,
        token_ids=[branch.token_id for branch in branches],
        join_group_id=made_id(run_id, "merge", claim.number),
        step_in_pipeline=5,
        at=ready,
    )
    for state_id, began in visits:
        recorder.complete_node_state(
            run_id=run_id,
            state_id=state_id,
            status="completed",
            output_data={"merged_into": merged.token_id},
            duration_ms=(ready - began) / dt.timedelta(milliseconds=1),
            at=ready,
        )
    data: dict[str, Any] = {}
    for branch in branches:
        data |= branch.data
    return Traveller(str(merged.token_id), ready, data)


def _split(pipeline: Pipeline, claim: Claim, merged: Traveller, passed: Passed) -> None:
    run_id = pipeline.run_id
    rows = [
        {
            "claim_id": claim.number,
            "line": line.number,
            "service": line.service.text,
            "billed": line.billed,
        }
        for line in claim.lines
    ]
    visit(pipeline, merged, "split_lines", Try(ms=6), output=rows)
    children = recorder.expand_token(
        run_id=run_id,
        token_id=merged.token_id,
        count=len(rows),
        expand_group_id=made_id(run_id, "lines", claim.number),
        step_in_pipeline=6,
        at=merged.at,
    )
    for line, child, row in zip(claim.lines, children, rows, strict=True):
        start = later(merged.at, line.number * _LINE_PACE_MS)
        token = Traveller(str(child.token_id), start, row)
        if _price(pipeline, claim, line, token):
            over = _check_tariff(pipeline, claim, line, token)
            (passed.for_review if over else passed.payable).append(token)
        passed.at = max(passed.at, token.at)


def _price(pipeline: Pipeline, claim: Claim, line: Line, token: Traveller) -> bool:
    special = claim.number == claims.HOSPITAL_CLAIM
    if special and line.number == claims.LINE_OUT_OF_CATALOGUE:
        call = texts.tariff_code(claim, line, unknown=True)
        error = {
            "reason": "unknown_tariff_code",
            "message": f"tariff code ‹{claims.UNKNOWN_CODE}› is not in the catalogue",
        }
        tries = [Try(ms=call.ms + 11, calls=[call], error=error)] * ATTEMPTS
        state_id = visit(pipeline, token, "price_line", *tries)
        reject(pipeline, token, state_id, "failed", error | {"attempts": ATTEMPTS})
        return False
    call = texts.tariff_code(claim, line)
    code = {"tariff_code": line.service.code}
    tried = Try(ms=call.ms + 11, calls=[call])
    visit(pipeline, token, "price_line", tried, output=token.data | code)
    return True


def _check_tariff(pipeline: Pipeline, claim: Claim, line: Line, token: Traveller) -> bool:
    """Whether the line is over its tariff; the reason says by how much."""
    tariff = line.service.tariff
    limit = (tariff * TOLERANCE).quantize(_CENT)
    over = line.billed > limit
    reason = {
        "rule": f"billed <= tariff * {TOLERANCE}",
        "inputs": {
            "billed": line.billed,
            "tariff": tariff,
            "tariff_code": line.service.code,
            "currency": "EUR",
        },
        "threshold": limit,
        "verdict": "over_tariff" if over else "within_tariff",
    }
    if over:
        reason["over_by"] = line.billed - limit
    tries = [Try(ms=1)]
    if line.service.is_asked_for:
        call = texts.tariff(line)
        special = claim.number == claims.HOSPITAL_CLAIM
        tries = [_timeout(call, seconds=2)] if special else []
        tries.append(Try(ms=call.ms + 12, calls=[call]))
    label = "over_tariff" if over else "within_tariff"
    visit(pipeline, token, "tariff_gate", *tries, decision=Decision([label], reason))
    return over


def _timeout(call: Asked, *, seconds: float) -> Try:
    late = texts.timed_out(call, seconds=seconds)
    return Try(ms=seconds * 1000 + 5, calls=[late], error=texts.raised(late))
