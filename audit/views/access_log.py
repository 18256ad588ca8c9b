"""The access log: who was given what, as a page and as a sheet."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django.http import StreamingHttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.cache import patch_cache_control

from audit import access, lineage
from audit.views.answers import Piece, plural, said
from audit.views.doors import choice, day, keep, page, text, whole
from audit.vocabulary import AccessAction, Right

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from django.http import HttpRequest, HttpResponse

    from audit.models import AccessEvent

FILTERS = ("user", "action", "kind", "run", "object", "since", "until")
COLUMNS = (
    "event_id",
    "at",
    "user_id",
    "user_name",
    "action",
    "result",
    "kind",
    "run_id",
    "object_id",
    "reason",
    "size_bytes",
    "request_id",
    "address",
    "hash",
)
# What a spreadsheet might run.
_FORMULA = re.compile("[=+\\-@\t\r\n'\uff1d\uff0b\uff0d\uff20]")


@page(*FILTERS, "after", kept=False)
def access_log(request: HttpRequest) -> HttpResponse:
    """A hundred events, newest first: everybody's, or one's own."""
    asked, after = _filter(request), whole(request, "after", what="the number of an event")
    found = lineage.list_access(asked=asked, after=after)
    kept = {name: str(value) for name, value in request.GET.items() if value and name != "after"}
    context = {
        "section": "access",
        "page": found,
        "asked": asked,
        "everybody": asked.only_of is None,
        "answer": _about(found, asked),
        "actions": AccessAction.values,
        "after": after,
        "sheet": f"?{urlencode(kept)}" if kept else "",
        "older": f"?{urlencode(kept | {'after': found.next_after})}" if found.next_after else None,
        "now": timezone.now(),
    }
    answer = render(request, "audit/access.html", context)
    if request.method == "GET":
        keep(request, AccessAction.ACCESS_LOG_READ, kind="access", reason=_told(kept))
    return answer


@page(*FILTERS, kept=False)
def access_csv(request: HttpRequest) -> StreamingHttpResponse:
    """Every such event as CSV, streamed; no text of it runs in a spreadsheet."""
    asked = _filter(request)
    kept = {name: str(value) for name, value in request.GET.items() if value}
    if request.method == "GET":
        keep(request, AccessAction.ACCESS_LOG_READ, kind="access-csv", reason=_told(kept))
    events = lineage.stream_access(asked=asked) if request.method == "GET" else ()
    answer = StreamingHttpResponse(_lines(events), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = 'attachment; filename="access-log.csv"'
    patch_cache_control(answer, no_store=True, private=True)
    return answer


def _filter(request: HttpRequest) -> lineage.AccessFilter:
    everybody = access.may(request.user, Right.SEE_ACCESS_LOG)
    return lineage.AccessFilter(
        only_of=None if everybody else request.user.pk,
        user=text(request, "user"),
        action=choice(request, "action", tuple(AccessAction.values)),
        kind=text(request, "kind"),
        run=text(request, "run"),
        thing=text(request, "object"),
        since=day(request, "since"),
        until=day(request, "until"),
    )


def _about(found: lineage.AccessPage, asked: lineage.AccessFilter) -> tuple[Piece, ...]:
    whose = "Everybody’s" if asked.only_of is None else "Your own"
    if not found.lines:
        matches = " that matches" if asked.is_on else ""
        return (said(f"{whose} reading: nothing is kept{matches}."),)
    start = f"The log holds {plural(found.total, 'event')}; "
    many = f"{found.sealed:,} {'is' if found.sealed == 1 else 'are'} sealed"
    sealed = many if found.sealed else "none of them is sealed yet"
    return (said(f"{start}{sealed}. Each holds the hash of the one before."),)


def _told(kept: dict[str, str]) -> str | None:
    """What was asked for, as the log keeps it."""
    return urlencode(kept)[:500] or None


def _lines(events: Iterable[AccessEvent]) -> Iterator[str]:
    line = io.StringIO(newline="")
    sheet = csv.writer(line, quoting=csv.QUOTE_MINIMAL)
    sheet.writerow(COLUMNS)
    for event in events:
        sheet.writerow(_cell(getattr(event, column)) for column in COLUMNS)
        if line.tell() > 1 << 16:
            yield line.getvalue()
            line.seek(0)
            line.truncate()
    yield line.getvalue()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    told = str(value)
    return f"'{told}" if isinstance(value, str) and _FORMULA.match(told) else told
