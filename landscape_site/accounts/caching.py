"""What every web process must know of the others: counted sign-ins, codes that were used.

It lies in Valkey. While that is away it lies in the database, so that signing in is neither
unlimited nor impossible: counting starts anew, once. Values are JSON; nothing that comes out of
a shared server is ever run.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.cache.backends.redis import RedisCache
from django.db import connection
from redis.exceptions import RedisError

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

_T = TypeVar("_T")
# After a failure, how many seconds pass before Valkey is asked again.
_LEFT_ALONE = 5.0


class Json:
    """How values are written down."""

    def dumps(self, value: object) -> str:
        """Write a value."""
        return json.dumps(value)

    def loads(self, text: bytes | str) -> Any:
        """Read a value."""
        return json.loads(text)


class SharedCache(RedisCache):
    """Django's cache in Valkey, with a table behind it for when that does not answer."""

    # Of the process: whoever finds it away spares the other threads the wait.
    _away_until = 0.0
    _lock = threading.Lock()

    def add(
        self,
        key: str,
        value: Any,
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
    ) -> bool:
        """Store a value unless there is one; True for exactly one of those who try at once."""
        full, seconds = self.make_and_validate_key(key, version), self._seconds(timeout)
        return self._either(
            lambda: bool(self._cache.add(full, value, seconds)),
            lambda: _add(full, value, seconds),
        )

    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:
        """Read a value."""
        full = self.make_and_validate_key(key, version)
        return self._either(lambda: self._cache.get(full, default), lambda: _get(full, default))

    def set(
        self,
        key: str,
        value: Any,
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
    ) -> None:
        """Store a value."""
        full, seconds = self.make_and_validate_key(key, version), self._seconds(timeout)
        self._either(
            lambda: self._cache.set(full, value, seconds), lambda: _set(full, value, seconds)
        )

    def delete(self, key: str, version: int | None = None) -> bool:
        """Forget a value."""
        full = self.make_and_validate_key(key, version)
        return self._either(lambda: bool(self._cache.delete(full)), lambda: _delete(full))

    def clear(self) -> None:
        """Forget everything under this cache's prefix; others may use the server as well."""
        client = self._cache.get_client(write=True)
        if found := list(client.scan_iter(match=f"{self.key_prefix}:*", count=1_000)):
            client.delete(*found)

    def _seconds(self, timeout: Any) -> int:
        """How long a value is kept: nothing here is kept for ever."""
        return int(self.get_backend_timeout(timeout) or 0)

    def _either(self, ask: Callable[[], _T], instead: Callable[[], _T]) -> _T:
        if time.monotonic() >= SharedCache._away_until:
            try:
                return ask()
            except (RedisError, OSError) as error:
                with self._lock:
                    SharedCache._away_until = time.monotonic() + _LEFT_ALONE
                # The class alone: messages of clients may hold an address with its password.
                logger.warning(
                    "Valkey does not answer (%s): sign-ins are counted in the database.",
                    type(error).__name__,
                )
        return instead()


def _add(key: str, value: object, seconds: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO shared_values AS held (key, value, expires_at)"
            " VALUES (%s, %s, now() + %s * interval '1 second')"
            " ON CONFLICT (key) DO UPDATE"
            " SET value = excluded.value, expires_at = excluded.expires_at"
            " WHERE held.expires_at <= now()",
            [key, json.dumps(value), seconds],
        )
        return bool(cursor.rowcount == 1)


def _get(key: str, default: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT value FROM shared_values WHERE key = %s AND expires_at > now()", [key]
        )
        found = cursor.fetchone()
    return json.loads(found[0]) if found else default


def _set(key: str, value: object, seconds: int) -> None:
    with connection.cursor() as cursor:
        # Whoever writes clears away: the table is used rarely, and never grows for long.
        cursor.execute(
            "DELETE FROM shared_values WHERE key IN (SELECT key FROM shared_values"
            " WHERE expires_at <= now() FOR UPDATE SKIP LOCKED)"
        )
        cursor.execute(
            "INSERT INTO shared_values (key, value, expires_at)"
            " VALUES (%s, %s, now() + %s * interval '1 second')"
            " ON CONFLICT (key) DO UPDATE"
            " SET value = excluded.value, expires_at = excluded.expires_at",
            [key, json.dumps(value), seconds],
        )


def _delete(key: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM shared_values WHERE key = %s", [key])
        return bool(cursor.rowcount)
