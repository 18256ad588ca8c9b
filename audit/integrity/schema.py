"""The live schema against the models: every difference by name.

What the models want is asked of PostgreSQL itself. Inside a transaction that is rolled back,
the models' own DDL builds every table once more as a temporary one; then both catalogues are
read with one query each and compared. So a definition is compared as PostgreSQL prints it,
never as we would guess it. Needs the TEMPORARY right on the database, and no other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.conf import settings
from django.db import connections, transaction
from django.db.migrations.executor import MigrationExecutor

from audit.errors import SchemaMismatch
from audit.models import SCHEMA_VERSION, SchemaInfo
from audit.recorder import guards

if TYPE_CHECKING:
    from django.db import models
    from django.db.backends.base.base import BaseDatabaseWrapper

# One row per part of a table: (kind, table, name, definition).
_CATALOGUE = r"""
WITH ours AS (
    SELECT c.oid, c.relname FROM pg_class c
    WHERE c.relnamespace = %(namespace)s::regnamespace AND c.relkind IN ('r', 'p')
      AND c.relname = ANY(%(tables)s)
), parts AS (
    SELECT 'column' AS kind, o.relname, a.attname AS name,
           format('%%s%%s%%s%%s', format_type(a.atttypid, a.atttypmod),
                  CASE WHEN a.attnotnull THEN ' not null' ELSE '' END,
                  CASE WHEN l.collname IS NULL OR l.collname = 'default' THEN ''
                       ELSE ' collate ' || l.collname END,
                  CASE WHEN a.attstattarget = 0 THEN ' statistics 0' ELSE '' END) AS definition
    FROM ours o JOIN pg_attribute a ON a.attrelid = o.oid
    LEFT JOIN pg_collation l ON l.oid = a.attcollation
    WHERE a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT CASE k.contype WHEN 'p' THEN 'primary key' WHEN 'f' THEN 'foreign key'
                          WHEN 'u' THEN 'unique rule' ELSE 'check' END,
           o.relname, k.conname,
           pg_get_constraintdef(k.oid) || CASE WHEN k.convalidated THEN '' ELSE ' NOT VALID' END
    FROM ours o JOIN pg_constraint k ON k.conrelid = o.oid
    WHERE k.contype IN ('p', 'f', 'u', 'c')
    UNION ALL
    SELECT 'index', o.relname, i.relname, pg_get_indexdef(x.indexrelid)
    FROM ours o JOIN pg_index x ON x.indrelid = o.oid JOIN pg_class i ON i.oid = x.indexrelid
    WHERE NOT EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conindid = x.indexrelid
                      AND k.contype IN ('p', 'u'))
    UNION ALL
    SELECT 'trigger', o.relname, g.tgname,
           pg_get_triggerdef(g.oid) || ' enabled ' || g.tgenabled::text
    FROM ours o JOIN pg_trigger g ON g.tgrelid = o.oid WHERE NOT g.tgisinternal
)
SELECT kind, relname, name,
       regexp_replace(definition, '(public|pg_temp(_\d+)?)\.', '', 'g') FROM parts
"""

_RIGHTS = """
SELECT c.relname, '', lower(p.privilege_type)
FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) p
WHERE c.relnamespace = 'public'::regnamespace AND c.relname = ANY(%(tables)s)
  AND p.grantee IN (0, (SELECT oid FROM pg_roles WHERE rolname = current_user))
UNION ALL
SELECT c.relname, a.attname, lower(p.privilege_type)
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
CROSS JOIN LATERAL aclexplode(a.attacl) p
WHERE c.relnamespace = 'public'::regnamespace AND c.relname = ANY(%(tables)s)
  AND p.grantee IN (0, (SELECT oid FROM pg_roles WHERE rolname = current_user))
"""

Part = tuple[str, str, str]


def check(*, database: str = "default") -> None:
    """Compare the live schema with the models; silence means that they agree.

    Looks at columns (type, nullability, collation, statistics), keys, foreign keys, unique
    rules, checks, indexes, triggers and what their functions do, the application's rights,
    the session's time limits, open migrations and the version in `schema_info`. About 0.3 s;
    writes nothing.

    Raises:
        SchemaMismatch: they differ; the error names every difference.
    """
    connection = connections[database]
    differences = _unapplied(connection) or [
        *_version(database),
        *_shape(connection),
        *_rights(connection),
        *_functions(connection),
        *_session(connection),
    ]
    if differences:
        raise SchemaMismatch(differences)


def _unapplied(connection: BaseDatabaseWrapper) -> list[str]:
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [
        f"migration {migration.app_label}.{migration.name} is not applied: run manage.py migrate"
        for migration, _backwards in plan
    ]


def _version(database: str) -> list[str]:
    held = SchemaInfo.objects.using(database).first()
    if held is None:
        return ["schema_info is empty: this may not be Landscape's database"]
    if held.version != SCHEMA_VERSION:
        told = (
            f"the database has schema version {held.version}, this program needs "
            f"{SCHEMA_VERSION}: use the program version that belongs to it, or migrate"
        )
        return [told]
    return []


def _shape(connection: BaseDatabaseWrapper) -> list[str]:
    ours = list(apps.get_app_config("audit").get_models())
    tables = [model._meta.db_table for model in ours]
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        parameters: dict[str, Any] = {"tables": tables, "namespace": "public"}
        cursor.execute("SET LOCAL search_path = public")
        cursor.execute(_CATALOGUE, parameters)
        live = _by_part(cursor.fetchall())
        _build_temporary(connection, ours)
        cursor.execute("SELECT pg_my_temp_schema()::regnamespace::text")
        parameters["namespace"] = cursor.fetchone()[0]
        cursor.execute(_CATALOGUE, parameters)
        wanted = _by_part(cursor.fetchall())
        transaction.set_rollback(True, using=connection.alias)
    return _differences(wanted=wanted, live=live, tables=tables)


def _build_temporary(connection: BaseDatabaseWrapper, ours: list[type[models.Model]]) -> None:
    """Create every table of the models, with all it carries, in the temporary schema."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL search_path = pg_temp")
        with connection.schema_editor(atomic=False) as editor:
            for model in ours:
                editor.create_model(model)
        for model in guards.GUARDED_MODELS:
            for statement in guards.table_statements(model):
                cursor.execute(statement)


def _by_part(rows: list[tuple[str, str, str, str]]) -> dict[Part, str]:
    return {(kind, table, name): definition for kind, table, name, definition in rows}


def _differences(*, wanted: dict[Part, str], live: dict[Part, str], tables: list[str]) -> list[str]:
    there = {table for _kind, table, _name in live}
    found = [f"table {table} is missing" for table in tables if table not in there]
    for part in sorted(wanted.keys() | live.keys()):
        kind, table, name = part
        if table not in there:
            continue
        if part not in live:
            found.append(f"{kind} {name} of {table} is missing: {wanted[part]}")
        elif part not in wanted:
            found.append(f"{kind} {name} of {table} is not in the models: {live[part]}")
        elif wanted[part] != live[part]:
            found.append(f"{kind} {name} of {table} is {live[part]}, not {wanted[part]}")
    return found


def _rights(connection: BaseDatabaseWrapper) -> list[str]:
    """The application's login: what it may do against what it should be able to do."""
    wanted = guards.expected_rights()
    with connection.cursor() as cursor:
        cursor.execute(_RIGHTS, {"tables": sorted({table for table, _column, _right in wanted})})
        live = set(cursor.fetchall())
        cursor.execute(
            "SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace "
            "AND c.relkind = 'r' AND c.relowner = (SELECT oid FROM pg_roles "
            "WHERE rolname = current_user)"
        )
        owned = [f"the application's login owns {name}" for (name,) in cursor.fetchall()]
    missing = [f"the application lacks {_right(*item)}" for item in sorted(wanted - live)]
    excess = [f"the application should not have {_right(*item)}" for item in sorted(live - wanted)]
    return owned + missing + excess


def _functions(connection: BaseDatabaseWrapper) -> list[str]:
    """What the guards do, not only that they are called."""
    wanted = {name: made.split("$$")[1] for name, made in guards.functions().items()}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace "
            "AND proname = ANY(%s)",
            [list(wanted)],
        )
        live = dict(cursor.fetchall())
    return [
        f"function {name} is {'another one' if name in live else 'missing'}"
        for name, source in wanted.items()
        if live.get(name) != source
    ]


def _session(connection: BaseDatabaseWrapper) -> list[str]:
    """The time limits and the zone of a live session of this login."""
    wanted = settings.DATABASE_SESSIONS[connection.alias]
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", [list(wanted)])
        live = dict(cursor.fetchall())
    return [
        f"the session's {name} is {live[name]}, not {value}"
        for name, value in wanted.items()
        if live[name] != value
    ]


def _right(table: str, column: str, right: str) -> str:
    return f"{right} on {table}({column})" if column else f"{right} on {table}"
