"""What the demo's pipeline asks and is answered: prompts, letters, queries."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from audit.management.demo.claims import HOSPITAL_CLAIM, UNKNOWN_CODE, share
from audit.management.demo.pipeline import MODEL, SMALL_MODEL
from audit.management.demo.travel import Asked

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from audit.management.demo.claims import Claim, Line

_PROVIDER = "models.example.net"
_INSTRUCTIONS = {
    "triage-v7": (
        "You sort health insurance claims. Answer with one JSON object and nothing else: "
        "benefit_group, plausible, confidence between 0 and 1, reason in at most three "
        "sentences, ask_person. Do not judge prices. If the letter and the invoice do not speak "
        "of the same treatment, set ask_person to true."
    ),
    "triage-v8": (
        "You sort health insurance claims. Answer with one JSON object and nothing else: "
        "benefit_group, plausible, confidence between 0 and 1, reason in at most three "
        "sentences, ask_person. Do not judge prices. If the letter and the invoice do not speak "
        "of the same treatment, set ask_person to true. If a date is missing on the letter, say "
        "so in the reason and lower the confidence."
    ),
}
_SUMMARY = "Summarise the claim for the file in two sentences. No names, no prices."
_PRICING = (
    "Give the tariff code of one line of an invoice as JSON: tariff_code, confidence. Use the "
    "catalogue 2026-Q4 and nothing else."
)


def timed_out(call: Asked, *, seconds: float) -> Asked:
    """The same call without an answer in time."""
    host = str(call.request.get("provider") or call.request.get("url"))
    message = f"no answer from {host} within {seconds:.2f} s"
    return Asked(
        call_type=call.call_type,
        request=call.request,
        ms=seconds * 1000,
        error={"type": "TimeoutError", "message": message, "retryable": True},
    )


def raised(call: Asked) -> dict[str, Any]:
    """A failed call as the error of its visit."""
    assert call.error is not None
    return {"type": call.error["type"], "exception": call.error["message"]}


def triage(claim: Claim, data: Mapping[str, Any], *, prompt: str) -> Asked:
    """The question which benefit group applies, and the model's answer."""
    answer = {
        "benefit_group": claim.kind.benefit_group,
        "plausible": True,
        "confidence": float(claim.confidence),
        "reason": claim.kind.reason,
        "ask_person": False,
    }
    ms = 1410.0 if claim.number == HOSPITAL_CLAIM else _ms(1220, "triage", claim.number)
    return _model(MODEL, _INSTRUCTIONS[prompt], _letter(claim, data), json.dumps(answer), ms)


def triage_cut(claim: Claim, data: Mapping[str, Any], *, prompt: str) -> Asked:
    """The same question with an answer that stops in the middle."""
    whole = triage(claim, data, prompt=prompt)
    assert whole.response is not None
    half = {"content": whole.response["content"][:71], "finish_reason": "length"}
    return Asked(
        call_type="llm", request=whole.request, ms=2310.0, response=dict(whole.response) | half
    )


def coverage(claim: Claim) -> Asked:
    """The lookup of what the policy covers, and the record found."""
    found = {
        "policy": claim.policy,
        "tariff": claim.kind.tariff,
        "covers": claim.kind.benefit_group,
        "since": claim.insured_since,
        "waiting_period_over": True,
    }
    return Asked(
        call_type="sql",
        request={
            "database": "policies.example.net",
            "statement": "SELECT policy, tariff, covers, since, waiting_period_over"
            " FROM coverage WHERE policy = %s AND benefit_group = %s",
            "parameters": [claim.policy, claim.kind.benefit_group],
        },
        response={"rows": [found], "row_count": 1},
        ms=_ms(140, "coverage", claim.number),
    )


def fraud(claim: Claim) -> Asked:
    """The question for a score, and the service's answer."""
    body = {"score": share("score", claim.number) / 400, "model": "fraud-2026-09", "flags": []}
    return Asked(
        call_type="http",
        request={
            "method": "POST",
            "url": "https://fraud.example.net/v2/score",
            "headers": {"content-type": "application/json"},
            "json": {
                "policy": claim.policy,
                "provider": claim.kind.provider,
                "amount": claim.amount,
            },
        },
        response={"status_code": 200, "body": body, "body_size": len(json.dumps(body))},
        ms=_ms(310, "fraud", claim.number),
    )


def fraud_down(claim: Claim) -> Asked:
    """The same question to a service that is being restarted."""
    return Asked(
        call_type="http",
        request=fraud(claim).request,
        response={"status_code": 503, "body": "upstream is restarting", "body_size": 22},
        error={
            "type": "HTTPStatusError",
            "message": "HTTP 503 from fraud.example.net",
            "status_code": 503,
            "retryable": True,
        },
        ms=_ms(90, "fraud down", claim.number),
    )


def summary(claim: Claim, data: Mapping[str, Any]) -> Asked:
    """The request for a summary, and the model's text."""
    lines = "one line" if len(claim.lines) == 1 else f"{len(claim.lines)} lines"
    text = (
        f"Claim under {claim.kind.tariff} for {claim.kind.letter.split('.', maxsplit=1)[0]}, "
        f"reported {data['reported_date']}. The invoice of {claim.kind.provider} has {lines}."
    )
    ms = 1080.0 if claim.number == HOSPITAL_CLAIM else _ms(940, "summary", claim.number)
    return _model(SMALL_MODEL, _SUMMARY, _letter(claim, data), text, ms)


def tariff_code(claim: Claim, line: Line, *, unknown: bool = False) -> Asked:
    """The question which code a line has, and the model's answer; `unknown` is one nobody knows."""
    question = f"Claim {claim.number}, line {line.number}: {line.service.text}, {line.billed} EUR."
    code = UNKNOWN_CODE if unknown else line.service.code
    answer = {"tariff_code": code, "confidence": 0.55 if unknown else 0.97}
    ms = _ms(560, "price", claim.number, line.number)
    return _model(SMALL_MODEL, _PRICING, question, json.dumps(answer), ms)


def tariff(line: Line) -> Asked:
    """The lookup of a tariff that the price list lacks, and the service's answer."""
    body = {
        "code": line.service.code,
        "text": line.service.text,
        "tariff": str(line.service.tariff),
        "currency": "EUR",
        "valid_from": "2026-10-01",
    }
    return Asked(
        call_type="http",
        request={"method": "GET", "url": f"https://tariff.example.net/{line.service.code}"},
        response={"status_code": 200, "body": body, "body_size": len(json.dumps(body))},
        ms=131.0,
    )


def _letter(claim: Claim, data: Mapping[str, Any]) -> str:
    incident, reported = data["incident_date"], data["reported_date"]
    said = f"Treated on {incident}, {claim.kind.provider}."
    if claim.number == HOSPITAL_CLAIM:
        left = incident + timedelta(days=10)
        said = (
            f"Stay {incident} to {left}, {claim.kind.provider}, admitted through emergency, "
            "discharged home."
        )
    count = "1 line" if len(claim.lines) == 1 else f"{len(claim.lines)} lines"
    return (
        f"Claim {claim.number}, received {reported}.\n"
        f"Insured since {claim.insured_since}, tariff {claim.kind.tariff}.\n\n"
        f"{said}\nDiagnosis on the letter: {claim.kind.diagnosis}, {claim.kind.letter}.\n\n"
        f"Invoice: {count}, {_grouped(data['amount'])} EUR. Attached: letter, invoice.\n\n"
        "Question: which benefit group applies, is the treatment plausible for the diagnosis, "
        "and how sure are you?"
    )


def _grouped(amount: Decimal) -> str:
    return f"{amount:,.2f}"


def _model(model: str, instruction: str, question: str, answer: str, ms: float) -> Asked:
    return Asked(
        call_type="llm",
        request={
            "model": model,
            "provider": _PROVIDER,
            "temperature": 0,
            "max_tokens": 400,
            "messages": [
                {"role": "system", "content": instruction},
                {"role": "user", "content": question},
            ],
        },
        response={
            "model": model,
            "content": answer,
            "finish_reason": "stop",
            # About four characters to a token, as such models count.
            "usage": {
                "prompt_tokens": (len(instruction) + len(question)) // 4,
                "completion_tokens": len(answer) // 4,
            },
        },
        ms=ms,
    )


def _ms(usual: int, *names: object) -> float:
    """A duration near the usual one, that these names always take."""
    return float(usual + usual * share("ms", *names) // 200 + share("part", *names) // 10)
