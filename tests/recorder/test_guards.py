"""What the application's login, and even the owner, cannot do to the trail."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.db import Error, connection, connections, transaction

from audit.models import AUDIT_MODELS
from audit.recorder import guards

pytestmark = pytest.mark.django_db(databases=["default", "owner"])

TABLES = [model._meta.db_table for model in AUDIT_MODELS]


def refused(statement: str, *, database: str = "default") -> str:
    """Run a statement that must fail, and return what PostgreSQL said."""
    with (
        pytest.raises(Error) as found,
        transaction.atomic(using=database),
        connections[database].cursor() as cursor,
    ):
        cursor.execute(statement)
    return str(found.value)


class TestTheApplication:
    def test_owns_nothing(self):
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_user")
            assert cursor.fetchone()[0] == "landscape_app"
            cursor.execute("SELECT count(*) FROM pg_tables WHERE tableowner = current_user")
            assert cursor.fetchone()[0] == 0

    @pytest.mark.parametrize("table", TABLES)
    def test_cannot_remove(self, table):
        assert "permission denied" in refused(f'DELETE FROM "{table}"')
        assert "permission denied" in refused(f'TRUNCATE "{table}" CASCADE')

    @pytest.mark.parametrize("table", TABLES)
    def test_cannot_rewrite_a_key(self, table):
        assert "permission denied" in refused(f"UPDATE \"{table}\" SET run_id = 'x'")

    @pytest.mark.parametrize("table", TABLES)
    def test_cannot_put_the_guards_to_sleep(self, table):
        assert "must be owner" in refused(f'ALTER TABLE "{table}" DISABLE TRIGGER ALL')
        assert "permission denied" in refused("SET session_replication_role = replica")

    def test_may_move_on_what_is_open_and_nothing_else(self):
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT table_name, column_name FROM information_schema.column_privileges "
                "WHERE grantee = current_user AND privilege_type = 'UPDATE' "
                "AND table_name = ANY(%s)",
                [TABLES],
            )
            held = set(cursor.fetchall())

        assert held == {
            (model._meta.db_table, column)
            for model, columns in guards.MUTABLE_COLUMNS.items()
            for column in columns
        }


class TestTheOwner:
    @pytest.mark.parametrize("table", TABLES)
    def test_is_stopped_by_the_guard(self, table):
        for statement in (f'DELETE FROM "{table}"', f'TRUNCATE "{table}" CASCADE'):
            assert "only grows" in refused(statement, database="owner")

    @pytest.mark.parametrize(
        "table",
        [m._meta.db_table for m in AUDIT_MODELS if m not in guards.MUTABLE_COLUMNS],
    )
    def test_cannot_update_either(self, table):
        """The statement guard fires though no row is concerned."""
        statement = f"UPDATE \"{table}\" SET run_id = 'x' WHERE false"

        assert "only grows" in refused(statement, database="owner")


class TestApply:
    def test_is_the_same_the_second_time(self):
        guards.apply()
        guards.apply()

    def test_refuses_one_login_for_both(self):
        with pytest.raises(ValueError, match="must differ"):
            guards.apply(owner="owner", application="owner")

    def test_knows_every_table_that_is_led_by_a_run(self):
        """A new table of the trail cannot be forgotten here."""
        ours = {"imports", "findings", "run_summaries"}
        led = {
            model._meta.db_table
            for model in apps.get_app_config("audit").get_models()
            if any(field.name == "run_id" for field in model._meta.concrete_fields)
        }

        assert led - ours == set(TABLES)
