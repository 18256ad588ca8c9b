"""The state of the house: which database answers, as whom, and what it may not do."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import connection

from audit.models import AUDIT_MODELS, SCHEMA_VERSION, SchemaInfo


@dataclass(frozen=True, kw_only=True)
class HouseFacts:
    """What PostgreSQL says of itself and of the login that asks."""

    server_version: str
    login: str
    owner: str
    audit_tables: int
    guarded_tables: int

    @property
    def is_guarded(self) -> bool:
        """Whether the login that serves pages owns nothing and can delete nothing audited."""
        return self.login != self.owner and self.guarded_tables == self.audit_tables


def describe_house() -> HouseFacts:
    """Ask the database about itself, in one query."""
    tables = [model._meta.db_table for model in AUDIT_MODELS]
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT current_setting('server_version'), current_user,
                   pg_get_userbyid((SELECT relowner FROM pg_class WHERE oid = 'runs'::regclass)),
                   count(*),
                   count(*) FILTER (
                       WHERE NOT has_table_privilege(name, 'DELETE')
                         AND NOT has_table_privilege(name, 'TRUNCATE'))
              FROM unnest(%s::text[]) AS name
            """,
            [tables],
        )
        version, login, owner, audit_tables, guarded = cursor.fetchone()
    return HouseFacts(
        server_version=version.split()[0],
        login=login,
        owner=owner,
        audit_tables=audit_tables,
        guarded_tables=guarded,
    )


def schema_fits() -> bool:
    """Whether the database is Landscape's, at the version that this code knows. One query."""
    return SchemaInfo.objects.filter(application="landscape", version=SCHEMA_VERSION).exists()
