"""Why a gate sent a token where it did: as recorded, as reconstructed, or as configured.

A reason is read from its payload, which its hash proves. Older releases kept only the hash; what
their gates decided by can be made again from the configuration and compared with it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from audit import blobs, canonical
from audit.errors import ValueRefused
from audit.lineage.contents import are_revealed
from audit.lineage.excerpts import headline

if TYPE_CHECKING:
    from collections.abc import Mapping

    from audit.models import Payload

# Recorded with the decision; made again, and its hash agrees; what the gate was configured to do.
RECORDED, RECONSTRUCTED, CONFIGURED = "recorded", "reconstructed", "configured"

# Reasons and rows of ordinary size; nobody reads more in a sentence.
READ_AT_MOST = 64_000
INPUTS_TOLD = 3
_LONGEST = 120

_COLUMN = re.compile(
    r"""row(?:\[(['"])(?P<key>[^'"\]]{1,60})\1\]|\.get\((['"])(?P<got>[^'")]{1,60})\3\))"""
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reason:
    """Why, in words that may hold anything recorded; `how` says what the words rest on."""

    words: str
    how: str


def read_json(ref: str | None, known: Mapping[str, Payload]) -> Any:
    """What a payload holds, if it is there, proven by its hash, small, and JSON; else None.

    `known` is what `payloads` says of it and of others. Costs no query.
    """
    held = known.get(ref) if ref is not None else None
    if ref is None or held is None or (held.size_bytes or 0) > READ_AT_MOST:
        return None
    ((_ref, kept),) = blobs.look_each(refs=[ref], known=known)
    content = kept.content
    if content is None or len(content) > READ_AT_MOST:
        return None
    return _parsed(content.decode("utf-8", "replace"))


def tell_reason(
    *, event: Any, told: Any, version: str, row: Mapping[str, Any] | None
) -> Reason | None:
    """Put a decision into words. Costs no query.

    `event` has its label, the hash of its reason, and the configuration of its gate; `told` is
    the reason that was kept, `row` what the gate was given, if these are known; `version` names
    the rules by which the run was hashed.
    """
    if isinstance(told, dict):
        return Reason(words=_in_words(told, row), how=RECORDED)
    return make_again(
        label=event.label,
        reason_hash=event.reason_hash,
        config=event.config,
        version=version,
        row=row,
    )


def recorded_reason(*, content: bytes, reason_hash: str | None, ref: str, version: str) -> Reason:
    """The reason that was kept, whose bytes are those of `ref`. Costs no query.

    Raises:
        ValueRefused: it is too long, is none, or has another hash than was recorded with it.
    """
    if len(content) > READ_AT_MOST:
        raise ValueRefused("reason", f"it is longer than {READ_AT_MOST:,} bytes")
    told = _parsed(content.decode("utf-8", "replace"))
    if not isinstance(told, dict):
        raise ValueRefused("reason", "what is kept is no reason")
    if reason_hash not in (None, ref) and _hash(told, version) != reason_hash:
        raise ValueRefused("reason", "what is kept has another hash than was recorded")
    return Reason(words=_in_words(told, None), how=RECORDED)


def make_again(
    *,
    label: str,
    reason_hash: str | None,
    config: str | None,
    version: str,
    row: Mapping[str, Any] | None = None,
) -> Reason | None:
    """The reason that the gate's configuration gives for this label. Costs no query."""
    setting = _parsed(config)
    if not isinstance(setting, dict) or not isinstance(setting.get("condition"), str):
        return None
    routes = setting.get("routes")
    for each in (label, *(routes if isinstance(routes, dict) else ())):
        made = {"condition": setting["condition"], "result": each}
        if reason_hash is not None and _hash(made, version) == reason_hash:
            return Reason(words=_in_words(made, row), how=RECONSTRUCTED)
    made = {"condition": setting["condition"], "result": label}
    return Reason(words=_in_words(made, row), how=CONFIGURED)


def _in_words(told: Mapping[str, Any], row: Mapping[str, Any] | None) -> str:
    return _said(told, row) if are_revealed() else "its rule said so (rule and values withheld)"


def _said(told: Mapping[str, Any], row: Mapping[str, Any] | None) -> str:
    condition, result = told.get("condition"), told.get("result")
    if isinstance(condition, str):
        if condition.strip() == "True":
            return "its condition is always true"
        words = _with_values(condition, row or {})
        if str(result).lower() == "true":
            return words
        if str(result).lower() == "false":
            return f"{words} does not hold"
        return f"{words} gives {_short(result)}"
    rule, inputs = told.get("rule"), told.get("inputs")
    if isinstance(rule, str):
        given = list(inputs.items())[:INPUTS_TOLD] if isinstance(inputs, dict) else []
        values = ", ".join(f"{_short(name)} is {_short(value)}" for name, value in given)
        verdict = f" gives {_short(told['verdict'])}" if "verdict" in told else ""
        return f"{_short(rule)}{verdict}" + (f" ({values})" if values else "")
    return headline(json.dumps(told, ensure_ascii=False))


def _with_values(condition: str, row: Mapping[str, Any]) -> str:
    """`row['amount'] > 1000` as `amount 1500 > 1000`; without the value, `amount > 1000`."""

    def told(match: re.Match[str]) -> str:
        key = match["key"] or match["got"]
        return f"{key} {_short(row[key])}" if key in row else key

    return _COLUMN.sub(told, condition)


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _hash(value: object, version: str) -> str | None:
    try:
        return canonical.stable_hash(value, version=version)
    except (ValueRefused, ValueError):
        return None


def _parsed(text: str | None) -> Any:
    try:
        return json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None
