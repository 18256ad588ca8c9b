"""Big seals and exports: whoever makes which part, and whatever becomes of them, the same bytes."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import asdict

import pytest
from django.db import connection

from audit import exports
from audit.evidence import comparing, parts, seals, sharing, store
from audit.models import Part, Seal
from tests.builders import NOON, make_node, make_run, make_world
from tests.tampering import Tamperer

pytestmark = pytest.mark.django_db(databases=["default", "owner"], transaction=True)

NODES = """
INSERT INTO nodes (run_id, node_id, plugin_name, node_type, plugin_version, determinism,
                   config_hash, config_json, registered_at)
SELECT %s, md5(n::text), 'place', 'transform', '1', 'deterministic', 'x', '{}', now()
  FROM generate_series(1, %s) n
"""


@pytest.fixture(autouse=True)
def _short_lease(settings):
    settings.LANDSCAPE_EXPORT_LEASE = 0.3


def everything_is_big(monkeypatch):
    monkeypatch.setattr(sharing, "SHARED_FROM", 0)


def forget():
    """As if nothing had ever been sealed."""
    Tamperer()("DELETE FROM seal_log", "DELETE FROM seals")


def seal(run_id, **options):
    found = seals.seal_run(run_id=run_id, at=NOON, **options)
    assert not Part.objects.exists()
    return found


class Helpers:
    """Other workers: threads that come when they are called."""

    def __init__(self):
        self.helped = []
        self._threads = []

    def __call__(self, job):
        thread = threading.Thread(target=self._help, args=(job,))
        self._threads.append(thread)
        thread.start()

    def _help(self, job):
        try:
            self.helped.append(sharing.help_with(job=job, owner="h", call=self))
        finally:
            connection.close()

    def leave(self):
        for thread in self._threads:
            thread.join()


@pytest.fixture
def helpers():
    helpers = Helpers()
    yield helpers
    helpers.leave()


def test_one_worker_or_several_come_to_the_same_bytes(monkeypatch, tmp_path, helpers, settings):
    run_id, folders = make_run().run_id, iter(range(9))
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        cursor.execute(NODES, [run_id, store.SEGMENT + 99])

    def export(**options):
        made = exports.export_run(
            run_id=run_id,
            folder=tmp_path / str(next(folders)),
            at=NOON,
            export_id="e",
            zipped=True,
            **options,
        )
        return hashlib.sha256(made.path.read_bytes()).hexdigest()

    in_one_go = export()
    forget()
    monkeypatch.setattr(sharing, "SHARED_FROM", 2)
    monkeypatch.setattr(store, "_CHUNK", 1 << 16)

    together = export(call=helpers)
    helpers.leave()
    forget()
    alone = export()

    assert len(comparing.segments_of(Seal.objects.get())) == 2
    assert helpers.helped.count(True) >= 1
    assert in_one_go == together == alone


class TestProving:
    def test_leaves_segments_to_others_and_copies_what_they_proved(self, monkeypatch, helpers):
        segment = whole_segment()
        monkeypatch.setattr(sharing, "SHARED_FROM", 2)
        waited = []

        with sharing.Proving(
            "j", [segment, segment], call=helpers, wait=lambda: waited.append(1)
        ) as proving:
            helpers.leave()
            proven = proving.by_another(0)
            assert proving.by_another(1) is None

        with store.open_packed(segment) as file:
            assert proven.packed_sha256 == hashlib.sha256(file.read()).hexdigest()
        assert not Part.objects.exists()

    def test_takes_what_nobody_does_and_what_somebody_left_half_done(self, monkeypatch):
        segment = whole_segment()
        monkeypatch.setattr(sharing, "SHARED_FROM", 2)
        waited = []

        def dies(job):
            parts.take(job=job, owner="dead")

        with sharing.Proving(
            "j", [segment, segment], call=dies, wait=lambda: waited.append(1)
        ) as proving:
            assert proving.by_another(0) is None
        assert waited

    @pytest.mark.parametrize("kind", ["segments", "tiles"])
    def test_is_not_told_that_damaged_text_is_proven(self, monkeypatch, settings, helpers, kind):
        segment = whole_segment()
        path = settings.LANDSCAPE_VAR / "seals" / store._place(kind, segment.sha256)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        monkeypatch.setattr(sharing, "SHARED_FROM", 2)

        with sharing.Proving("j", [segment, segment], call=helpers, wait=lambda: None) as proving:
            helpers.leave()
            assert proving.by_another(0) is None


class TestSealing:
    def test_makes_again_what_a_lost_worker_took(self, monkeypatch):
        run_id, lost = make_world().run.run_id, []
        wanted = seal(run_id).root
        forget()
        everything_is_big(monkeypatch)

        found = seal(run_id, call=lambda job: lost.append(parts.take(job=job, owner="lost")))

        assert found.root == wanted
        # It wakes, and finds nothing to change.
        parts.finish(lost[0], {"nonsense": 1})
        assert not Part.objects.exists()

    def test_sees_one_moment_whatever_is_recorded_meanwhile(self, monkeypatch):
        run = make_world().run
        wanted = seal(run.run_id).root
        forget()
        everything_is_big(monkeypatch)

        found = seal(run.run_id, call=lambda _job: make_node(run, "late"))

        assert found.root == wanted

    def test_believes_nothing_that_was_made_for_an_earlier_attempt(self, monkeypatch):
        run_id, lost = make_world().run.run_id, []
        wanted = seal(run_id).root
        forget()
        everything_is_big(monkeypatch)

        def call(job):
            late = parts.take(job=job, owner="late")
            Part.objects.update(token="another", lease_owner=None, lease_until=None)
            parts.finish(late, {"nonsense": 1})
            lost.append(late)
            Part.objects.update(token=late.token)

        assert seal(run_id, call=call).root == wanted
        assert lost

    def test_ends_at_once_when_it_is_not_wanted_any_more(self, monkeypatch):
        run_id = make_world().run.run_id
        everything_is_big(monkeypatch)

        def progress(_done, _total):
            raise KeyError("not wanted")

        with pytest.raises(KeyError):
            seals.seal_run(run_id=run_id, at=NOON, progress=progress)

        assert not Part.objects.exists()
        assert not Seal.objects.exists()

    def test_tells_what_went_wrong_in_a_part(self, monkeypatch):
        run_id = make_world().run.run_id
        everything_is_big(monkeypatch)

        def full(_packing):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(store.Packing, "end", full)
        with pytest.raises(OSError, match="No space left"):
            seals.seal_run(run_id=run_id, at=NOON)

        assert not Part.objects.exists()


class TestHelping:
    def test_leaves_a_part_to_others_when_its_snapshot_is_gone(self, monkeypatch):
        run_id = make_world().run.run_id
        everything_is_big(monkeypatch)
        kept = []

        def call(job):
            kept.extend(Part.objects.filter(job=job))

        seal(run_id, call=call)
        (part,) = kept
        part.save(force_insert=True)

        assert sharing.help_with(job=part.job, owner="late", call=sharing.call_nobody)

        left = Part.objects.get()
        assert (left.made_json, left.lease_until, left.fence) == (None, None, 1)
        assert not sharing.help_with(job="none", owner="h", call=sharing.call_nobody)

    def test_makes_no_part_of_another_version(self, monkeypatch):
        what = {"do": "seal", "run_id": "r", "schema_sha256": "another", "pieces": []}
        parts.open_parts(job="j", work=[parts.Work(records=1, what=what)])

        sharing.help_with(job="j", owner="h", call=sharing.call_nobody)

        assert Part.objects.get().made_json is None


class TestParts:
    def test_are_handed_out_once_from_both_ends(self):
        parts.open_parts(job="j", work=[parts.Work(records=n + 1, what={}) for n in range(4)])

        def take(**options):
            found = parts.take(job="j", owner="w", **options)
            return found and (found.number, found.more)

        assert take() == (0, True)
        assert take(last=True) == (3, True)
        assert take(number=3) is None
        assert take(number=2) == (2, True)
        assert take() == (1, False)
        assert take() is None

    def test_the_next_one_is_another_even_after_the_lease(self, settings):
        settings.LANDSCAPE_EXPORT_LEASE = 0
        parts.open_parts(job="j", work=[parts.Work(records=n + 1, what={}) for n in range(2)])
        first = parts.take(job="j", owner="w")

        second = parts.finish_and_take(first, {"a": 1}, owner="w")

        assert (second.number, second.made) == (1, first.records)
        assert parts.finish_and_take(second, {"a": 2}, owner="w") is None
        assert parts.made(job="j") == {0: {"a": 1}, 1: {"a": 2}}

    def test_are_given_back_by_who_has_them_only(self):
        token = parts.open_parts(job="j", work=[parts.Work(records=1, what={})])
        first = parts.take(job="j", owner="a")
        Part.objects.update(lease_until=NOON)
        second = parts.take(job="j", owner="b")
        assert (first.fence, second.fence) == (1, 2)

        parts.let_go(first)
        assert parts.take(job="j", owner="c") is None
        parts.finish(second, {"a": 1})
        parts.finish(first, {"a": 2})

        assert parts.made(job="j") == {0: {"a": 1}}
        parts.close(job="j", token="another")
        assert Part.objects.exists()
        parts.close(job="j", token=token)
        assert not Part.objects.exists()

    def test_are_forgotten_after_a_day(self):
        parts.open_parts(job="j", work=[parts.Work(records=1, what={})])
        parts.tidy()
        assert Part.objects.exists()

        Part.objects.update(opened_at=NOON)
        parts.tidy()

        assert not Part.objects.exists()


def whole_segment():
    """A complete segment that is kept, of very short lines."""
    writer = store.Writer()
    writer.write(b"%d\n" % each for each in range(store.SEGMENT))
    (segment,) = writer.close()
    assert json.dumps(asdict(segment))
    return segment
