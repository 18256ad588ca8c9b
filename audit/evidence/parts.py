"""Parts of a big job, handed out to whoever has time: the only writer of `parts`.

A part goes from *open* (no lease) to *taken* (lease and fence) to *made* (`made_json`), and back
to *open* when its worker lets go of it or its lease runs out. Whoever comes first with what a
part came to is believed: the same work comes to the same, so a worker that was thought dead is
harmless. `close` removes them all, whatever state they are in.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models.functions import Now

from audit.models import Part

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# What nobody closed is removed after so many hours.
_FORGOTTEN = 24

_TAKE = """
UPDATE parts SET
    fence = fence + 1, lease_owner = %(owner)s,
    lease_until = clock_timestamp() + %(lease)s * interval '1 second'
WHERE job = %(job)s AND number = (
    SELECT number FROM parts
    WHERE job = %(job)s AND made_json IS NULL AND (%(wanted)s IS NULL OR number = %(wanted)s)
        AND number IS DISTINCT FROM %(number)s
        AND (lease_until IS NULL OR lease_until < clock_timestamp())
    ORDER BY CASE WHEN %(last)s THEN -number ELSE number END LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING number, token, fence, records, what_json,
    EXISTS(
        SELECT FROM parts other
        WHERE other.job = parts.job AND other.number <> parts.number AND other.made_json IS NULL
            AND other.lease_until IS NULL),
    (SELECT coalesce(sum(other.records), 0)::bigint FROM parts other
        WHERE other.job = parts.job AND other.made_json IS NOT NULL)
"""

_FINISH = """
UPDATE parts SET made_json = %(made)s, lease_owner = NULL, lease_until = NULL
WHERE job = %(job)s AND number = %(number)s AND token = %(token)s AND made_json IS NULL
"""

# Both at once: one statement for each part in place of two.
_FINISH_AND_TAKE = f"WITH finished AS ({_FINISH}) {_TAKE}"

_LET_GO = """
UPDATE parts SET lease_owner = NULL, lease_until = NULL
WHERE job = %(job)s AND number = %(number)s AND token = %(token)s AND fence = %(fence)s
    AND made_json IS NULL
"""

_FORGET = """
DELETE FROM parts WHERE opened_at < clock_timestamp() - %(hours)s * interval '1 hour'
"""


@dataclass(frozen=True, kw_only=True)
class Taken:
    """A part that is ours to make, for as long as its lease lasts."""

    job: str
    number: int
    token: str
    fence: int
    records: int
    what: dict[str, Any]
    # Whether others wait for somebody to take them, and how many records those hold that are made.
    more: bool
    made: int


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a part is to be, and how many records it will hold."""

    records: int
    what: Mapping[str, Any]


def open_parts(*, job: str, work: Iterable[Work]) -> str:
    """Offer the parts of a job, in place of whatever an earlier attempt at it left behind."""
    token = uuid.uuid4().hex
    with transaction.atomic():
        Part.objects.filter(job=job).delete()
        Part.objects.bulk_create(
            Part(
                job=job,
                number=number,
                token=token,
                records=each.records,
                what_json=json.dumps(each.what),
                fence=0,
                opened_at=Now(),
            )
            for number, each in enumerate(work)
        )
    return token


def take(*, job: str, owner: str, number: int | None = None, last: bool = False) -> Taken | None:
    """Take a part that nobody has: the first one, the last one, or the one with this number."""
    of_all = {"job": job, "owner": owner, "wanted": number, "last": last, "number": None}
    return _take(_TAKE, of_all)


def finish(part: Taken, made: Mapping[str, Any]) -> None:
    """Tell what a part came to; whoever was first is believed."""
    with connection.cursor() as cursor:
        cursor.execute(_FINISH, {**_mine(part), "made": json.dumps(made)})


def finish_and_take(part: Taken, made: Mapping[str, Any], *, owner: str) -> Taken | None:
    """Tell what a part came to, and take the first one that nobody has. One statement."""
    told = {**_mine(part), "made": json.dumps(made), "owner": owner, "wanted": None, "last": False}
    following = _take(_FINISH_AND_TAKE, told)
    # A statement counts what was made before it.
    return following and replace(following, made=following.made + part.records)


def _take(statement: str, values: Mapping[str, Any]) -> Taken | None:
    with connection.cursor() as cursor:
        cursor.execute(statement, {**values, "lease": settings.LANDSCAPE_EXPORT_LEASE})
        found = cursor.fetchone()
    if found is None:
        return None
    number, token, fence, records, what, more, done = found
    return Taken(
        job=values["job"],
        number=number,
        token=token,
        fence=fence,
        records=records,
        what=json.loads(what),
        more=more,
        made=done,
    )


def let_go(part: Taken) -> None:
    """Leave a part to others."""
    with connection.cursor() as cursor:
        cursor.execute(_LET_GO, _mine(part))


def made(*, job: str) -> dict[int, dict[str, Any]]:
    """What the parts that are made came to, by number."""
    found = Part.objects.filter(job=job, made_json__isnull=False)
    return {number: json.loads(told) for number, told in found.values_list("number", "made_json")}


def close(*, job: str, token: str) -> None:
    """Remove the parts of a job, unless another attempt has opened them anew."""
    Part.objects.filter(job=job, token=token).delete()


def tidy() -> None:
    """Remove what nobody came back to close."""
    with connection.cursor() as cursor:
        cursor.execute(_FORGET, {"hours": _FORGOTTEN})


def _mine(part: Taken) -> dict[str, Any]:
    return {"job": part.job, "number": part.number, "token": part.token, "fence": part.fence}
