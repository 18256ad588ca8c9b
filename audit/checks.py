"""What an administrator gets wrong: our own of Django's system checks.

`manage.py check` tells them, and so does the state of the house at the desk. Each looks at settings
and at files, never at the database, and says what to do.
"""

from __future__ import annotations

import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core import checks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from django.core.checks import CheckMessage

TAG = "landscape"
_HERE = {"localhost", "127.0.0.1", "::1", "[::1]"}
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
# What nobody chose, and everybody has who chose nothing.
NOBODYS_AUTHORITY = "localhost/landscape"


def trial_for_others() -> Iterator[CheckMessage]:
    """A trial is for this machine: it has neither HTTPS nor second factors."""
    others = [host for host in settings.ALLOWED_HOSTS if host not in _HERE]
    if others and not settings.PRODUCTION:
        yield checks.Warning(
            f"This is a trial, and {', '.join(others)} may be asked for by others.",
            hint="Set LANDSCAPE_DEBUG=false and what it then asks for, or take the hosts away.",
            id="landscape.W001",
        )


def second_factors() -> Iterator[CheckMessage]:
    """Who decides what is deleted, and who may do what, proves more than a password."""
    if settings.PRODUCTION and not settings.LANDSCAPE_REQUIRE_MFA:
        yield checks.Warning(
            "Administrators and approvers need no second factor.",
            hint="Take LANDSCAPE_REQUIRE_MFA=false away.",
            id="landscape.W002",
        )


def authority() -> Iterator[CheckMessage]:
    """A seal names who vouches for it, and cannot be made again under another name."""
    if settings.PRODUCTION and settings.LANDSCAPE_AUTHORITY == NOBODYS_AUTHORITY:
        yield checks.Warning(
            f"Seals say that “{NOBODYS_AUTHORITY}” vouches for them, as everybody's do.",
            hint="Set LANDSCAPE_AUTHORITY to an address of your own before anything is sealed.",
            id="landscape.W003",
        )


def proxies() -> Iterator[CheckMessage]:
    """Somebody ends HTTPS before us, and is known; else attempts are counted for all together."""
    known = settings.ALLAUTH_TRUSTED_PROXY_COUNT
    if settings.PRODUCTION and not known:
        yield checks.Warning(
            "No proxy is known: everybody has the address of whoever ends HTTPS before us, and"
            " twenty wrong passwords in an hour keep everybody out.",
            hint="Set LANDSCAPE_TRUSTED_PROXIES to the number of your own proxies, mostly 1.",
            id="landscape.W004",
        )
    if known and not settings.SESSION_COOKIE_SECURE:
        yield checks.Warning(
            "There are proxies, and no HTTPS is asked for: sessions travel in the open.",
            hint="Set LANDSCAPE_DEBUG=false, or take LANDSCAPE_TRUSTED_PROXIES away.",
            id="landscape.W005",
        )


def queue() -> Iterator[CheckMessage]:
    """Whoever reaches the queue can have work done; the cache, use up and give back attempts."""
    shared = settings.CACHES["default"]
    for what, variable, address in (
        ("The queue", "LANDSCAPE_BROKER_URL", settings.CELERY_BROKER_URL),
        ("What counts sign-ins", "LANDSCAPE_CACHE_URL", shared["LOCATION"]),
    ):
        where = urlsplit(address)
        is_elsewhere = where.scheme in {"redis", "rediss"} and where.hostname not in _HERE
        lacks = [] if where.password else ["password"]
        lacks += [] if where.scheme == "rediss" else ["TLS"]
        if settings.PRODUCTION and is_elsewhere and lacks:
            yield checks.Warning(
                f"{what} is on another machine and has no {' and no '.join(lacks)}.",
                hint=f"Give it both, and name it: {variable}=rediss://:password@host/0.",
                id="landscape.W006",
            )


def logins() -> Iterator[CheckMessage]:
    """What serves pages owns nothing: else nothing in the database is guarded against it."""
    owner = settings.DATABASES.get("owner")
    if owner and owner["USER"] == settings.DATABASES["default"]["USER"]:
        yield checks.Error(
            "The application's login is the owner's: it could undo every guard.",
            hint="Make a second login, and name it in LANDSCAPE_DATABASE_URL.",
            id="landscape.E007",
        )


def secrets() -> Iterator[CheckMessage]:
    """Keys and passwords are read by their user alone."""
    folder = Path(settings.LANDSCAPE_VAR) / "secrets"
    provider = settings.IDENTITY_PROVIDER
    named = (settings.SIGNING_KEY_FILE, provider.client_secret_file if provider else "")
    for path in sorted({*folder.glob("*"), *(Path(file) for file in named if file)}):
        if path.is_file() and path.stat().st_mode & _OTHERS:
            yield checks.Error(
                f"Others may read {path}.",
                hint=f"chmod 600 {path}; a key or a secret that was read is to be replaced.",
                id="landscape.E008",
            )


def var() -> Iterator[CheckMessage]:
    """Where our own files lie, which hold contents: we may write there, others may not look."""
    folder = Path(settings.LANDSCAPE_VAR)
    if not folder.exists():
        return
    if folder.stat().st_mode & _OTHERS:
        yield checks.Error(
            f"Others may enter {folder}, where payloads lie.",
            hint=f"chmod 700 {folder}",
            id="landscape.E009",
        )
    try:
        # Trying tells of full disks, wrong owners and read-only mounts alike.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        yield checks.Error(
            f"Nothing can be written to {folder}: {error.strerror}.",
            hint="Make it this user's, or set LANDSCAPE_VAR to a place that is.",
            id="landscape.E010",
        )


ALL: tuple[Callable[[], Iterator[CheckMessage]], ...] = (
    trial_for_others,
    second_factors,
    authority,
    proxies,
    queue,
    logins,
    secrets,
    var,
)


def look(app_configs: Sequence[Any] | None = None, **_options: Any) -> list[CheckMessage]:
    """Everything that is set up wrongly, as far as we know; nothing for some apps alone."""
    if app_configs is not None:
        return []
    return [message for check in ALL for message in check()]
