"""Everything the environment may say, read in one place.

Every name begins with LANDSCAPE_ and stands in docs/settings.md; a test compares the two.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from environs import Env, EnvError, validate

from landscape_site.services import POSTGRES, VALKEY

BASE_DIR = Path(__file__).resolve().parent.parent
# Characters of the column in which identities name their issuer.
_LONGEST_ISSUER = 200


@dataclass(frozen=True, kw_only=True)
class IdentityProvider:
    """Who says who people are, and what we are called there (OpenID Connect)."""

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    name: str
    """What stands on the button."""
    client_secret_file: str = ""
    """The file that was named for the secret, or nothing."""


@dataclass(frozen=True, kw_only=True)
class Environment:
    """What was asked for, with the defaults of a development machine filled in."""

    debug: bool
    secret_key: str
    allowed_hosts: tuple[str, ...]
    database: dict[str, Any] | None
    owner_database: dict[str, Any] | None
    broker: str
    cache: str
    var: Path
    store: str
    role: str
    admin_password: str
    authority: str
    signing_key: str
    export_lease: float
    export_days: float
    export_max_records: int
    purge_wait: float
    import_max_mb: int
    import_quota_mb: int
    require_mfa: bool
    trusted_proxies: int
    oidc: IdentityProvider | None

    @property
    def private_services(self) -> tuple[str, ...]:
        """What Landscape runs for itself, because nobody has named another one."""
        parts = (POSTGRES if self.database is None else "", "" if self.broker else VALKEY)
        return tuple(filter(None, parts))

    @property
    def may_own(self) -> bool:
        """Whether this process may have the owner's login: only commands that people start."""
        return self.role == "command"

    def missing_in_production(self) -> list[str]:
        """Name the variables without which production must not start."""
        needed = {
            "LANDSCAPE_SECRET_KEY": self.secret_key,
            "LANDSCAPE_ALLOWED_HOSTS": self.allowed_hosts,
            "LANDSCAPE_DATABASE_URL": self.database,
            "LANDSCAPE_BROKER_URL": self.broker,
        }
        return [name for name, value in needed.items() if not value]


def read() -> Environment:
    """Read the process environment.

    Raises:
        environs.EnvError: a value cannot be understood; the message names the variable.
    """
    env = Env()
    return Environment(
        debug=(debug := env.bool("LANDSCAPE_DEBUG", default=True)),
        secret_key=env.str("LANDSCAPE_SECRET_KEY", default=""),
        allowed_hosts=tuple(env.list("LANDSCAPE_ALLOWED_HOSTS", default=[])),
        database=_database(env, "LANDSCAPE_DATABASE_URL"),
        owner_database=_database(env, "LANDSCAPE_OWNER_DATABASE_URL"),
        broker=(broker := env.str("LANDSCAPE_BROKER_URL", default="")),
        cache=env.str("LANDSCAPE_CACHE_URL", default="") or _beside(broker),
        var=Path(env.str("LANDSCAPE_VAR", default="") or BASE_DIR / "var").resolve(),
        store=env.str("LANDSCAPE_STORE_URL", default=""),
        role=env.str("LANDSCAPE_ROLE", default="command"),
        admin_password=env.str("LANDSCAPE_ADMIN_PASSWORD", default=""),
        authority=env.str("LANDSCAPE_AUTHORITY", default="") or "localhost/landscape",
        signing_key=env.str("LANDSCAPE_SIGNING_KEY", default=""),
        export_lease=env.float("LANDSCAPE_EXPORT_LEASE", default=15.0),
        export_days=env.float("LANDSCAPE_EXPORT_DAYS", default=30.0),
        export_max_records=env.int("LANDSCAPE_EXPORT_MAX_RECORDS", default=0),
        purge_wait=env.float("LANDSCAPE_PURGE_WAIT", default=24.0),
        import_max_mb=env.int("LANDSCAPE_IMPORT_MAX_MB", default=2_000),
        import_quota_mb=env.int("LANDSCAPE_IMPORT_QUOTA_MB", default=10_000),
        require_mfa=env.bool("LANDSCAPE_REQUIRE_MFA", default=not debug),
        trusted_proxies=env.int(
            "LANDSCAPE_TRUSTED_PROXIES", default=0, validate=validate.Range(min=0, max=10)
        ),
        oidc=_identity_provider(env, plain_http=debug),
    )


def _identity_provider(env: Env, *, plain_http: bool) -> IdentityProvider | None:
    issuer = env.str("LANDSCAPE_OIDC_ISSUER", default="")
    if not issuer:
        return None
    # Identities are kept under the issuer's name: what is told apart here must be there as well.
    if not issuer.startswith(("https://", *(["http://"] if plain_http else []))):
        raise EnvError("LANDSCAPE_OIDC_ISSUER must be an https:// address.")
    if len(issuer) > _LONGEST_ISSUER:
        raise EnvError(f"LANDSCAPE_OIDC_ISSUER is longer than {_LONGEST_ISSUER} characters.")
    client_id = env.str("LANDSCAPE_OIDC_CLIENT_ID", default="")
    secret = env.str("LANDSCAPE_OIDC_CLIENT_SECRET", default="")
    file = env.str("LANDSCAPE_OIDC_CLIENT_SECRET_FILE", default="")
    if file and not secret:
        try:
            secret = Path(file).read_text().strip()
        except OSError as error:
            raise EnvError(
                f"LANDSCAPE_OIDC_CLIENT_SECRET_FILE cannot be read: {error.strerror}."
            ) from error
    if not (client_id and secret):
        raise EnvError(
            "LANDSCAPE_OIDC_ISSUER is set, and needs LANDSCAPE_OIDC_CLIENT_ID and"
            " LANDSCAPE_OIDC_CLIENT_SECRET or LANDSCAPE_OIDC_CLIENT_SECRET_FILE."
        )
    name = env.str("LANDSCAPE_OIDC_NAME", default="") or str(urlsplit(issuer).hostname)
    return IdentityProvider(
        issuer=issuer,
        client_id=client_id,
        client_secret=secret,
        name=name,
        client_secret_file=file,
    )


def _beside(broker: str) -> str:
    """The broker's server with the next database number, as a cache is addressed; or nothing."""
    if not broker:
        return ""
    parts = urlsplit(broker)
    if parts.scheme == "redis+socket":
        asked = dict(parse_qsl(parts.query))
        number = int(asked.get("virtual_host", "0") or 0) + 1
        return urlunsplit(("unix", parts.netloc, parts.path, f"db={number}", ""))
    word = parts.path.strip("/")
    number = (int(word) if word.isdigit() else 0) + 1
    return urlunsplit((parts.scheme, parts.netloc, f"/{number}", parts.query, ""))


def _database(env: Env, name: str) -> dict[str, Any] | None:
    # An empty variable is an unset one: a shell cannot easily tell them apart.
    if not env.str(name, default=""):
        return None
    return dict(env.dj_db_url(name))
