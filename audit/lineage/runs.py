"""Runs: the list, and the story of one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from django.db import connection, models
from django.db.models import Count, Exists, OuterRef, Q, Sum
from django.db.models.expressions import RawSQL

from audit.errors import NotRecorded
from audit.lineage.contents import told
from audit.lineage.excerpts import SETTINGS_LIMIT, Excerpt, excerpt, reading
from audit.lineage.figures import FIGURES_TOLD, Figures, figures_of, read_figures
from audit.lineage.findings import FindingGroup, group_findings
from audit.lineage.refusals import Refusal, refusals_of
from audit.lineage.seals import first_differences, seal_words
from audit.models import Finding, Import, Run, RunSummary
from audit.vocabulary import FindingLevel, RunStatus

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from audit.models.runs import RunQuerySet

RUNS_A_PAGE = 50
NAMED_IN_THE_ANSWER = 3

# A filter beside the statuses: whatever the answer line says needs a person.
NEEDS_A_PERSON = "attention"


# Not by the ORM: every page asks this, and putting it together would take longer than asking.
_TOLD = f"""
SELECT json_build_object(
    'status', r.status, 'imported', EXISTS (SELECT FROM imports i WHERE i.run_id = r.run_id),
    'started_at', r.started_at, 'completed_at', r.completed_at, 'config_hash', r.config_hash,
    'grade', r.reproducibility_grade, 'export_status', r.export_status, 'figures', {FIGURES_TOLD}
)::text FROM runs r WHERE r.run_id ="""  # noqa: S608  # constants


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What every page says of its run; `figures` is None while they are still to be counted."""

    run_id: str
    status: str
    imported: bool
    started_at: datetime
    completed_at: datetime | None
    config_hash: str
    grade: str | None
    export_status: str | None
    figures: Figures | None

    @property
    def has_no_end(self) -> bool:
        """Imported as running: it stopped without an end, or nobody has imported the end."""
        return self.imported and self.status == RunStatus.RUNNING

    @property
    def duration_ms(self) -> float | None:
        """From start to end in milliseconds; None without an end."""
        if self.completed_at is None:
            return None
        return (self.completed_at - self.started_at) / timedelta(milliseconds=1)


@dataclass(frozen=True, kw_only=True)
class RunLine(RunFacts):
    """One run as a line of the list, with how many records something was found about."""

    error_findings: int
    info_findings: int
    # `sealed`, `differs`, or None while there is no seal.
    seal: str | None
    # Table and key of the first record that differs.
    differs_at: str | None


@dataclass(frozen=True, kw_only=True)
class RunFilter:
    """Which runs are asked for; None means any. Days are UTC, and both are included."""

    status: str | None = None
    since: date | None = None
    until: date | None = None
    text: str | None = None

    @property
    def is_on(self) -> bool:
        """Whether anything is filtered at all."""
        return any((self.status, self.since, self.until, self.text))


@dataclass(frozen=True, kw_only=True)
class RunsPage:
    """One page of the list, newest first, and what the whole database needs a person for."""

    lines: tuple[RunLine, ...]
    total: int
    remaining: int
    next_after: str | None
    failed: int
    without_end: int
    with_error_findings: int
    unaccounted: int
    needing: int
    named: tuple[RunLine, ...]


@dataclass(frozen=True, kw_only=True)
class RunStory:
    """Everything the page of one run tells."""

    line: RunLine
    canonical_version: str
    settings: Excerpt
    exported_at: datetime | None
    export_format: str | None
    export_sink: str | None
    export_error: str | None
    findings: tuple[FindingGroup, ...]
    imports: tuple[Import, ...]
    refusals: tuple[Refusal, ...]
    refusals_cut: bool


def any_run_exists() -> bool:
    """Whether anything has been recorded or imported yet. One query."""
    return Run.objects.exists()


def list_runs(*, asked: RunFilter, after: str | None = None, limit: int = RUNS_A_PAGE) -> RunsPage:
    """One page of runs, newest first, after the run with the id `after`.

    Eight queries, nine with `after`, however many runs there are. The counts go over `runs`,
    which has one row per run.

    Raises:
        NotRecorded: there is no run with the id `after`.
    """
    everything = Run.objects.all().listed()
    tally = everything.aggregate(
        total=Count("run_id"),
        failed=Count("run_id", filter=_failed()),
        without_end=Count("run_id", filter=_without_end()),
        with_error_findings=Count("run_id", filter=_with_error_findings()),
        unaccounted=Count("run_id", filter=_unaccounted()),
        needing=Count("run_id", filter=_needing()),
    )
    chosen = _matching(everything, asked).newest_first()
    if after is not None:
        anchor = _run(after)
        chosen = chosen.older_than(anchor.started_at, anchor.run_id)
    matching = chosen.count()
    page = list(_with_origin(chosen)[:limit])
    named = list(_with_origin(everything).filter(_needing()).newest_first()[:NAMED_IN_THE_ANSWER])
    lines = _lines([*page, *named])
    remaining = matching - len(page)
    return RunsPage(
        lines=lines[: len(page)],
        remaining=remaining,
        next_after=page[-1].run_id if remaining else None,
        named=lines[len(page) :],
        **tally,
    )


def explain_run(*, run_id: str) -> RunStory:
    """Gather what the page of one run shows, in a fixed number of queries whatever its size.

    Raises:
        NotRecorded: there is no such run.
    """
    run = (
        _with_origin(Run.objects.filter(run_id=run_id))
        .annotate(**reading("settings_json", limit=SETTINGS_LIMIT))
        .first()
    )
    if run is None:
        raise NotRecorded("run", run_id)
    (line,) = _lines([run])
    settings = excerpt(run, "settings_json")
    assert settings is not None  # the column is NOT NULL
    refusals, refusals_cut = refusals_of(run_id=run_id)
    return RunStory(
        line=line,
        canonical_version=run.canonical_version,
        settings=settings,
        exported_at=run.exported_at,
        export_format=run.export_format,
        export_sink=run.export_sink,
        export_error=told(run.export_error),
        findings=group_findings(run_id=run_id),
        imports=tuple(Import.objects.filter(run_id=run_id).order_by("imported_at", "import_id")),
        refusals=refusals,
        refusals_cut=refusals_cut,
    )


def describe_run(*, run_id: str) -> RunFacts:
    """The facts of one run that stand above its rows and tokens. One query.

    Raises:
        NotRecorded: there is no such run.
    """
    with connection.cursor() as cursor:
        cursor.execute(f"{_TOLD} %s", [run_id])
        found = cursor.fetchone()
    if found is None:
        raise NotRecorded("run", run_id)
    return _told_facts(run_id, found[0])


def run_beside(model: type[models.Model]) -> RawSQL:
    """An annotation of a record of this model with what there is to say of its run.

    `run_of` reads it.
    """
    key = f"{_TOLD} {model._meta.db_table}.run_id"
    return RawSQL(key, [], output_field=models.TextField())  # noqa: S611  # a table of ours


def run_of(record: Any) -> RunFacts:
    """The facts of its run that were loaded with a record as `run_told`. Costs no query."""
    return _told_facts(record.run_id, record.run_told)


def _told_facts(run_id: str, text: str) -> RunFacts:
    told = json.loads(text)
    started, completed = (
        moment and datetime.fromisoformat(moment)
        for moment in (told["started_at"], told["completed_at"])
    )
    return RunFacts(
        **{
            **told,
            "run_id": run_id,
            "started_at": started,
            "completed_at": completed,
            "figures": figures_of(told["figures"]),
        }
    )


def _run(run_id: str) -> Run:
    try:
        return _with_origin(Run.objects.all()).get(run_id=run_id)
    except Run.DoesNotExist as error:
        raise NotRecorded("run", run_id) from error


def _with_origin(runs: RunQuerySet) -> RunQuerySet:
    origin = Import.objects.filter(run_id=OuterRef("run_id"))
    return runs.defer("settings_json").annotate(imported=Exists(origin))


def _facts(run: Run, figures: Figures | None) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "status": run.status,
        "imported": run.imported,  # type: ignore[attr-defined]  # annotated by `_with_origin`
        "started_at": run.started_at,
        "completed_at": run.completed_at,
        "config_hash": run.config_hash,
        "grade": run.reproducibility_grade,
        "export_status": run.export_status,
        "figures": figures,
    }


def _lines(runs: Sequence[Run]) -> tuple[RunLine, ...]:
    run_ids = {run.run_id for run in runs}
    figures = read_figures(run_ids)
    found: dict[tuple[str, str], int] = {
        (run_id, level): records
        for run_id, level, records in Finding.objects.filter(run_id__in=run_ids)
        .values_list("run_id", "level")
        .annotate(records=Sum("occurrences"))
        .order_by()
    }
    seals = seal_words(run_ids)
    first = first_differences([run_id for run_id, word in seals.items() if word == "differs"])
    return tuple(
        RunLine(
            **_facts(run, figures.get(run.run_id)),
            error_findings=found.get((run.run_id, FindingLevel.ERROR), 0),
            info_findings=found.get((run.run_id, FindingLevel.INFO), 0),
            seal=seals.get(run.run_id),
            differs_at=first.get(run.run_id),
        )
        for run in runs
    )


def _failed() -> Q:
    return Q(status__in=[RunStatus.FAILED, RunStatus.INTERRUPTED])


def _without_end() -> Q:
    origin = Import.objects.filter(run_id=OuterRef("run_id"))
    return Q(status=RunStatus.RUNNING) & Q(Exists(origin))


def _with_error_findings() -> Q:
    errors = Finding.objects.filter(run_id=OuterRef("run_id"), level=FindingLevel.ERROR)
    return Q(Exists(errors))


def _unaccounted() -> Q:
    short = RunSummary.objects.current().filter(run_id=OuterRef("run_id"), unaccounted__gt=0)
    return Q(Exists(short))


def _needing() -> Q:
    return _failed() | _without_end() | _with_error_findings() | _unaccounted()


def _matching(runs: RunQuerySet, asked: RunFilter) -> RunQuerySet:
    if asked.status == NEEDS_A_PERSON:
        runs = runs.filter(_needing())
    elif asked.status:
        runs = runs.filter(status=asked.status)
    if asked.since:
        runs = runs.filter(started_at__gte=_midnight(asked.since))
    if asked.until:
        runs = runs.filter(started_at__lt=_midnight(asked.until) + timedelta(days=1))
    if asked.text:
        here = {"run_id": OuterRef("run_id")}
        runs = runs.filter(
            Q(run_id__startswith=asked.text)
            | Q(config_hash__startswith=asked.text)
            | Q(Exists(RunSummary.objects.filter(**here, pipeline__icontains=asked.text)))
            | Q(Exists(Import.objects.filter(**here, source_name__icontains=asked.text)))
        )
    return runs


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, tzinfo=UTC)
