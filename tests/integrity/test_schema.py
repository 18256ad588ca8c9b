"""The live schema against the models: whatever is altered is found and named."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections

from audit import migrations
from audit.errors import SchemaMismatch
from audit.integrity import schema
from audit.models import AUDIT_MODELS, SCHEMA_VERSION
from audit.recorder import guards

LAST_MIGRATION = max(path.stem for path in Path(migrations.__file__).parent.glob("0*.py"))

pytestmark = pytest.mark.django_db(databases=["default", "owner"], transaction=True)


@pytest.fixture
def altered():
    """Alter the schema as its owner, and put it back."""
    undo = []

    def alter(statement, back):
        undo.append(back)
        with connections["owner"].cursor() as cursor:
            cursor.execute(statement)

    yield alter
    with connections["owner"].cursor() as cursor:
        for statement in reversed(undo):
            cursor.execute(statement)
    if undo:
        guards.apply()  # a rule made again has lost its comment


TOKENS_ROW = "CONSTRAINT tokens_row FOREIGN KEY (run_id, row_id) REFERENCES rows (run_id, row_id)"

DIFFERENCES = {
    "a column of another type": (
        "ALTER TABLE rows ALTER COLUMN row_index TYPE integer",
        "ALTER TABLE rows ALTER COLUMN row_index TYPE bigint",
        "column row_index of rows is integer not null, not bigint not null",
    ),
    "a column that may be null": (
        "ALTER TABLE rows ALTER COLUMN source_data_hash DROP NOT NULL",
        "ALTER TABLE rows ALTER COLUMN source_data_hash SET NOT NULL",
        "column source_data_hash of rows",
    ),
    "another collation": (
        'ALTER TABLE nodes ALTER COLUMN plugin_name TYPE text COLLATE "default"',
        'ALTER TABLE nodes ALTER COLUMN plugin_name TYPE text COLLATE "C"',
        "column plugin_name of nodes is text not null, not text not null collate C",
    ),
    "other statistics": (
        "ALTER TABLE tokens ALTER COLUMN run_id SET STATISTICS 100",
        "ALTER TABLE tokens ALTER COLUMN run_id SET STATISTICS 0",
        "column run_id of tokens",
    ),
    "an extra column": (
        "ALTER TABLE calls ADD COLUMN mood text",
        "ALTER TABLE calls DROP COLUMN mood",
        "column mood of calls is not in the models: text",
    ),
    "a missing foreign key": (
        "ALTER TABLE tokens DROP CONSTRAINT tokens_row",
        f"ALTER TABLE tokens ADD {TOKENS_ROW}",
        "foreign key tokens_row of tokens is missing",
    ),
    "a foreign key that was never checked": (
        f"ALTER TABLE tokens DROP CONSTRAINT tokens_row, ADD {TOKENS_ROW} NOT VALID",
        "ALTER TABLE tokens VALIDATE CONSTRAINT tokens_row",
        "NOT VALID",
    ),
    "a missing check": (
        "ALTER TABLE runs RENAME CONSTRAINT runs_status_known TO elsewhere",
        "ALTER TABLE runs RENAME CONSTRAINT elsewhere TO runs_status_known",
        "check runs_status_known of runs is missing",
    ),
    "a missing unique rule": (
        "ALTER INDEX token_outcomes_one_final RENAME TO elsewhere",
        "ALTER INDEX elsewhere RENAME TO token_outcomes_one_final",
        "index token_outcomes_one_final of token_outcomes is missing",
    ),
    "a missing index": (
        "DROP INDEX tokens_by_row",
        "CREATE INDEX tokens_by_row ON tokens (run_id, row_id)",
        "index tokens_by_row of tokens is missing",
    ),
    "a guard that sleeps": (
        "ALTER TABLE edges DISABLE TRIGGER landscape_append_only",
        "ALTER TABLE edges ENABLE ALWAYS TRIGGER landscape_append_only",
        "trigger landscape_append_only of edges",
    ),
    "a guard that a replica would skip": (
        "ALTER TABLE edges ENABLE TRIGGER landscape_append_only",
        "ALTER TABLE edges ENABLE ALWAYS TRIGGER landscape_append_only",
        "enabled O, not",
    ),
    "a right too many": (
        "GRANT DELETE ON edges TO landscape_app",
        "REVOKE DELETE ON edges FROM landscape_app",
        "the application should not have delete on edges",
    ),
    "a right for everybody": (
        "GRANT UPDATE ON edges TO PUBLIC",
        "REVOKE UPDATE ON edges FROM PUBLIC",
        "the application should not have update on edges",
    ),
    "a right too few": (
        "REVOKE INSERT ON rows FROM landscape_app",
        "GRANT INSERT ON rows TO landscape_app",
        "the application lacks insert on rows",
    ),
    "another version": (
        "UPDATE schema_info SET version = 99",
        f"UPDATE schema_info SET version = {SCHEMA_VERSION}",
        "schema version 99",
    ),
    "an open migration": (
        f"DELETE FROM django_migrations WHERE name = '{LAST_MIGRATION}'",
        f"INSERT INTO django_migrations VALUES (DEFAULT, 'audit', '{LAST_MIGRATION}', now())",
        f"audit.{LAST_MIGRATION} is not applied",
    ),
    "a missing table": (
        "ALTER TABLE checkpoints RENAME TO elsewhere",
        "ALTER TABLE elsewhere RENAME TO checkpoints",
        "table checkpoints is missing",
    ),
}


class TestCheck:
    def test_is_silent_about_a_fresh_database(self):
        schema.check()

    @pytest.mark.parametrize("kind", DIFFERENCES)
    def test_names(self, kind, altered):
        statement, back, told = DIFFERENCES[kind]
        altered(statement, back)

        with pytest.raises(SchemaMismatch) as found:
            schema.check()

        assert told in str(found.value)

    def test_names_every_difference_at_once(self, altered):
        for kind in ("an extra column", "a missing index", "a right too many"):
            altered(*DIFFERENCES[kind][:2])

        with pytest.raises(SchemaMismatch) as found:
            schema.check()

        assert len(found.value.differences) == 3

    def test_leaves_nothing_behind(self):
        schema.check()

        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema()")
            assert cursor.fetchone()[0] == 0


class TestTheCommand:
    def test_says_so_when_nothing_differs(self):
        out = io.StringIO()

        call_command("check_schema", stdout=out)

        assert "nothing differs" in out.getvalue()

    def test_fails_with_the_differences(self, altered):
        altered(*DIFFERENCES["a missing index"][:2])

        with pytest.raises(CommandError, match="tokens_by_row"):
            call_command("check_schema")


class TestComments:
    def test_say_why_each_constraint_and_index_is_there(self):
        with connection.cursor() as cursor:
            for model in AUDIT_MODELS:
                for rule in (*model._meta.constraints, *model._meta.indexes):
                    cursor.execute(
                        "SELECT coalesce((SELECT obj_description(oid, 'pg_constraint') "
                        "FROM pg_constraint WHERE conname = %(name)s), "
                        "(SELECT obj_description(oid, 'pg_class') FROM pg_class "
                        "WHERE relname = %(name)s))",
                        {"name": rule.name},
                    )
                    assert cursor.fetchone()[0], rule.name
