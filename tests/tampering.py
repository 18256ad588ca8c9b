"""Somebody who can do everything to the database, and a place of its own for keys and seals."""

from __future__ import annotations

import psycopg
import pytest
from django.db import connections

from landscape_site.places import Places, secret
from landscape_site.postgres import CLUSTER_LOGIN
from tests.services_plugin import VAR


class Tamperer:
    """Changes the database past guards and foreign keys, as a superuser can."""

    def __call__(self, *statements):
        """Do it; what a rule of the table itself refuses is refused, and nothing is done then."""
        login = {"user": CLUSTER_LOGIN, "password": secret(Places(VAR).password(CLUSTER_LOGIN))}
        with psycopg.connect(**connections["owner"].get_connection_params() | login) as owner:
            owner.execute("SET session_replication_role = replica")
            guards = owner.execute(
                "SELECT relname, tgname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid"
                " WHERE tgenabled = 'A' AND NOT tgisinternal"
            ).fetchall()
            for table, guard in guards:
                owner.execute(f'ALTER TABLE "{table}" DISABLE TRIGGER "{guard}"')
            for statement in statements:
                self.do(owner, statement)
            for table, guard in guards:
                owner.execute(f'ALTER TABLE "{table}" ENABLE ALWAYS TRIGGER "{guard}"')

    def do(self, owner, statement):
        """One statement, or one with its values."""
        owner.execute(*statement) if isinstance(statement, tuple) else owner.execute(statement)


class Trier(Tamperer):
    """The same, save that a statement which a rule of the table refuses is left out."""

    def __call__(self, *statements):
        """Do those that can be done; say of each whether it was."""
        self.done = []
        super().__call__(*statements)
        return self.done

    def do(self, owner, statement):
        try:
            with owner.transaction():
                super().do(owner, statement)
        except psycopg.errors.IntegrityError:
            self.done.append(False)
        else:
            self.done.append(True)


class unwritable:  # noqa: N801  # reads as a statement
    """A table to which the application cannot add for the length of a block."""

    def __init__(self, table):
        self.table = table

    def __enter__(self):
        self.run(f"REVOKE INSERT ON {self.table} FROM landscape_app")

    def __exit__(self, *_):
        self.run(f"GRANT INSERT ON {self.table} TO landscape_app")

    def run(self, statement):
        with psycopg.connect(**connections["owner"].get_connection_params()) as owner:
            owner.execute(statement)


@pytest.fixture
def tamper() -> Tamperer:
    return Tamperer()


@pytest.fixture
def own_var(settings, tmp_path):
    """Keys and sealed text of one test, and a name for its authority."""
    settings.LANDSCAPE_VAR = tmp_path / "var"
    settings.SIGNING_KEY_FILE = tmp_path / "var" / "secrets" / "signing_key.pem"
    settings.LANDSCAPE_AUTHORITY = "audit.example.com/landscape"
