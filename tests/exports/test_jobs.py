"""The job of an export: its steps, its lease, its fence, and what may never happen."""

from __future__ import annotations

import itertools
import threading

import pytest
from django.db import connection, transaction

from audit import errors, exports
from audit.errors import IllegalTransition, NotRecorded, TransitionRefused
from audit.exports import jobs
from audit.exports.jobs import Cancelled, LeaseLost
from audit.models import Export
from audit.recorder import guards
from audit.vocabulary import ExportJobStatus as Status
from tests.builders import NOON, make_run
from tests.running import until

pytestmark = pytest.mark.django_db

FILE = {"sha256": "a" * 64, "size": 7, "name": "x.zip", "records": 3}
PROVEN = {"origin": "o", "root": "b" * 64, "provisional": False, "keep_days": 30}


def ask(run=None, **asked):
    plain = {"requested_by": 1, "with_csv": False, "with_payloads": False, "at": NOON}
    return exports.open_job(run_id=(run or make_run()).run_id, **plain | asked)


def taken(export=None):
    return jobs.claim(export_id=(export or ask()).export_id, owner="w")


def status(export):
    return Export.objects.get(pk=export.pk).status


def let_lease_run_out(export):
    change(export, "lease_until = clock_timestamp() - interval '1 second'")


def change(export, what):
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE exports SET {what} WHERE export_id = %s", [export.pk])


def published(claim):
    jobs.begin_publishing(claim, **FILE)
    jobs.succeed(claim, **PROVEN)


class TestOpenJob:
    def test_gives_back_the_same_while_it_is_made(self):
        run = make_run()

        assert ask(run) == ask(run)
        assert ask(run, with_csv=True) != ask(run)
        assert ask(run, requested_by=2) != ask(run)

    def test_begins_anew_once_it_has_ended(self):
        run = make_run()
        first = ask(run)
        exports.cancel(export_id=first.pk)

        assert ask(run) != first

    def test_calls_an_export_of_a_running_run_provisional(self):
        assert ask(make_run(status="running")).provisional
        assert not ask().provisional

    def test_refuses_a_run_that_is_not_there(self):
        with pytest.raises(NotRecorded, match="no run x"):
            exports.open_job(
                run_id="x", requested_by=1, with_csv=False, with_payloads=False, at=NOON
            )

    @pytest.mark.django_db(transaction=True)
    def test_is_one_job_for_twenty_clicks(self):
        run, found = make_run(), []

        def click():
            try:
                found.append(ask(run).pk)
            finally:
                connection.close()

        clicks = [threading.Thread(target=click) for _ in range(20)]
        for each in clicks:
            each.start()
        for each in clicks:
            each.join()

        assert len(found) == 20
        assert len(set(found)) == 1


class TestClaim:
    def test_is_given_to_one(self):
        export = ask()

        assert jobs.claim(export_id=export.pk, owner="one").fence == 1
        assert jobs.claim(export_id=export.pk, owner="two") is None

    def test_is_given_anew_when_the_lease_has_run_out(self):
        first = taken()
        let_lease_run_out(first.export)

        second = taken(first.export)

        assert second.fence == 2
        assert second.export.attempt == 2

    def test_fences_out_who_had_it_before(self):
        old = taken()
        let_lease_run_out(old.export)
        new = taken(old.export)

        with pytest.raises(LeaseLost):
            jobs.hold(old, step="writing", done=1, total=2)
        with pytest.raises(LeaseLost):
            jobs.begin_publishing(old, **FILE)
        assert jobs.retry_later(old, code="x", text="x") is None
        jobs.fail(old, code="x", text="x")
        jobs.begin_publishing(new, **FILE)
        with pytest.raises(LeaseLost):
            jobs.succeed(old, **PROVEN)
        jobs.succeed(new, **PROVEN)

        assert status(new.export) == Status.SUCCEEDED

    def test_is_not_given_for_what_waits(self, monkeypatch):
        monkeypatch.setattr(jobs, "_FIRST_PAUSE", 0.2)
        claim = taken()
        assert jobs.retry_later(claim, code="disk_full", text="7 bytes free") == Status.WAITING

        assert taken(claim.export) is None
        assert until(lambda: taken(claim.export)).fence == 2

    def test_is_given_five_times_with_growing_pauses(self, monkeypatch):
        monkeypatch.setattr(jobs, "_FIRST_PAUSE", 0.05)
        export, before = ask(), 0
        for attempt in range(1, 6):
            claim = until(lambda: taken(export))
            told = jobs.retry_later(claim, code="x", text=f"attempt {attempt}")
            assert told == (Status.WAITING if attempt < 5 else Status.FAILED)
            if attempt < 5:
                pause = Export.objects.get(pk=export.pk).due_at - claim.export.started_at
                assert pause.total_seconds() > 0.05 * 2 ** (attempt - 1) > before
                before = 0.05 * 2 ** (attempt - 1)

        assert taken(export) is None
        assert Export.objects.get(pk=export.pk).error_text == "attempt 5"


class TestHold:
    def test_renews_the_lease_and_tells_how_far_it_is(self):
        claim = taken()
        change(claim.export, "lease_until = clock_timestamp()")

        jobs.hold(claim, step="writing", done=5, total=9)

        held = Export.objects.get(pk=claim.export.pk)
        assert (held.step, held.records_done, held.records_total) == ("writing", 5, 9)
        assert taken(claim.export) is None

    def test_hears_that_it_was_cancelled(self):
        claim = taken()
        exports.cancel(export_id=claim.export.pk)

        with pytest.raises(Cancelled):
            jobs.hold(claim, step="writing", done=0, total=None)
        assert jobs.confirm_cancelled(claim)
        assert status(claim.export) == Status.CANCELLED


class TestCancel:
    def test_ends_at_once_what_nobody_has(self):
        assert exports.cancel(export_id=ask().pk).status == Status.CANCELLED

    def test_never_meets_a_publication_half_way(self):
        claim = taken()
        jobs.begin_publishing(claim, **FILE)
        exports.cancel(export_id=claim.export.pk)

        with pytest.raises(LeaseLost):
            jobs.succeed(claim, **PROVEN)
        jobs.confirm_cancelled(claim)

        assert status(claim.export) == Status.CANCELLED
        assert Export.objects.get(pk=claim.export.pk).file_sha256 is None

    def test_is_refused_after_the_end(self):
        claim = taken()
        published(claim)

        with pytest.raises(IllegalTransition, match="is succeeded and cannot become cancelled"):
            exports.cancel(export_id=claim.export.pk)


class TestRing:
    def test_names_what_is_due_once_in_a_while(self):
        waiting, held, lost = ask(), taken(), taken()
        let_lease_run_out(lost.export)

        rung = set(exports.ring(limit=9))

        assert rung == {waiting.pk, lost.export.pk}
        assert held.export.pk not in rung
        assert exports.ring(limit=9) == []


class TestSettle:
    def test_gives_up_what_lost_five_workers_and_says_so(self):
        export = ask()
        for _ in range(5):
            claim = taken(export)
            jobs.hold(claim, step="writing", done=70, total=100)
            let_lease_run_out(export)

        exports.settle()

        ended = Export.objects.get(pk=export.pk)
        assert ended.status == Status.FAILED
        assert "5 attempts" in ended.error_text
        assert "70 of 100 records" in ended.error_text

    def test_ends_what_was_left_while_cancelling(self):
        claim = taken()
        exports.cancel(export_id=claim.export.pk)
        exports.settle()
        assert status(claim.export) == Status.CANCELLING
        let_lease_run_out(claim.export)

        exports.settle()

        assert status(claim.export) == Status.CANCELLED

    def test_expires_what_was_kept_long_enough(self):
        kept, over = taken(), taken()
        published(kept)
        jobs.begin_publishing(over, **FILE)
        jobs.succeed(over, **PROVEN | {"keep_days": 0})

        exports.settle()

        assert status(kept.export) == Status.SUCCEEDED
        assert status(over.export) == Status.EXPIRED


class TestGuards:
    LEGAL = set(guards.TRANSITIONS[Export])

    @pytest.mark.parametrize(
        ("start", "end"),
        [pair for pair in itertools.permutations(Status.values, 2)],  # noqa: C416
    )
    def test_let_the_listed_steps_pass_and_no_other(self, start, end):
        export = Export.objects.create(**complete(start))
        wanted = {
            name: value
            for name, value in complete(end).items()
            if name in guards.MUTABLE_COLUMNS[Export]
        }
        moving = Export.objects.filter(pk=export.pk)

        if (start, end) in self.LEGAL:
            moving.update(**wanted)
            assert status(export) == end
        else:
            with pytest.raises(TransitionRefused):
                moving.update(**wanted)

    def test_keep_the_row_and_what_was_asked(self):
        export = ask()

        with pytest.raises(errors.DatabaseForbids), transaction.atomic():
            Export.objects.all()._raw_delete("default")
        with pytest.raises(errors.DatabaseForbids), transaction.atomic():
            Export.objects.filter(pk=export.pk).update(with_csv=True)

        assert list(Export.objects.all()) == [export]


def complete(word):
    """A row that may have this status."""
    live = word in {"requested", "running", "publishing", "waiting", "cancelling"}
    held = word in {"running", "publishing", "cancelling"}
    made = word in {"publishing", "succeeded", "expired"}
    return {
        "export_id": make_run().run_id,
        "run_id": make_run().run_id,
        "requested_by": 1,
        "requested_at": NOON,
        "with_csv": False,
        "with_payloads": False,
        "provisional": False,
        "status": word,
        "step": "writing",
        "attempt": 1,
        "fence": 1,
        "lease_owner": "w" if held else None,
        "lease_until": NOON if held else None,
        "due_at": NOON if word == "waiting" else None,
        "finished_at": None if live else NOON,
        "records_done": 0,
        "error_code": "x",
        "error_text": "x",
        "file_sha256": "a" * 64 if made else None,
        "file_bytes": 1 if made else None,
        "file_name": "x" if made else None,
        "root": "b" * 64 if made else None,
        "expires_at": NOON if made else None,
    }
