"""Runs: their beginning, their end, their second beginning, and what a reader may ask of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from django.db.models import Exists, OuterRef, Q

from audit.canonical import NATIVE, sha256
from audit.errors import ContractViolated, IllegalTransition, NotRecorded, RunUnfinished
from audit.models import Call, Checkpoint, Node, NodeState, Run, RunEvent, Token, TokenOutcome
from audit.recorder import bulk, contents, reading
from audit.recorder.guards import TRANSITIONS
from audit.recorder.writing import (
    check,
    new_id,
    one_event,
    prepared,
    same,
    word,
)
from audit.vocabulary import (
    Determinism,
    ExportStatus,
    NodeStateStatus,
    ReproducibilityGrade,
    RunEventKind,
    RunMode,
    RunStatus,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

RECORDER_VERSION = "landscape-0.1.0"

_LISTED = 5
_NOT_FULL = {Determinism.EXTERNAL_CALL, Determinism.NON_DETERMINISTIC}
_READS_THE_WORLD = {Determinism.IO_READ, Determinism.IO_WRITE}


class Grades(NamedTuple):
    """What re-running a run can promise, by the first release's rule and by the later one's."""

    first: ReproducibilityGrade
    later: ReproducibilityGrade
    # Calls whose answer was hashed and not kept: they cannot be replayed, whatever a rule says.
    unkept_answers: int

    @property
    def stored(self) -> ReproducibilityGrade:
        """The grade that a run carries: the later rule's, and no more than can be kept."""
        if self.later == ReproducibilityGrade.REPLAY_REPRODUCIBLE and self.unkept_answers:
            return ReproducibilityGrade.ATTRIBUTABLE_ONLY
        return self.later


def begin_run(
    *,
    settings: Mapping[str, Any],
    at: datetime,
    run_id: str | None = None,
    run_mode: RunMode | str = RunMode.LIVE,
    replay_source_run_id: str | None = None,
    source_schema: Mapping[str, Any] | None = None,
) -> Run:
    """Begin a run of one resolved configuration, secrets already taken out of it.

    Raises:
        ConflictingRecord: the id is on record with other content.
        ContractViolated: a replay that does not name its source, or a live run that does.
        ValueRefused: settings without canonical form, an unknown mode, an id too long.
    """
    mode = word(RunMode, run_mode, "run_mode")
    if (mode == RunMode.LIVE) != (replay_source_run_id is None):
        raise ContractViolated(f"a {mode} run and the replay source {replay_source_run_id}")
    text = contents.inline(dict(settings), name="settings") or ""
    values: dict[str, Any] = {
        "run_id": run_id or new_id(at),
        "started_at": at,
        "config_hash": sha256(text.encode()),
        "settings_json": text,
        "canonical_version": NATIVE,
        "source_schema_json": contents.inline(source_schema, name="source_schema"),
        "status": RunStatus.RUNNING,
        "run_mode": mode,
        "replay_source_run_id": replay_source_run_id,
        "recorder_version": RECORDER_VERSION,
    }
    check(Run, values)
    columns = ", ".join(values)
    marks = ", ".join(f"%({name})s" for name in values)
    with prepared() as cursor:
        cursor.execute(
            f"INSERT INTO runs ({columns}) VALUES ({marks}) ON CONFLICT DO NOTHING",  # noqa: S608  # our own names
            values,
        )
    # Read back: what another writer of this id said, or what was just said.
    held = Run.objects.get(run_id=values["run_id"])
    same(held, values, kind="run")
    return held


def complete_run(*, run_id: str, status: RunStatus | str, at: datetime) -> Run:
    """End a run and grade it. A run that counts as complete leaves nothing open.

    Telling the same end twice is harmless.

    Raises:
        NotRecorded: there is no such run.
        IllegalTransition: it has ended otherwise, or this is no end.
        RunUnfinished: a token without a final outcome, or a node state that is still open.
    """
    to = word(RunStatus, status, "status")
    with one_event():
        run = reading.one(Run, run_id=run_id, key=run_id, lock=True)
        if run.status == to and to != RunStatus.RUNNING:
            return run
        if (run.status, to) not in TRANSITIONS[Run] or to == RunStatus.RUNNING:
            raise IllegalTransition("run", run_id, status=run.status, to=to)
        bulk.allow_minutes()
        if to not in {RunStatus.FAILED, RunStatus.INTERRUPTED}:
            _require_finished(run_id)
        grades = compute_reproducibility_grade(run_id=run_id)
        run.status, run.completed_at, run.reproducibility_grade = to, at, grades.stored
        run.save(update_fields=["status", "completed_at", "reproducibility_grade"])
        note(
            run_id,
            RunEventKind.STATUS_CHANGED,
            at=at,
            detail={
                "from": RunStatus.RUNNING.value,
                "to": to.value,
                "grade_by_first_rule": grades.first.value,
                "grade_by_later_rule": grades.later.value,
                "unkept_answers": grades.unkept_answers,
            },
        )
    return run


def resume_run(*, run_id: str, at: datetime, checkpoint_id: str | None = None) -> Run:
    """Let a failed or interrupted run go on, from a checkpoint if it has one.

    Raises:
        NotRecorded, RunMismatch: no such run, or the checkpoint is not there or another run's.
        IllegalTransition: the run is going, or is complete.
    """
    with one_event():
        run = reading.one(Run, run_id=run_id, key=run_id, lock=True)
        if (run.status, RunStatus.RUNNING) not in TRANSITIONS[Run]:
            raise IllegalTransition("run", run_id, status=run.status, to=RunStatus.RUNNING)
        if checkpoint_id is not None:
            reading.one(Checkpoint, run_id=run_id, key=checkpoint_id)
        detail = {"from": run.status, "checkpoint_id": checkpoint_id}
        run.status, run.completed_at = RunStatus.RUNNING, None
        run.save(update_fields=["status", "completed_at"])
        note(run_id, RunEventKind.RESUMED, at=at, detail=detail)
    return run


def set_export_status(
    *,
    run_id: str,
    status: ExportStatus | str,
    at: datetime,
    error: str | None = None,
    export_format: str | None = None,
    export_sink: str | None = None,
) -> Run:
    """How the pipeline's own export of the run went: pending, then completed or failed.

    Raises:
        NotRecorded: there is no such run.
        IllegalTransition: an export cannot get there from where it is.
        ContractViolated: a failure without error, or an error without failure.
    """
    to = word(ExportStatus, status, "status")
    if (to == ExportStatus.FAILED) != (error is not None):
        raise ContractViolated(f"an export that is {to} and the error {error!r:.80}")
    with one_event():
        run = reading.one(Run, run_id=run_id, key=run_id, lock=True)
        before = (None, ExportStatus.FAILED) if to == ExportStatus.PENDING else ("pending",)
        if run.export_status not in before:
            raise IllegalTransition(
                "export of run", run_id, status=run.export_status or "not begun", to=to
            )
        values = {
            "export_status": to,
            "export_error": error,
            "exported_at": at if to == ExportStatus.COMPLETED else None,
            "export_format": export_format or run.export_format,
            "export_sink": export_sink or run.export_sink,
        }
        check(Run, values)
        for name, value in values.items():
            setattr(run, name, value)
        run.save(update_fields=list(values))
    return run


def get_run(*, run_id: str) -> Run:
    """The run as it stands.

    Raises:
        NotRecorded: there is no such run.
    """
    return reading.one(Run, run_id=run_id, key=run_id)


def list_runs(
    *, status: RunStatus | str | None = None, after: Run | None = None, limit: int = 100
) -> list[Run]:
    """A page of runs, newest first; `after` is the last run of the page before.

    Raises:
        ValueRefused: an unknown status, or a limit that is not between 1 and 1,000.
    """
    runs = Run.objects.newest_first()
    if status is not None:
        runs = runs.filter(status=word(RunStatus, status, "status"))
    if after is not None:
        runs = runs.older_than(after.started_at, after.run_id)
    return list(runs[: reading.checked_limit(limit)])


def get_source_schema(*, run_id: str) -> str:
    """The schema of the source's rows, as it was given: needed to read their types back.

    Raises:
        NotRecorded: no such run, or it began without one.
    """
    schema = get_run(run_id=run_id).source_schema_json
    if schema is None:
        raise NotRecorded("source schema of run", run_id)
    return str(schema)


def get_run_events(*, run_id: str) -> list[RunEvent]:
    """What happened to a run as a whole, in order.

    Raises:
        NotRecorded: there is no such run.
    """
    reading.require_run(run_id)
    return list(RunEvent.objects.filter(run_id=run_id).order_by("event_id"))


def compute_reproducibility_grade(*, run_id: str) -> Grades:
    """What re-running the run could promise now, by both rules. Writes nothing.

    Raises:
        NotRecorded: there is no such run.
    """
    reading.require_run(run_id)
    kinds = set(Node.objects.filter(run_id=run_id).values_list("determinism", flat=True).distinct())
    full, replay = ReproducibilityGrade.FULL_REPRODUCIBLE, ReproducibilityGrade.REPLAY_REPRODUCIBLE
    unkept = Call.objects.filter(
        run_id=run_id, response_hash__isnull=False, response_ref__isnull=True
    ).count()
    return Grades(
        first=replay if kinds & _NOT_FULL else full,
        later=replay if kinds & (_NOT_FULL | _READS_THE_WORLD) else full,
        unkept_answers=unkept,
    )


def note(run_id: str, kind: RunEventKind, *, at: datetime, detail: Mapping[str, Any]) -> RunEvent:
    """Add to the history of a run, whether it is going or has ended.

    The caller holds the run's row: numbered ids keep the order of events of one instant.
    """
    number = RunEvent.objects.filter(run_id=run_id).count()
    return RunEvent.objects.create(
        run_id=run_id,
        event_id=f"ev_{number:08}",
        kind=kind,
        recorded_at=at,
        detail_json=contents.inline(dict(detail), name="detail"),
    )


def _require_finished(run_id: str) -> None:
    final = TokenOutcome.objects.filter(
        run_id=run_id, token_id=OuterRef("token_id"), is_terminal=True
    )
    endless = Token.objects.filter(~Exists(final), run_id=run_id).order_by("token_id")
    if keys := list(endless.values_list("token_id", flat=True)[:_LISTED]):
        raise RunUnfinished(run_id, "tokens without a final outcome", keys)
    still_open = Q(status__in=[NodeStateStatus.OPEN, NodeStateStatus.PENDING])
    states = NodeState.objects.filter(still_open, run_id=run_id).order_by("state_id")
    if keys := list(states.values_list("state_id", flat=True)[:_LISTED]):
        raise RunUnfinished(run_id, "node states without an end", keys)
