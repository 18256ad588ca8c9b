"""Fixtures for every test: two logins, one throw-away database, and the house's own measures."""

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.contrib.auth.models import Group
from django.core.cache import cache, caches
from django.db import connection, connections
from django.db.utils import Error as DatabaseError
from django.test import Client, TransactionTestCase
from psycopg import sql

from landscape_site.places import Places
from landscape_site.postgres import create_cluster
from tests.running import ROOT, Site, servers, until

pytest_plugins = ["tests.browser_fixtures"]

# What migrations filled; everything else belongs to the test that wrote it.
_KEPT_TABLES = [
    "auth_group",
    "auth_group_permissions",
    "auth_permission",
    "django_content_type",
    "django_migrations",
    "retention_guard",
    "schema_info",
]


@pytest.fixture(scope="session")
def django_db_setup(django_test_environment, django_db_blocker) -> Iterator[None]:
    """Create this process's database as the owner, and point the application's login at it."""
    owner = connections["owner"]
    # One database for each process: workers and several sessions at once do not meet.
    name = f"test_landscape_{os.getpid()}"
    with django_db_blocker.unblock():
        _drop_forgotten_databases(owner)
        _create_database(owner, name)
        login, database = _who_and_where()
        assert login == "landscape_app"
        assert database == name
        assert database.startswith("test_")
    with pytest.MonkeyPatch.context() as patch:
        # Django's own flushes, which the guards on the audit tables refuse.
        patch.setattr(TransactionTestCase, "_fixture_teardown", empty_tables)
        yield
    with django_db_blocker.unblock():
        for each in connections.all():
            each.close()
        owner.creation.destroy_test_db(settings.DATABASES["owner"]["NAME"], verbosity=0)


def _create_database(owner: Any, name: str) -> None:
    """Copy a database that migrations have filled; the first to need it makes it."""
    filled = f"filled_landscape_{_schema_digest()}"
    with owner._nodb_cursor() as cursor:
        # Until the connection ends: everybody else waits, and then finds it made.
        cursor.execute("SET lock_timeout = 0")
        cursor.execute("SELECT pg_advisory_lock(hashtext('filled'))")
        cursor.execute("SELECT datname FROM pg_database WHERE datname LIKE 'filled\\_%'")
        found = {name for (name,) in cursor.fetchall()}
        if filled not in found:
            for outdated in found:
                cursor.execute(f'DROP DATABASE IF EXISTS "{outdated}"')
            half = f"test_{filled}"
            owner.settings_dict["TEST"]["NAME"] = half
            owner.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
            owner.close()
            cursor.execute(f'ALTER DATABASE "{half}" RENAME TO "{filled}"')
        cursor.execute(f'CREATE DATABASE "{name}" TEMPLATE "{filled}"')
    for alias in ("owner", "default"):
        settings.DATABASES[alias]["NAME"] = connections[alias].settings_dict["NAME"] = name


def _schema_digest() -> str:
    """What an empty database is made from: migrations, models, guards and the apps installed."""
    digest = hashlib.sha256()
    folders = ("migrations", "models", "recorder", "management/commands")
    made_from = [path for folder in folders for path in (ROOT / "audit" / folder).glob("*.py")]
    others = ("audit/vocabulary.py", "landscape_site/settings.py", "requirements.txt")
    for path in sorted([*made_from, *map(ROOT.joinpath, others)]):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _who_and_where() -> tuple[str, str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user, current_database()")
        return cursor.fetchone()


def _drop_forgotten_databases(owner: Any) -> None:
    """Drop the databases of sessions that were killed."""
    with owner._nodb_cursor() as cursor:
        cursor.execute("SELECT datname FROM pg_database WHERE datname LIKE 'test\\_landscape\\_%'")
        for (name,) in cursor.fetchall():
            if not os.path.exists(f"/proc/{name.rsplit('_', 1)[1]}"):  # noqa: PTH110
                # Another session may be doing the same.
                with suppress(DatabaseError):
                    cursor.execute(f'DROP DATABASE IF EXISTS "{name}"')


def empty_tables(_test_case: TransactionTestCase | None = None) -> None:
    """Empty what a test wrote, as the owner, past the guards and in one transaction."""
    with psycopg.connect(**connections["owner"].get_connection_params()) as owner:
        # A statement forgotten in some thread must not hang the session.
        owner.execute("SET LOCAL lock_timeout = '20s'")
        tables = owner.execute(
            "SELECT tablename FROM pg_tables"
            " WHERE schemaname = 'public' AND NOT tablename = ANY(%s)",
            [_KEPT_TABLES],
        ).fetchall()
        guards = owner.execute(
            "SELECT relname, tgname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid"
            " WHERE tgenabled = 'A' AND NOT tgisinternal"
        ).fetchall()
        for switch in ("DISABLE TRIGGER", "ENABLE ALWAYS TRIGGER"):
            if switch.startswith("ENABLE"):
                names = sql.SQL(", ").join(sql.Identifier(table) for (table,) in tables)
                owner.execute(sql.SQL("TRUNCATE {}").format(names))
            for table, guard in guards:
                owner.execute(
                    sql.SQL("ALTER TABLE {} {} {}").format(
                        sql.Identifier(table), sql.SQL(switch), sql.Identifier(guard)
                    )
                )


@pytest.fixture(scope="session", autouse=True)
def _own_layouts() -> Iterator[None]:
    """Processes of a test session have nothing in common, their cached drawings neither."""
    with tempfile.TemporaryDirectory() as folder:
        settings.CACHES["layouts"]["LOCATION"] = folder
        yield


@pytest.fixture(scope="session", autouse=True)
def _own_counts() -> None:
    """All sessions share one Valkey: each counts under a name of its own."""
    settings.CACHES["default"]["KEY_PREFIX"] = f"test-{os.getpid()}"
    # What was imported before this may have made one, under everybody's name.
    with suppress(AttributeError):
        del caches["default"]


@pytest.fixture(autouse=True)
def _forget_cached() -> Iterator[None]:
    """What one test put in the cache, failed logins above all, is not the next one's business."""
    yield
    cache.clear()


@pytest.fixture
def count_queries() -> Callable[[Callable[[], Any]], int]:
    """Count the statements that a call sends to the database."""

    def count(call: Callable[[], Any]) -> int:
        statements: list[str] = []

        def note(execute, statement, params, many, context):
            statements.append(statement)
            return execute(statement, params, many, context)

        with connection.execute_wrapper(note):
            call()
        return len(statements)

    return count


@pytest.fixture
def read_only() -> Callable[[], AbstractContextManager[None]]:
    """Fail on any statement that is not a question, while the block runs."""

    def refuse_writes(execute, statement, params, many, context):
        words = re.findall(r"[A-Z]+", str(statement).upper())
        asks = words[0] in {"SELECT", "WITH", "EXPLAIN", "SAVEPOINT", "RELEASE"}
        writes = {"INSERT", "UPDATE", "DELETE", "MERGE", "TRUNCATE"}
        # A WITH may hide a write, and so may EXPLAIN ANALYZE; column names are lower case.
        # That a page is given is kept: the one thing that looking at it writes.
        if str(statement).startswith('INSERT INTO "access_events"'):
            return execute(statement, params, many, context)
        hidden = words[0] in {"WITH", "EXPLAIN"} and writes.intersection(
            re.findall(r"\b[A-Z]+\b", str(statement))
        )
        assert asks and not hidden, f"a page that only reads sent: {statement}"  # noqa: PT018
        return execute(statement, params, many, context)

    @contextmanager
    def watch() -> Iterator[None]:
        with connection.execute_wrapper(refuse_writes):
            yield

    return watch


@pytest.fixture
def rounds() -> Callable[[int], int]:
    """How often a fault test repeats: the full count in `make faults`, a quarter otherwise."""
    full_count = os.environ.get("LANDSCAPE_FAULTS") == "full"
    return lambda full: full if full_count else max(1, full // 4)


@pytest.fixture(scope="session")
def new_cluster(tmp_path_factory) -> Callable[[Path], None]:
    """Put a fresh cluster where an installation would create one, in a tenth of the time."""
    template = tmp_path_factory.mktemp("template")
    create_cluster(Places(template))
    return lambda var: shutil.copytree(template, var)


@pytest.fixture
def start(tmp_path) -> Iterator[Callable[..., Site]]:
    """Start a Landscape, without the demo; whatever the test left running is stopped."""
    sites = []

    def start_(*arguments, demo=False, **environment):
        arguments += () if demo else ("--no-demo",)
        sites.append(Site(tmp_path / "var", *arguments, **environment))
        return sites[-1]

    yield start_
    for site in sites:
        if site.process.poll() is None:
            site.process.kill()
            site.wait()
    until(lambda: not servers(tmp_path / "var"))


@pytest.fixture
def person(django_user_model) -> Callable[..., Any]:
    """Make somebody with these roles: `person("viewer")`, `person()`, `person(superuser=True)`."""

    def make(*roles: str, name: str | None = None, superuser: bool = False) -> Any:
        name = name or "-".join(roles).replace(" ", "-") or ("root" if superuser else "nobody")
        create = "create_superuser" if superuser else "create_user"
        made = getattr(django_user_model.objects, create)(name, password="a good long passphrase")
        groups = Group.objects.filter(name__in=roles)
        assert len(groups) == len(roles)
        made.groups.set(groups)
        return made

    return make


@pytest.fixture
def client_of(person) -> Callable[..., Client]:
    """A test client in which somebody with these roles is signed in: `client_of("viewer")`."""

    def make(*roles: str, **asked: Any) -> Client:
        client = Client()
        client.force_login(person(*roles, **asked))
        return client

    return make


@pytest.fixture
def auditor(person):
    """An auditor, who may look at everything. Needs a database (`db` or `transactional_db`)."""
    return person("auditor")


@pytest.fixture
def signed_in(auditor) -> Client:
    """A test client in which the auditor is signed in."""
    client = Client()
    client.force_login(auditor)
    return client
