"""The state of the house: who works, what waits, how much room is left, what is set up wrongly."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings
from django.core import checks
from django.db.models import Count
from django.shortcuts import render
from django.urls import path
from django.utils import timezone

from audit import lineage, retention, summaries, tasks
from audit.admin.base import page
from audit.errors import SchemaMismatch
from audit.evidence import seals
from audit.integrity import schema
from audit.models import Export, ImportJob, KeyEvent
from audit.models.exports import LIVE
from audit.models.imports import LIVE_IMPORTS
from audit.vocabulary import ExportJobStatus, ImportJobStatus, KeyEventKind, Right

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

# The sweeper looks every five seconds; a minute of silence is no pause.
_SILENT = timedelta(minutes=1)
_LITTLE_ROOM = 0.1
_COUNTED_TO = 1_000


@dataclass(frozen=True)
class Part:
    """One part of the house: whether it is as it should be, and what it says of itself."""

    name: str
    well: bool
    words: str


@page(needs=Right.SEE_JOBS)
def house(request: HttpRequest) -> HttpResponseBase:
    """Every part of the house, what waits, and what Django's checks say of the settings."""
    now = timezone.now()
    parts = list(_parts(now))
    context = {
        "title": "State of the house",
        "parts": parts,
        "unwell": [part for part in parts if not part.well],
        "waiting": _waiting(),
        "checks": checks.run_checks(include_deployment_checks=not settings.MAY_INVENT_SIGNING_KEY),
        "now": now,
    }
    return render(request, "admin/house.html", context)


def _parts(now: datetime) -> Iterator[Part]:
    facts = lineage.describe_house()
    yield Part(
        "Database",
        facts.is_guarded,
        f"PostgreSQL {facts.server_version}; {facts.guarded_tables} of {facts.audit_tables} audit "
        f"tables guarded against deletion by {facts.login}",
    )
    try:
        schema.check()
        yield Part("Schema", True, "tables, guards and rights are what the program needs")
    except SchemaMismatch as error:
        yield Part("Schema", False, f"{len(error.differences):,} differences: run check_schema")
    told = tasks.background()
    if told.problem:
        yield Part(
            "Queue", False, f"cannot be asked; work starts later, none is lost: {told.problem}"
        )
    else:
        yield Part("Queue", True, f"answers; {told.waiting or 0:,} bells wait for a worker")
        yield Part("Workers", bool(told.workers), ", ".join(told.workers) or "none answers")
    if told.sweeper_seen is None:
        yield Part("Sweeper", False, "none runs: what no page starts is not started")
    else:
        ago = now - told.sweeper_seen
        yield Part(
            "Sweeper", ago < _SILENT, f"last seen {max(0, round(ago.total_seconds()))} s ago"
        )
    room = shutil.disk_usage(_there(Path(settings.LANDSCAPE_VAR)))
    yield Part(
        "Disk",
        room.free > _LITTLE_ROOM * room.total,
        f"{room.free / 1e9:,.1f} of {room.total / 1e9:,.1f} GB are free where files are kept",
    )
    keys = KeyEvent.objects.values("kind").annotate(times=Count("event_id")).order_by()
    made = {each["kind"]: each["times"] for each in keys}
    yield Part(
        "Signing keys",
        KeyEventKind.COMPROMISED not in made,
        f"{made.get(KeyEventKind.INTRODUCED, 0)} introduced, {made.get(KeyEventKind.RETIRED, 0)} "
        f"retired, {made.get(KeyEventKind.COMPROMISED, 0)} compromised",
    )


def _waiting() -> list[tuple[str, int]]:
    """What is to be done, counted so far and no further."""
    exports, jobs = Export.objects, ImportJob.objects
    return [
        ("exports that are made or wait", exports.filter(status__in=LIVE)[:_COUNTED_TO].count()),
        (
            "exports that failed",
            exports.filter(status=ExportJobStatus.FAILED)[:_COUNTED_TO].count(),
        ),
        ("imports on their way", jobs.filter(status__in=LIVE_IMPORTS)[:_COUNTED_TO].count()),
        (
            "imports that failed",
            jobs.filter(status=ImportJobStatus.FAILED)[:_COUNTED_TO].count(),
        ),
        ("runs to be sealed", len(seals.due(limit=_COUNTED_TO))),
        ("runs to be counted", len(summaries.due(limit=_COUNTED_TO))),
        ("purges that are executed", len(retention.due())),
    ]


def _there(folder: Path) -> Path:
    return folder if folder.exists() else _there(folder.parent)


urls = [path("house/", house, name="house")]
