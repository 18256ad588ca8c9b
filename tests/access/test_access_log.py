"""The access log: it chains itself, only grows, and is sealed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.core.files.storage import storages
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction

from audit import access
from audit.errors import AccessLogBroken
from audit.evidence import access_log
from audit.models import AccessEvent, AccessSeal
from audit.vocabulary import AccessAction, AccessResult
from tests.builders import NOON

SHOWN = {
    "at": "at + interval '1 microsecond'",
    "user_id": "user_id + 1",
    "user_name": "user_name || 'x'",
    "action": "'verified'",
    "kind": "NULL",
    "run_id": "run_id || ' '",
    "object_id": "'another'",
    "result": "'refused'",
    "request_id": "'0'",
    "address": "'192.0.2.9'",
    "reason": "NULL",
    "size_bytes": "size_bytes + 1",
    "hash": "repeat('a', 64)",
    "prev_hash": "repeat('b', 64)",
}


def keep(number=1, **told):
    """Events with something in every column; texts that JSON escapes."""
    plain = {
        "action": AccessAction.READ,
        "user_id": 7,
        "user_name": 'Zoë "\\ \u2028\x7f',
        "at": NOON,
        "run_id": "run",
        "object_id": "ä/🂡",
        "kind": "token",
        "reason": "line\nbreak\ttab\x01",
        "size_bytes": 12,
        "asked": access.Asked(request_id="f0", address="192.0.2.1"),
    }
    return [access.record(**plain | told) for _ in range(number)]


@pytest.mark.django_db
class TestTheChain:
    def test_is_made_by_the_database_and_agrees_with_ours(self):
        keep(3)
        keep(user_id=None, user_name=None, action=AccessAction.SIGN_IN_REFUSED, reason=None)

        events = list(AccessEvent.objects.order_by("event_id"))
        before = access_log.NOTHING
        for place, event in enumerate(events, 1):
            assert (event.event_id, event.prev_hash) == (place, before)
            assert event.hash == access_log.hash_of(event, before=before)
            before = event.hash

    def test_does_not_listen_to_what_a_writer_says_of_it(self):
        keep()
        AccessEvent.objects.create(
            event_id=999,
            prev_hash="0" * 64,
            hash="1" * 64,
            action=AccessAction.READ,
            result=AccessResult.GIVEN,
            at=NOON,
        )

        first, second = AccessEvent.objects.order_by("event_id")
        assert (second.event_id, second.prev_hash) == (2, first.hash)
        assert access_log.check().ok

    @pytest.mark.parametrize(
        "statement", ["UPDATE access_events SET reason = ''", "DELETE FROM access_events"]
    )
    def test_is_not_changed_by_the_application(self, statement):
        keep()

        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)

    def test_looks_names_up_and_cuts_what_is_too_long(self, person):
        somebody = person("viewer", name="ann")

        event = access.record(
            action=AccessAction.READ, user_id=somebody.pk, at=NOON, object_id="x" * 100 + "\0"
        )

        assert (event.user_name, len(event.object_id)) == ("ann", 64)

    def test_keeps_changes_of_roles_and_only_those(self, person):
        boss, ann = person("administrator"), person("viewer", name="ann")

        same = access.note_role_change(
            by=boss, person=ann, before=["viewer"], after=["viewer"], at=NOON
        )
        event = access.note_role_change(
            by=boss, person=ann, before=["viewer"], after=["auditor"], at=NOON
        )

        assert same is None
        assert (event.action, event.user_id) == (AccessAction.ROLE_CHANGED, boss.pk)
        assert event.reason == "ann: +auditor, -viewer"


@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    def test_many_writers_make_one_chain(self):
        def write(number):
            try:
                keep(10, object_id=str(number))
            finally:
                connection.close()

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(write, range(6)))

        assert AccessEvent.objects.count() == 60
        assert access_log.check().ok

    def test_an_event_that_was_rolled_back_leaves_no_gap(self):
        with transaction.atomic():
            keep()
            transaction.set_rollback(True)
        keep()

        assert [event.event_id for event in AccessEvent.objects.all()] == [1]


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("own_var")
class TestSealing:
    def test_signs_the_head_once_a_day(self, capsys):
        assert not access_log.is_due(at=NOON)
        keep(3)
        assert access_log.is_due(at=NOON)

        seal = access_log.seal(at=NOON)

        assert (seal.event_id, seal.head_hash) == (3, AccessEvent.objects.get(event_id=3).hash)
        assert access_log.seal(at=NOON) is None
        keep()
        assert not access_log.is_due(at=NOON + timedelta(hours=23))
        assert access_log.is_due(at=NOON + timedelta(hours=24))
        call_command("check_access")
        assert capsys.readouterr().out == (
            "4 access events are as they were written; 3 of them under a seal.\n"
        )
        with storages["seals"].open("access/000000000003.note") as copy:
            assert copy.read().decode() == seal.note

    def test_every_edit_by_a_superuser_is_found_at_its_event(self, tamper):
        made = len(SHOWN)
        keep(made + 1)
        for place, (column, value) in enumerate(SHOWN.items(), 1):
            tamper("CREATE TABLE kept AS SELECT * FROM access_events")
            tamper(f"UPDATE access_events SET {column} = {value} WHERE event_id = {place}")

            first = access_log.check().faults[0]

            assert f"event {place:,} " in first or f"event {place + 1:,} " in first, column
            tamper(
                f"UPDATE access_events e SET {column} = k.{column} FROM kept k"
                f" WHERE k.event_id = e.event_id AND e.event_id = {place}",
                "DROP TABLE kept",
            )
        assert access_log.check().ok

    def test_what_is_taken_out_is_missed(self, tamper, capsys):
        keep(5)
        tamper("DELETE FROM access_events WHERE event_id = 3")

        with pytest.raises(SystemExit):
            call_command("check_access")

        assert "event 3 is gone; the next one is 4" in capsys.readouterr().err
        with pytest.raises(AccessLogBroken, match="event 3 is gone"):
            access_log.seal(at=NOON)
        assert not AccessSeal.objects.exists()

    def test_an_end_cut_off_contradicts_the_seal(self, tamper):
        keep(5)
        access_log.seal(at=NOON)
        tamper("DELETE FROM access_events WHERE event_id > 3")

        (fault,) = access_log.check().faults
        assert "the log ends with event 3, and a seal of 2026-11-22 covers 5 events" in fault
        with pytest.raises(AccessLogBroken):
            access_log.seal(at=NOON)

    def test_a_chain_computed_again_contradicts_the_seal(self, tamper):
        keep(2)
        access_log.seal(at=NOON)
        keep(3)
        access_log.seal(at=NOON + timedelta(days=1))
        self.forge(tamper, number=4)

        (fault,) = access_log.check().faults

        assert fault.startswith("events 3 to 5: something among them is not what was sealed")

    def test_a_seal_taken_out_is_missed_by_its_copy(self, tamper):
        keep()
        access_log.seal(at=NOON)
        tamper("DELETE FROM access_seals")

        assert access_log.check().faults == (
            "a copy of a seal of 1 events is kept; its seal is gone",
        )

    def test_a_seal_over_something_else_is_no_seal(self, tamper):
        keep(2)
        access_log.seal(at=NOON)
        tamper("UPDATE access_seals SET head_hash = repeat('0', 64)")

        assert any("signed over something else" in fault for fault in access_log.check().faults)

    def forge(self, tamper, *, number):
        """Change an event and compute everything behind it again, as somebody could."""
        tamper(f"UPDATE access_events SET user_name = 'mallory' WHERE event_id = {number}")
        before = AccessEvent.objects.get(event_id=number - 1).hash
        for event in AccessEvent.objects.filter(event_id__gte=number).order_by("event_id"):
            made = access_log.hash_of(event, before=before)
            tamper(
                f"UPDATE access_events SET prev_hash = '{before}', hash = '{made}'"
                f" WHERE event_id = {event.event_id}"
            )
            before = made
