"""Three runs of the demo's pipeline: one whole, one resumed, one that goes on.

Claims are recorded in groups, each group with its checkpoint in one transaction. What the next
group needs stands in the checkpoint, so a recording that was stopped anywhere goes on behind the
last group, as the pipeline itself would.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.db import transaction

from audit import recorder
from audit.management.demo import sinks
from audit.management.demo.claims import claim, share
from audit.management.demo.passage import pass_claim
from audit.management.demo.pipeline import Version, begin, made_id
from audit.management.demo.travel import later
from audit.models import Row, Run
from audit.vocabulary import RunStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import date

    from audit.management.demo.pipeline import Pipeline
    from audit.management.demo.travel import Traveller

GROUP = 20
_CRASH_AFTER = 1
_PAUSE = timedelta(minutes=41)
_DISK_FULL = {
    "type": "OSError",
    "exception": "[Errno 28] No space left on device: '/data/payments'",
}
# A claim begins four to eight seconds after the one before it.
_PACE_MS = 4_000
# A claim that is told as it happens is through by now, even if a model kept it waiting.
_LONGEST_WAY = timedelta(seconds=30)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One run to record."""

    run_id: str
    title: str
    first_claim: int
    claims: int
    version: Version
    start: datetime
    crashes: bool = False
    ends: bool = True

    @property
    def day(self) -> date:
        """The day whose file the run reads."""
        return self.start.date()


_EARLIER = Version(prompt="triage-v7", threshold=Decimal("0.70"))
_LATER = Version(prompt="triage-v8", threshold=Decimal("0.75"))


def plans(*, first_day: date | None, now: datetime) -> tuple[Plan, Plan, Plan]:
    """The three runs, beginning on this day; without one, so that the third began just now."""
    # The second run is over by eight in the morning.
    day = first_day or (now - timedelta(hours=8)).date() - timedelta(days=1)
    running = now - timedelta(minutes=6)
    if first_day is not None:
        running = _moment(day + timedelta(days=2), time(9, 58, 2, 40_000))
    return (
        Plan(
            run_id="285203e6071101e5ca3c0adfc50371bb",
            title="complete",
            first_claim=241,
            claims=120,
            version=_EARLIER,
            start=_moment(day, time(6, 0, 4, 118_000)),
        ),
        Plan(
            run_id="435732b19a70c8d24f0be1637d9a52ee",
            title="failed, resumed and complete",
            first_claim=401,
            claims=80,
            version=_LATER,
            start=_moment(day + timedelta(days=1), time(6, 0, 3, 871_000)),
            crashes=True,
        ),
        Plan(
            run_id="3cb2c32f7e1a49d6b8506c1fe2d47a90",
            title="running",
            first_claim=521,
            claims=30,
            version=_LATER,
            start=running,
            ends=False,
        ),
    )


def _moment(day: date, clock: time) -> datetime:
    return datetime.combine(day, clock, tzinfo=UTC)


@dataclass
class _Progress:
    """Where a run stands between two groups."""

    next_row: int
    clock: datetime
    load_id: str
    groups: int = 0
    last_token: str = ""
    buffer: sinks.Buffer = field(default_factory=sinks.Buffer)

    def told(self) -> dict[str, Any]:
        """For a checkpoint. Between two groups no sink has anything to write."""
        return {
            "next_row": self.next_row,
            "clock": self.clock,
            "load_id": self.load_id,
            "groups": self.groups,
            "last_token": self.last_token,
            "batches": self.buffer.batches,
            "batch_id": self.buffer.batch_id,
            "members": self.buffer.members,
        }


def missing(plan: Plan) -> bool:
    """Whether this run, as far as it is told at the start, is not on record yet."""
    run = Run.objects.filter(run_id=plan.run_id).first()
    if run is None:
        return True
    if plan.ends:
        return bool(run.status != RunStatus.COMPLETED)
    return _told_before(plan) is None or count_rows(plan) < plan.claims


def count_rows(plan: Plan) -> int:
    """How many claims of a run are on record."""
    return Row.objects.filter(run_id=plan.run_id).count()


def is_wanted(*, now: datetime) -> bool:
    """Whether the database holds nothing but, perhaps, a part of the demo."""
    told = plans(first_day=None, now=now)
    others = Run.objects.exclude(run_id__in=[plan.run_id for plan in told])
    return not others.exists() and any(missing(plan) for plan in told)


def begin_or_find(plan: Plan) -> Pipeline:
    """The run's pipeline, registered where it is not; a run that began keeps its beginning."""
    held = Run.objects.filter(run_id=plan.run_id).first()
    start = held.started_at if held else plan.start
    with transaction.atomic():
        return begin(run_id=plan.run_id, day=start.date(), version=plan.version, at=start)


def record(plan: Plan) -> Iterator[int]:
    """Record what is missing of a run, group by group; yields how many claims are on record."""
    if not missing(plan):
        return
    pipeline = begin_or_find(plan)
    progress = _told_before(plan) or _first(pipeline)
    while progress.next_row < plan.claims:
        size = min(GROUP, plan.claims - progress.next_row)
        with transaction.atomic():
            _record_group(plan, pipeline, progress, size)
            if plan.ends and progress.next_row == plan.claims:
                _finish(pipeline, progress)
        yield progress.next_row


def record_next(plan: Plan, pipeline: Pipeline, *, at: datetime) -> int:
    """Record one more claim of the run that goes on; returns how many are on record."""
    with transaction.atomic():
        progress = _told_before(plan) or _first(pipeline)
        progress.clock = at - _LONGEST_WAY
        _record_group(plan, pipeline, progress, 1, sinks_at=at)
    return progress.next_row


def _told_before(plan: Plan) -> _Progress | None:
    """What the last checkpoint says."""
    checkpoint = recorder.get_latest_checkpoint(run_id=plan.run_id)
    if checkpoint is None:
        return None
    told = json.loads(checkpoint.aggregation_state_json or "")
    buffer = sinks.Buffer(told.pop("batches"), told.pop("batch_id"), told.pop("members"))
    clock = datetime.fromisoformat(told.pop("clock"))
    return _Progress(**told, clock=clock, buffer=buffer)


def _first(pipeline: Pipeline) -> _Progress:
    start = recorder.get_run(run_id=pipeline.run_id).started_at
    return _Progress(next_row=0, clock=start, load_id=_load(pipeline, 0, at=start))


def _record_group(
    plan: Plan,
    pipeline: Pipeline,
    progress: _Progress,
    size: int,
    *,
    sinks_at: datetime | None = None,
) -> None:
    """A few claims, then batches and sinks (not before `sinks_at`), then a checkpoint."""
    crash = plan.crashes and progress.groups == _CRASH_AFTER
    buffer, ended = progress.buffer, progress.clock
    payable: list[Traveller] = []
    for row_index in range(progress.next_row, progress.next_row + size):
        number = plan.first_claim + row_index
        each = claim(number, day=pipeline.day)
        passed = pass_claim(pipeline, each, row_index=row_index, at=progress.clock)
        payable += passed.payable
        buffer.reviews += passed.for_review
        progress.last_token = passed.token_id or progress.last_token
        progress.clock = later(progress.clock, _PACE_MS + 40 * share("pace", number))
        ended = max(ended, passed.at)
    progress.next_row += size
    progress.groups += 1
    if sinks_at is not None:
        ended = max(ended, sinks_at)
        for token in payable:
            token.at = max(token.at, sinks_at)
    sinks.take_payable(pipeline, buffer, sorted(payable, key=lambda token: token.at))
    ended = max([ended, *(payment.at for payment in buffer.payments)])
    ended = _write(pipeline, progress, at=ended, crash=crash)
    progress.clock = max(progress.clock, ended)
    if progress.last_token:
        recorder.create_checkpoint(
            run_id=pipeline.run_id,
            checkpoint_id=f"cp-{made_id(pipeline.run_id, 'checkpoint', progress.groups)}",
            token_id=progress.last_token,
            node_id=pipeline.nodes["payments_csv"],
            upstream_topology_hash=pipeline.topology_hash,
            node_config_hash=pipeline.config_hashes["payments_csv"],
            aggregation_state=progress.told(),
            at=ended,
        )


def _write(pipeline: Pipeline, progress: _Progress, *, at: datetime, crash: bool) -> datetime:
    buffer, part = progress.buffer, progress.groups
    at = sinks.write(pipeline, "review_queue", buffer.reviews, part=part, at=at)
    attempt = 0
    if crash:
        at = sinks.write(
            pipeline, "payments_csv", buffer.payments, part=part, at=at, failure=_DISK_FULL
        )
        at = _fail_and_resume(pipeline, progress, at=at)
        attempt = 1
    at = sinks.write(pipeline, "payments_csv", buffer.payments, part=part, at=at, attempt=attempt)
    buffer.reviews, buffer.payments = [], []
    return at


def _fail_and_resume(pipeline: Pipeline, progress: _Progress, *, at: datetime) -> datetime:
    """The run fails; somebody makes room on the disk, and it goes on from its checkpoint."""
    run_id = pipeline.run_id
    _end_load(pipeline, progress, at=at, error=_DISK_FULL)
    recorder.complete_run(run_id=run_id, status=RunStatus.FAILED, at=at)
    at += _PAUSE
    checkpoint = recorder.get_latest_checkpoint(run_id=run_id)
    assert checkpoint is not None
    recorder.resume_run(run_id=run_id, checkpoint_id=str(checkpoint.checkpoint_id), at=at)
    progress.load_id = _load(pipeline, 1, at=at)
    return later(at, 640)


def _finish(pipeline: Pipeline, progress: _Progress) -> None:
    """The file is read to its end: the last draft fires, and the run is complete."""
    run_id, buffer = pipeline.run_id, progress.buffer
    sinks.settle(pipeline, buffer, "end_of_source", "end of file", at=progress.clock)
    at = max([progress.clock, *(payment.at for payment in buffer.payments)])
    at = sinks.write(pipeline, "payments_csv", buffer.payments, part=progress.groups + 1, at=at)
    _end_load(pipeline, progress, at=at)
    recorder.release_checkpoints(run_id=run_id, reason="the run is complete", at=at)
    recorder.complete_run(run_id=run_id, status=RunStatus.COMPLETED, at=later(at, 3))


def _load(pipeline: Pipeline, number: int, *, at: datetime) -> str:
    operation_id = f"op_{made_id(pipeline.run_id, 'load', number)}"
    recorder.begin_operation(
        run_id=pipeline.run_id,
        operation_id=operation_id,
        node_id=pipeline.nodes["claims_csv"],
        operation_type="source_load",
        input_data={"path": f"file:///data/claims/{pipeline.day}.csv", "encoding": "utf-8"},
        at=at,
    )
    return operation_id


def _end_load(
    pipeline: Pipeline,
    progress: _Progress,
    *,
    at: datetime,
    error: Mapping[str, Any] | None = None,
) -> None:
    (began,) = (
        operation.started_at
        for operation in recorder.get_operations(run_id=pipeline.run_id)
        if operation.operation_id == progress.load_id
    )
    recorder.complete_operation(
        run_id=pipeline.run_id,
        operation_id=progress.load_id,
        status="failed" if error else "completed",
        output_data=None if error else {"rows": progress.next_row},
        error=error,
        duration_ms=(at - began) / timedelta(milliseconds=1),
        at=at,
    )
