"""The outputs that a lineage reached: by which token, and whether a record says so outright."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import connection

from audit.vocabulary import OutputType

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from audit.lineage.closure_facts import Closure

REACHED_SHOWN = 100

# A token is in an output as a member of its write; or a batch that it was in gave the output.
_REACHED = """
WITH links AS (
    SELECT m.artifact_id, m.token_id, NULL::text AS batch_id, m.inferred, k.place
    FROM unnest(%(tokens)s::text[]) WITH ORDINALITY AS k(id, place)
    JOIN artifact_members m ON m.run_id = %(run)s AND m.token_id = k.id
    UNION ALL
    SELECT u.output_id, NULL, u.batch_id, false, %(later)s + k.place
    FROM unnest(%(batches)s::text[]) WITH ORDINALITY AS k(id, place)
    JOIN batch_outputs u ON u.run_id = %(run)s AND u.batch_id = k.id
        AND u.output_type = 'artifact'
), reached AS (
    SELECT artifact_id, count(token_id) AS tokens, bool_and(inferred) AS inferred,
           (array_agg(token_id ORDER BY inferred, place))[1] AS token_id,
           min(batch_id) AS batch_id
    FROM links GROUP BY artifact_id
)
SELECT a.artifact_id, a.path_or_uri, a.artifact_type, a.size_bytes, a.content_hash, a.created_at,
       a.sink_node_id, r.token_id, r.batch_id, r.tokens, r.inferred, count(*) OVER ()
FROM reached r JOIN artifacts a ON a.run_id = %(run)s AND a.artifact_id = r.artifact_id
ORDER BY a.created_at, a.artifact_id LIMIT %(shown)s
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReachedArtifact:
    """An output, and the first of the `tokens` by which it is reached; `batch_id` if by a batch.

    `inferred` when no record says of any of them that it is in it.
    """

    artifact_id: str
    path_or_uri: str
    artifact_type: str
    size_bytes: int
    content_hash: str
    created_at: datetime
    sink_node_id: str
    token_id: str | None
    batch_id: str | None
    tokens: int
    inferred: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Reached:
    """The first hundred outputs of a lineage, oldest first, and how many there are."""

    shown: tuple[ReachedArtifact, ...]
    total: int


def read_reached(*, closure: Closure) -> Reached:
    """The outputs of a row's tokens; of a token's closure, its own and its descendants'. One query.

    Of tokens that the closure tells in groups, the outputs of their example are told.
    """
    tokens, batches = descendants_of(closure)
    with connection.cursor() as cursor:
        cursor.execute(
            _REACHED,
            {
                "run": closure.run.run_id,
                "tokens": tokens,
                "batches": batches,
                "later": len(tokens),
                "shown": REACHED_SHOWN,
            },
        )
        found = cursor.fetchall()
    shown = tuple(
        ReachedArtifact(
            artifact_id=row[0],
            path_or_uri=row[1],
            artifact_type=row[2],
            size_bytes=row[3],
            content_hash=row[4],
            created_at=row[5],
            sink_node_id=row[6],
            token_id=row[7],
            batch_id=row[8],
            tokens=row[9],
            inferred=row[10],
        )
        for row in found
    )
    return Reached(shown=shown, total=found[0][11] if found else 0)


def descendants_of(closure: Closure) -> tuple[list[str], list[str]]:
    """The focus and what came of it, nearest first, and the batches on the way; else everything.

    By parents and by batches: a member leads to the outputs of its batch. Costs no query.
    """
    if closure.focus_id is None:
        return list(closure.tokens), [batch.batch_id for batch in closure.batches]
    became: dict[str, list[str]] = defaultdict(list)
    waited: dict[str, list[str]] = defaultdict(list)
    for link in closure.links:
        became[link.parent_id].append(link.token_id)
    for batch in closure.batches:
        given = _tokens_of(batch.outputs)
        for member, _place in batch.members:
            became[member] += given
            waited[member].append(batch.batch_id)
    found = {closure.focus_id: None}
    edge = [closure.focus_id]
    while edge:
        following = dict.fromkeys(key for each in edge for key in became[each] if key not in found)
        found |= following
        edge = list(following)
    return list(found), list(dict.fromkeys(key for each in found for key in waited[each]))


def _tokens_of(outputs: Collection[tuple[str, str]]) -> list[str]:
    return [key for kind, key in outputs if kind == OutputType.TOKEN]
