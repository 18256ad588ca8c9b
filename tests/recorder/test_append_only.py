"""The trail as the application's login sees it: it grows, and nothing else happens to it."""

from __future__ import annotations

import itertools

import psycopg
import pytest
from django.apps import apps
from django.db import connection, connections, models, transaction
from django.db.utils import DatabaseError

from audit.errors import SchemaMismatch
from audit.integrity import schema
from audit.models import (
    AUDIT_MODELS,
    EVIDENCE_MODELS,
    KEPT_MODELS,
    Batch,
    Node,
    NodeState,
    Operation,
    Row,
    Run,
    Token,
)
from audit.recorder import guards
from tests.recorder.world import NOON

DENIED = "42501"
TABLES = [model._meta.db_table for model in AUDIT_MODELS]
# What proves the trail: guarded as it is, with tests of its own.
PROOFS = [model._meta.db_table for model in EVIDENCE_MODELS]
KEPT = [*(model._meta.db_table for model in KEPT_MODELS), "payloads"]
# Tables that are no evidence: computed from it, or about this installation.
NO_EVIDENCE = {
    "api_tokens",
    "django_migrations",
    "findings",
    "imports",
    "parts",
    "purge_kept",
    "retention_guard",
    "run_journeys",
    "run_summaries",
    "schema_info",
    "shared_values",
}


def refusal(statement, parameters=None):
    """The SQLSTATE with which PostgreSQL refuses a statement; None where it does it."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement, parameters)
    except DatabaseError as error:
        return error.__cause__.sqlstate
    return None


@pytest.fixture
def world(db):
    """One record in each table that may change, all of them open."""
    digest = "0" * 64
    Run.objects.create(
        run_id="r",
        started_at=NOON,
        config_hash=digest,
        settings_json="{}",
        canonical_version="v",
        status="running",
    )
    Node.objects.create(
        run_id="r",
        node_id="n",
        plugin_name="csv",
        node_type="source",
        plugin_version="1",
        determinism="io_read",
        config_hash=digest,
        config_json="{}",
        registered_at=NOON,
    )
    Row.objects.create(
        run_id="r",
        row_id="row",
        source_node_id="n",
        row_index=0,
        source_data_hash=digest,
        created_at=NOON,
    )
    Token.objects.create(run_id="r", token_id="t", row_id="row", created_at=NOON)
    NodeState.objects.create(
        run_id="r",
        state_id="s",
        token_id="t",
        node_id="n",
        step_index=0,
        attempt=0,
        status="open",
        input_hash=digest,
        started_at=NOON,
    )
    Batch.objects.create(
        run_id="r",
        batch_id="b",
        aggregation_node_id="n",
        attempt=0,
        status="draft",
        created_at=NOON,
    )
    Operation.objects.create(
        run_id="r",
        operation_id="o",
        node_id="n",
        operation_type="source_load",
        started_at=NOON,
        status="open",
    )


@pytest.mark.django_db
class TestEveryAuditTable:
    @pytest.mark.parametrize("table", TABLES)
    @pytest.mark.parametrize(
        "attack",
        [
            "DELETE FROM {table}",
            "DELETE FROM {table} WHERE false",
            "TRUNCATE {table}",
            "TRUNCATE {table} CASCADE",
            "UPDATE {table} SET run_id = run_id",
            "UPDATE {table} SET run_id = 'other' WHERE false",
            "ALTER TABLE {table} DISABLE TRIGGER ALL",
            "ALTER TABLE {table} DISABLE TRIGGER landscape_append_only",
            "ALTER TABLE {table} DROP COLUMN run_id",
            "ALTER TABLE {table} RENAME TO mine",
            "DROP TRIGGER landscape_append_only ON {table}",
            "DROP TABLE {table}",
            "CREATE RULE quiet AS ON INSERT TO {table} DO INSTEAD NOTHING",
            "CREATE TRIGGER quiet BEFORE INSERT ON {table} EXECUTE FUNCTION suppress()",
            "CREATE TABLE mine () INHERITS ({table})",
            "CREATE POLICY mine ON {table} USING (false)",
            "COMMENT ON TABLE {table} IS 'mine'",
            "LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE",
            "MERGE INTO {table} a USING (SELECT 1) b ON false WHEN MATCHED THEN DELETE",
        ],
    )
    def test_refuses(self, table, attack):
        assert refusal(attack.format(table=table)) in {DENIED, guards.ONLY_GROWS}

    @pytest.mark.parametrize(
        "attack",
        [
            "SET session_replication_role = replica",
            "SELECT set_config('session_replication_role', 'replica', false)",
            "SELECT set_config('session_replication_role', 'replica', true)",
            "SET LOCAL ROLE landscape_owner",
            "SET SESSION AUTHORIZATION landscape_owner",
            (
                "CREATE OR REPLACE FUNCTION public.landscape_append_only() RETURNS trigger"
                " LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'"
            ),
            "ALTER FUNCTION public.landscape_append_only() RENAME TO mine",
            "ALTER ROLE CURRENT_USER SUPERUSER",
            "ALTER DATABASE landscape SET session_replication_role = replica",
        ],
    )
    def test_cannot_be_reached_by_another_way(self, attack):
        assert refusal(attack) == DENIED

    @pytest.mark.parametrize("model", AUDIT_MODELS, ids=TABLES)
    def test_refuses_to_overwrite_what_is_there(self, model):
        columns = [field.column for field in model._meta.concrete_fields]
        key = getattr(model._meta.pk, "field_names", None) or (model._meta.pk.name,)
        attack = "INSERT INTO {} ({}) SELECT {} FROM {} ON CONFLICT ({}) DO UPDATE SET {}".format(
            model._meta.db_table,
            ", ".join(columns),
            ", ".join(columns),
            model._meta.db_table,
            ", ".join(key),
            ", ".join(f"{column} = excluded.{column}" for column in columns),
        )

        assert refusal(attack) == DENIED

    @pytest.mark.parametrize("model", AUDIT_MODELS, ids=TABLES)
    def test_grants_an_update_of_listed_columns_only(self, model):
        columns = {field.column for field in model._meta.concrete_fields}
        granted = set(guards.MUTABLE_COLUMNS.get(model, ()))

        denied = {
            column
            for column in columns
            if refusal(f"UPDATE {model._meta.db_table} SET {column} = {column} WHERE false")
            == DENIED
        }

        assert denied == columns - granted

    def test_is_guarded_always_even_against_a_superuser(self):
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT relname FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid "
                "WHERE tgname = 'landscape_append_only' AND tgenabled = 'A' "
                "AND relnamespace = 'public'::regnamespace"
            )
            assert {name for (name,) in cursor.fetchall()} == {*TABLES, *PROOFS, *KEPT}

    def test_is_on_the_list_of_guarded_tables(self):
        """A new table is evidence, guards and all, unless it says here why it is none."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
            live = {name for (name,) in cursor.fetchall()}
        others = {
            model._meta.db_table
            for model in apps.get_models(include_auto_created=True)
            if model._meta.app_label != "audit"
        }

        assert live - others - NO_EVIDENCE == {*TABLES, *PROOFS, *KEPT}

    def test_refuses_an_update_by_the_owner_too(self, world):
        with (
            psycopg.connect(**connections["owner"].get_connection_params()) as owner,
            pytest.raises(psycopg.Error) as refused,
        ):
            owner.execute("UPDATE tokens SET row_id = 'x' WHERE false")

        assert refused.value.sqlstate == guards.ONLY_GROWS


class TestLocks:
    @pytest.mark.parametrize("table", ["runs", "node_states", "batches", "operations"])
    def test_an_open_record_can_be_locked(self, world, table):
        assert refusal(f"SELECT 1 FROM {table} FOR NO KEY UPDATE") is None


ALL_PAIRS = [
    (model, start, end)
    for model in guards.TRANSITIONS
    if model in AUDIT_MODELS  # of exports: tests/exports/test_jobs.py
    for start, end in itertools.permutations(model._meta.get_field("status").choices, 2)
]


class TestTransitions:
    @pytest.mark.parametrize(
        ("model", "start", "end"),
        [(model, start[0], end[0]) for model, start, end in ALL_PAIRS],
        ids=lambda part: part if isinstance(part, str) else part._meta.db_table,
    )
    def test_are_the_listed_ones_only(self, world, model, start, end):
        table = model._meta.db_table
        self._make(model, start)

        got = refusal(f"UPDATE {table} SET status = '{end}'{self._with(model, end)}")

        expected = None if (start, end) in guards.TRANSITIONS[model] else guards.NOT_A_TRANSITION
        assert got == expected

    def _make(self, model, status):
        """Bring the one open record into the state in question, by steps that are legal."""
        record = model.objects.get()
        assert record.status in {"running", "open", "draft"}
        if status == record.status:
            return
        with connection.cursor() as cursor:
            path = self._path(model, record.status, status)
            for step in path:
                cursor.execute(
                    f"UPDATE {model._meta.db_table} SET status = '{step}'{self._with(model, step)}"
                )

    def _path(self, model, start, end):
        if (start, end) in guards.TRANSITIONS[model]:
            return [end]
        return next(
            [middle, end]
            for middle in {to for _from, to in guards.TRANSITIONS[model]}
            if {(start, middle), (middle, end)} <= set(guards.TRANSITIONS[model])
        )

    def _with(self, model, status):
        if model is NodeState:
            ended = "NULL" if status == "open" else "started_at"
            output = "input_hash" if status == "completed" else "NULL"
            return (
                f", completed_at = {ended}, output_hash = {output},"
                f" duration_ms = {'NULL' if status == 'open' else '1'}"
            )
        return ""


class TestWhatNeverChanges:
    @pytest.mark.parametrize("model", guards.MUTABLE_COLUMNS, ids=lambda m: m._meta.db_table)
    def test_stays_for_the_owner_too(self, world, model):
        """The rights keep the application out; the row guard keeps everybody out."""
        source = guards.functions()[guards.transition_name(model)]

        fixed = {
            field.column
            for field in model._meta.concrete_fields
            if field.column not in guards.MUTABLE_COLUMNS[model]
        }
        assert all(f"OLD.{column}" in source.split("IS DISTINCT FROM")[0] for column in fixed)

    def test_an_ended_state_keeps_its_output(self, world):
        assert (
            refusal(
                "UPDATE node_states SET status = 'completed', output_hash = input_hash,"
                " completed_at = started_at, duration_ms = 1"
            )
            is None
        )

        for change in ("output_hash = repeat('1', 64)", "duration_ms = 2", "completed_at = now()"):
            assert refusal(f"UPDATE node_states SET {change}") == guards.NOT_A_TRANSITION

    def test_an_open_record_keeps_what_it_has(self, world):
        assert refusal("UPDATE batches SET trigger_reason = 'x'") == guards.NOT_A_TRANSITION

    def test_a_run_that_ended_keeps_its_end_and_may_be_exported_and_graded(self, world):
        assert refusal("UPDATE runs SET status = 'completed', completed_at = started_at") is None

        assert refusal("UPDATE runs SET completed_at = now()") == guards.NOT_A_TRANSITION
        assert refusal("UPDATE runs SET export_status = 'pending', export_format = 'csv'") is None
        assert refusal("UPDATE runs SET reproducibility_grade = 'attributable_only'") is None


@pytest.mark.django_db
class TestCheckSchema:
    def test_finds_nothing_on_a_migrated_database(self):
        schema.check()

    def test_finds_another_time_limit(self, monkeypatch):
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 0")

        with pytest.raises(SchemaMismatch, match="statement_timeout is 0, not 4000"):
            schema.check()

    @pytest.mark.parametrize("name", guards.functions())
    def test_finds_a_guard_that_does_something_else(self, monkeypatch, name):
        changed = guards.functions() | {name: "CREATE $$ BEGIN RETURN NEW; END $$"}
        monkeypatch.setattr(guards, "functions", lambda: changed)

        with pytest.raises(SchemaMismatch, match=f"function {name} is another one"):
            schema.check()


@pytest.mark.django_db(databases=["default", "owner"])
class TestSessions:
    @pytest.mark.parametrize("alias", ["default", "owner"])
    def test_are_held_to_their_limits(self, alias, settings):
        wanted = settings.DATABASE_SESSIONS[alias]
        with connections[alias].cursor() as cursor:
            cursor.execute(
                "SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", [list(wanted)]
            )
            assert dict(cursor.fetchall()) == wanted


def test_models_with_transitions_have_rights_and_steps():
    assert set(guards.TRANSITIONS) == set(guards.MUTABLE_COLUMNS)
    for model in guards.TRANSITIONS:
        assert isinstance(model._meta.get_field("status"), models.CharField)
