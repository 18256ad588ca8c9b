"""The engine of both logins: every fault has a name, and a lost connection is not used again."""

from __future__ import annotations

import os
import subprocess
import sys

import psycopg
import pytest
from django.db import DatabaseError, IntegrityError, OperationalError, connection, transaction

from audit import errors
from audit.recorder import bulk
from tests.running import ROOT

pytestmark = pytest.mark.django_db(transaction=True)


def fail(state):
    """Let PostgreSQL fail with this SQLSTATE."""
    with connection.cursor() as cursor:
        cursor.execute(f"DO $$ BEGIN RAISE EXCEPTION 'made up' USING ERRCODE = '{state}'; END $$")


class TestNames:
    @pytest.mark.parametrize(
        ("state", "name"),
        [
            ("LS001", errors.TrailOnlyGrows),
            ("LS002", errors.TransitionRefused),
            ("LS003", errors.ColumnFixed),
            ("08006", errors.DatabaseUnavailable),
            ("25006", errors.DatabaseReadOnly),
            ("25P02", errors.TransactionLost),
            ("28000", errors.DatabaseForbids),
            ("40001", errors.DatabaseBusy),
            ("40P01", errors.DatabaseBusy),
            ("42501", errors.DatabaseForbids),
            ("53100", errors.DatabaseFull),
            ("53300", errors.DatabaseBusy),
            ("55P03", errors.DatabaseBusy),
            ("57014", errors.DatabaseBusy),
            ("57P01", errors.DatabaseUnavailable),
            ("58030", errors.DatabaseUnavailable),
        ],
    )
    def test_stand_for_what_postgresql_says(self, state, name):
        with pytest.raises(name, match="made up") as told:
            fail(state)

        assert type(told.value) is name
        assert told.value.__cause__.sqlstate == state
        # Whoever catches Django's errors, Django itself above all, catches ours.
        assert isinstance(told.value, DatabaseError)
        fail_not()

    def test_are_djangos_where_it_is_no_fault_of_the_database(self):
        with pytest.raises(IntegrityError, match="made up"):
            fail("23505")
        with pytest.raises(DatabaseError) as told:
            fail("22012")
        assert not isinstance(told.value, errors.AuditError)

    def test_tell_faults_that_end_by_waiting_as_operational(self):
        assert issubclass(errors.DatabaseFault, OperationalError)
        assert not issubclass(errors.GuardRefused, OperationalError)


def fail_not():
    """The next statement works, whatever happened before."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)


class TestLostConnection:
    def test_is_an_error_once_and_the_next_statement_connects_anew(self):
        """Without a transaction too, where Django would use the dead connection for ever."""
        connection.ensure_connection()
        pid = connection.connection.info.backend_pid
        with psycopg.connect(**connection.get_connection_params(), autocommit=True) as same_login:
            same_login.execute("SELECT pg_terminate_backend(%s, 1000)", [pid])

        with pytest.raises(errors.DatabaseUnavailable):
            fail_not()
        fail_not()


class TestPatience:
    def test_is_shorter_than_five_seconds_and_longer_than_the_servers(self, settings):
        connection.ensure_connection()
        server = int(settings.DATABASE_SESSIONS["default"]["statement_timeout"]) / 1000

        assert server < connection.connection.patience < 5

    @pytest.mark.parametrize(
        ("lift", "patience"), [(bulk.without_time_limits, None), (bulk.allow_minutes, 601)]
    )
    @pytest.mark.parametrize("end", ["commit", "rollback"])
    def test_is_lifted_for_one_transaction(self, lift, patience, end):
        connection.ensure_connection()
        usual = connection.connection.patience

        with transaction.atomic():
            lift()
            assert connection.connection.patience == patience
            transaction.set_rollback(end == "rollback")

        assert connection.connection.patience == usual

    @pytest.mark.parametrize("role", ["web", "worker"])
    def test_of_pages_and_jobs_is_longer(self, role):
        code = (
            "from django.conf import settings as s; "
            "print(s.DATABASES['default']['OPTIONS']['patience'] * 1000"
            " > int(s.DATABASE_SESSIONS['default']['statement_timeout']) > 10_000)"
        )
        environment = os.environ | {"LANDSCAPE_ROLE": role}
        environment |= {"DJANGO_SETTINGS_MODULE": "landscape_site.settings"}
        said = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, cwd=ROOT, check=True
        )

        assert said.stdout == b"True\n"
