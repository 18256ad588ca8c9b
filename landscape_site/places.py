"""Where everything of one private installation lies, and the secrets among it."""

import hashlib
import os
import secrets
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_LONGEST_NAME = ".s.PGSQL.5432"
_LONGEST_SOCKET_PATH = 107


class ServicesUnavailable(Exception):
    """The private services cannot be used; the message says what to do."""


@dataclass(frozen=True)
class Places:
    """Where everything of one installation lies."""

    var: Path

    @property
    def data(self) -> Path:
        return self.var / "postgres"

    @property
    def log(self) -> Path:
        return self.var / "postgres.log"

    @property
    def queue(self) -> Path:
        return self.var / "valkey"

    @property
    def queue_log(self) -> Path:
        return self.var / "valkey.log"

    @property
    def queue_socket(self) -> Path:
        return self.sockets / "valkey"

    @property
    def keeper_log(self) -> Path:
        return self.var / "services.log"

    @property
    def secret_key(self) -> Path:
        return self.var / "secrets" / "secret_key"

    @property
    def signing_key(self) -> Path:
        """The private key that seals are signed with."""
        return self.var / "secrets" / "signing_key.pem"

    @property
    def sockets(self) -> Path:
        """The socket's directory: short, for a socket's path has at most 107 bytes."""
        digest = hashlib.sha256(os.fsencode(self.var.absolute())).hexdigest()[:10]
        return Path(tempfile.gettempdir()) / f"landscape-{os.getuid()}-{digest}"

    def password(self, login: str) -> Path:
        """The file that holds a login's password."""
        return self.var / "secrets" / login

    def lock(self, name: str) -> Path:
        """One of the three lock files."""
        return self.var / "locks" / name


def make_private(directory: Path) -> None:
    """Create a directory that only this user may enter, and its parents likewise."""
    if not directory.parent.exists():
        make_private(directory.parent)
    directory.mkdir(mode=0o700, exist_ok=True)


def open_sockets(places: Places) -> None:
    """Create the directory of the sockets, for this user alone.

    Raises:
        ServicesUnavailable: it cannot be trusted, or its path is too long.
    """
    directory = places.sockets
    if len(os.fsencode(directory / _LONGEST_NAME)) > _LONGEST_SOCKET_PATH:
        raise ServicesUnavailable(f"{directory} is too long for a socket: set a shorter TMPDIR.")
    directory.mkdir(mode=0o700, exist_ok=True)
    status = directory.lstat()
    # The temporary directory is everybody's: another user may have been there first.
    if status.st_uid != os.getuid() or not directory.is_dir() or directory.is_symlink():
        raise ServicesUnavailable(
            f"{directory} is not a directory of this user. Remove it, or set another TMPDIR."
        )
    directory.chmod(0o700)


def secret(path: Path) -> str:
    """Read a secret, inventing it first if it is not there yet."""
    if not path.exists():
        make_private(path.parent)
        descriptor, name = tempfile.mkstemp(dir=path.parent)  # mode 0600
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(48))
        # A link is whole or absent and never replaces: of two inventors, the first one counts.
        with suppress(FileExistsError):
            os.link(name, path)
        Path(name).unlink()
    return path.read_text()


def known_secret(path: Path) -> str:
    """Read a secret that may not exist yet; then it is empty."""
    return path.read_text() if path.exists() else ""
