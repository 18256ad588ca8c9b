"""Why each visit of a lineage sent its token where it did, and whether a hash proves it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import connection

from audit import blobs
from audit.errors import ValueRefused
from audit.lineage.reasons import (
    READ_AT_MOST,
    RECONSTRUCTED,
    Reason,
    make_again,
    recorded_reason,
)

if TYPE_CHECKING:
    from collections.abc import Collection

CHOICES_TOLD = 1_000
# Reasons that are read from the payload store for one answer.
REASONS_READ = 100

# The configuration of a gate comes with its first choice alone: it is long.
_CHOICES = """
SELECT s.state_id, s.node_id, array_agg(e.label ORDER BY r.ordinal),
       min(r.reason_hash), min(r.reason_ref),
       CASE WHEN row_number() OVER (
           PARTITION BY s.node_id ORDER BY k.place, r.routing_group_id) = 1
       THEN (SELECT left(n.config_json, %(head)s) FROM nodes n
             WHERE n.run_id = %(run)s AND n.node_id = s.node_id) END,
       (SELECT canonical_version FROM runs WHERE run_id = %(run)s)
FROM unnest(%(states)s::text[]) WITH ORDINALITY AS k(id, place)
JOIN node_states s ON s.run_id = %(run)s AND s.state_id = k.id
JOIN routing_events r ON r.run_id = %(run)s AND r.state_id = k.id
JOIN edges e ON e.run_id = %(run)s AND e.edge_id = r.edge_id
GROUP BY s.state_id, s.node_id, r.routing_group_id, k.place
ORDER BY k.place, r.routing_group_id LIMIT %(told)s
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """What a visit chose and why. `doubt` says why no hash proves the reason; None if one does."""

    state_id: str
    node_id: str
    labels: tuple[str, ...]
    reason: Reason | None
    doubt: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Choices:
    """The choices of these visits in their order; `limits` says in words what was cut."""

    told: tuple[Choice, ...]
    limits: tuple[str, ...]


def read_choices(*, run_id: str, states: Collection[str]) -> Choices:
    """The choices of these visits with their reasons: recorded, made again, or as configured.

    At most two queries, and a hundred payloads read.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            _CHOICES,
            {
                "run": run_id,
                "states": list(states),
                "told": CHOICES_TOLD + 1,
                "head": READ_AT_MOST,
            },
        )
        found = cursor.fetchall()
    if not found:
        return Choices(told=(), limits=())
    limits = []
    if len(found) > CHOICES_TOLD:
        limits.append(f"More than {CHOICES_TOLD:,} choices were made; the first are told.")
    found = found[:CHOICES_TOLD]
    refs = list(dict.fromkeys(row[4] for row in found if row[4] is not None))
    if len(refs) > REASONS_READ:
        limits.append(f"{len(refs):,} reasons are kept; the first {REASONS_READ} are read.")
    version = found[0][6]
    configs = {row[1]: row[5] for row in found if row[5] is not None}
    recorded: dict[tuple[str, str | None], Reason | str] = {}
    hashes: dict[str, set[str | None]] = {}
    for row in found:
        hashes.setdefault(row[4], set()).add(row[3])
    # Bytes are in memory one after the other; what stays is words.
    for ref, kept in blobs.find_each(refs=refs[:REASONS_READ]):
        for reason_hash in hashes[ref]:
            recorded[ref, reason_hash] = _recorded(kept, ref, reason_hash, version)
    return Choices(
        told=tuple(
            _choice(row[:5], recorded.get((row[4], row[3])), configs.get(row[1]), version)
            for row in found
        ),
        limits=tuple(limits),
    )


def _recorded(kept: blobs.Kept, ref: str, reason_hash: str | None, version: str) -> Reason | str:
    if kept.content is None:
        return f"the reason that was kept is {kept.state}"
    try:
        return recorded_reason(
            content=kept.content, reason_hash=reason_hash, ref=ref, version=version
        )
    except ValueRefused as error:
        return error.reason


def _choice(
    row: tuple[str, str, list[str], str | None, str | None],
    recorded: Reason | str | None,
    config: str | None,
    version: str,
) -> Choice:
    state_id, node_id, labels, reason_hash, ref = row
    reason: Reason | None
    doubt: str | None
    if isinstance(recorded, Reason):
        reason, doubt = recorded, None
    else:
        reason = make_again(
            label=labels[0], reason_hash=reason_hash, config=config, version=version
        )
        if reason is not None and reason.how == RECONSTRUCTED:
            doubt = None
        elif recorded is not None:
            doubt = recorded
        elif ref is not None:
            doubt = "the reason that was kept has not been read here"
        elif reason_hash is not None:
            doubt = "only the hash of the reason was kept, and the configuration does not give it"
        else:
            doubt = "no reason is recorded"
    return Choice(
        state_id=state_id, node_id=node_id, labels=tuple(labels), reason=reason, doubt=doubt
    )
