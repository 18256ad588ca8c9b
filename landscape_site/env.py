"""Everything the environment may say, read in one place.

Every name begins with LANDSCAPE_ and stands in docs/settings.md; a test compares the two.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from environs import Env

BASE_DIR = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, kw_only=True)
class Environment:
    """What was asked for, with the defaults of a development machine filled in."""

    debug: bool
    secret_key: str
    allowed_hosts: tuple[str, ...]
    database: dict[str, Any] | None
    owner_database: dict[str, Any] | None
    var: Path
    role: str
    admin_password: str

    @property
    def private_services(self) -> bool:
        """Whether Landscape runs its own PostgreSQL: nobody has named another one."""
        return self.database is None

    @property
    def is_web(self) -> bool:
        """Whether this process serves strangers: no owner login, no tracebacks in pages."""
        return self.role == "web"

    def missing_in_production(self) -> list[str]:
        """Name the variables without which production must not start."""
        needed = {
            "LANDSCAPE_SECRET_KEY": self.secret_key,
            "LANDSCAPE_ALLOWED_HOSTS": self.allowed_hosts,
            "LANDSCAPE_DATABASE_URL": self.database,
        }
        return [name for name, value in needed.items() if not value]


def read() -> Environment:
    """Read the process environment.

    Raises:
        environs.EnvError: a value cannot be understood; the message names the variable.
    """
    env = Env()
    return Environment(
        debug=env.bool("LANDSCAPE_DEBUG", default=True),
        secret_key=env.str("LANDSCAPE_SECRET_KEY", default=""),
        allowed_hosts=tuple(env.list("LANDSCAPE_ALLOWED_HOSTS", default=[])),
        database=_database(env, "LANDSCAPE_DATABASE_URL"),
        owner_database=_database(env, "LANDSCAPE_OWNER_DATABASE_URL"),
        var=Path(env.str("LANDSCAPE_VAR", default="") or BASE_DIR / "var").resolve(),
        role=env.str("LANDSCAPE_ROLE", default="command"),
        admin_password=env.str("LANDSCAPE_ADMIN_PASSWORD", default=""),
    )


def _database(env: Env, name: str) -> dict[str, Any] | None:
    # An empty variable is an unset one: a shell cannot easily tell them apart.
    if not env.str(name, default=""):
        return None
    return dict(env.dj_db_url(name))
