"""What the application's login, and even the owner, cannot do to the trail."""

from __future__ import annotations

import pytest
from django.db import Error, connection, connections, transaction

from audit.models import AUDIT_MODELS, EVIDENCE_MODELS
from audit.recorder import guards

pytestmark = pytest.mark.django_db(databases=["default", "owner"])

TABLES = [model._meta.db_table for model in AUDIT_MODELS]
PROOFS = {model._meta.db_table for model in EVIDENCE_MODELS}


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
