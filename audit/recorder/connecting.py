"""Recording from a program that is no Django project: one call configures all there is.

Nothing here may import a model: Django has no settings yet when `connect` is called.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import django
import psycopg
from django.apps import apps
from django.conf import settings
from django.db import connections
from psycopg.conninfo import conninfo_to_dict

from audit.errors import ConnectedOtherwise, NotConnected, NotLandscape
from audit.recorder import sessions

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_DJANGO = {"user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT", "dbname": "NAME"}
_lock = threading.Lock()
# What this process is connected to: settings can be made once only.
_made: dict[str, Any] = {}


def connect(
    url: str,
    *,
    payloads: str | Path | Mapping[str, Any],
    application_name: str = "landscape-pipeline",
) -> None:
    """Let this process record to a Landscape database, as the application's login.

    `payloads` is the folder in which Landscape keeps contents, or a storage as Django's
    `STORAGES` describes one (`{"BACKEND": …, "OPTIONS": …}`). `application_name` is what
    PostgreSQL shows of the sessions. Call it once, before anything is recorded; again with the
    same words is harmless.

    Each thread has a connection of its own, opened by its first call. A forked child drops what
    it inherited, without touching its parent's session, and opens its own.

    Raises:
        ConnectedOtherwise: the process is connected elsewhere, or Django has other settings.
        NotLandscape: no Landscape database, or another version's.
        ValueError: `url` is no address of a PostgreSQL.
    """
    asked = {"url": url, "payloads": payloads, "application_name": application_name}
    with _lock:
        if _made != asked:
            if settings.configured or "DJANGO_SETTINGS_MODULE" in os.environ:
                raise ConnectedOtherwise(_where(_made.get("url")), asked=_where(url))
            settings.configure(
                INSTALLED_APPS=["audit.apps.AuditConfig"],
                DATABASES={"default": _database(url, application_name)},
                DATABASE_SESSIONS={"default": _session(application_name)},
                STORAGES={"payloads": _storage(payloads)},
                TIME_ZONE="UTC",
                USE_TZ=True,
                # How the program logs is its own business.
                LOGGING_CONFIG=None,
            )
            _made.update(asked)
            django.setup()
            os.register_at_fork(after_in_child=_drop_inherited)
    _require_landscape()


def close() -> None:
    """End this thread's session; its next call opens another one.

    For the end of a thread that has recorded. Inside a transaction, that one is lost.
    """
    connections.close_all()


def require_connected() -> None:
    """Say kindly what Django would say about its settings.

    Raises:
        NotConnected: they are not there yet.
    """
    if not apps.models_ready:
        raise NotConnected


def _database(url: str, application_name: str) -> dict[str, Any]:
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        # The error would quote the address, and with it the password.
        raise ValueError("this is no address of a PostgreSQL: postgresql://…") from error
    given = {name: value for name, value in parts.items() if name not in _DJANGO}
    return {
        "ENGINE": "audit.postgresql",
        **{there: str(parts.get(here, "")) for here, there in _DJANGO.items()},
        "OPTIONS": sessions.held_to(
            _session(application_name), given=given, patience=sessions.PATIENCE
        ),
    }


def _session(application_name: str) -> dict[str, str]:
    return sessions.APPLICATION | {"application_name": application_name}


def _storage(payloads: str | Path | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(payloads, str | os.PathLike):
        folder = os.path.abspath(payloads)  # noqa: PTH100  # a link in it may be meant
        return {"BACKEND": "audit.payloads.PayloadFiles", "OPTIONS": {"location": folder}}
    return dict(payloads)


def _where(url: str | None) -> str:
    """An address without its password."""
    if url is None:
        return "what Django's settings say"
    parts = conninfo_to_dict(url)
    return f"{parts.get('user', '')}@{parts.get('host', '')}/{parts.get('dbname', '')}"


def _require_landscape() -> None:
    # Not above: models can be imported only now.
    from audit.models import SCHEMA_VERSION

    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT to_regclass('schema_info') IS NOT NULL")
        if not cursor.fetchone()[0]:
            raise NotLandscape("this database has no Landscape schema")
        cursor.execute("SELECT version FROM schema_info WHERE application = 'landscape'")
        held = cursor.fetchone()
    if held is None or held[0] != SCHEMA_VERSION:
        version = held[0] if held else "none"
        raise NotLandscape(
            f"the database has schema version {version}, this recorder is of {SCHEMA_VERSION}"
        )


def _drop_inherited() -> None:
    """In a forked child: let go of the parent's sessions without a word to the server.

    Closing them would end the parent's; using them would mix two programs' statements. Inside a
    transaction the child is where Django is after losing its connection: nothing more passes
    until the block is left.
    """
    nowhere = os.open(os.devnull, os.O_RDWR)
    for connection in connections.all(initialized_only=True):
        session = connection.connection
        if session is None:
            continue
        if not session.closed:
            # So that the parent's session ends with the parent, and not with its last child.
            os.dup2(nowhere, session.fileno())
        connection.connection = None
        if connection.in_atomic_block:
            connection.closed_in_transaction = connection.needs_rollback = True
    os.close(nowhere)
