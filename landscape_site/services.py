"""Who may use the private services, and for how long they run.

Trial runs, development and tests use a PostgreSQL and a Valkey of their own, under LANDSCAPE_VAR.
They run as long as any process holds them, and the kernel does the counting by three file locks:

* `users` is shared by every process that needs the services, until it ends, however it ends;
* `keeper` belongs to the one process that started them and stops them once `users` is free;
* `gate` is held while somebody comes or goes, so that nobody comes while the last one goes.

Standard library only: the keeper starts in a moment, and settings can ask for paths.
"""

import fcntl
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from landscape_site import valkey
from landscape_site.places import Places, ServicesUnavailable, make_private
from landscape_site.postgres import accepts_connections, postmaster_ready

_READY_WITHIN = 60.0
_KEEPER_READY = "ready"
KEEPER = "landscape_site.keeper"
POSTGRES, VALKEY = "postgres", "valkey"
ALL = (POSTGRES, VALKEY)


@contextmanager
def held(var: Path, parts: Collection[str] = ALL, *, durable: bool = True) -> Iterator[None]:
    """Have the services running while the block runs, starting them if nobody did.

    `parts` are those that this installation has for itself; the others are somewhere else.

    Raises:
        ServicesUnavailable: they cannot be started; the message says why.
    """
    places = Places(var)
    make_private(places.lock("gate").parent)
    with places.lock("users").open("ab") as users:
        with _locked(places.lock("gate")):
            # Waits for a keeper that is just shutting down.
            fcntl.flock(users, fcntl.LOCK_SH)
            _ensure(places, parts, durable=durable)
        try:
            yield
        finally:
            with _locked(places.lock("gate")):
                _leave(users, places)


def ensure(var: Path, parts: Collection[str] = ALL) -> bool:
    """Start the services again if their keeper was killed; return whether that was needed.

    Only for a process that holds them.

    Raises:
        ServicesUnavailable: they cannot be started; the message says why.
    """
    places = Places(var)
    if not _is_free(places.lock("keeper")):
        return False
    with _locked(places.lock("gate")):
        _ensure(places, parts, durable=True)
    return True


def try_lock(file: IO[bytes]) -> bool:
    """Take an exclusive lock if nobody holds any."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _ensure(places: Places, parts: Collection[str], *, durable: bool) -> None:
    deadline = time.monotonic() + _READY_WITHIN
    # A keeper that was killed holds its lock for a moment, and its server still answers.
    while not _is_free(places.lock("keeper")):
        if _keeper_lives(places) and all(_answers(places, part) for part in parts):
            return
        if time.monotonic() > deadline:
            raise ServicesUnavailable(
                f"Another process keeps the services, but {' and '.join(parts)} do not all answer;"
                f" see {places.keeper_log} and {places.log}."
            )
        time.sleep(0.05)
    _start_keeper(places, parts, durable=durable)


def _answers(places: Places, part: str) -> bool:
    if part == VALKEY:
        return valkey.answers(places)
    return postmaster_ready(places) and accepts_connections(places)


def _start_keeper(places: Places, parts: Collection[str], *, durable: bool) -> None:
    command = [sys.executable, "-m", KEEPER, str(places.var), *sorted(parts)]
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


def _keeper_lives(places: Places) -> bool:
    """Whether the process that holds the keeper's lock is more than its remains.

    The kernel takes a dying process's memory, and with it its command line, before its locks.
    """
    try:
        pid = int(places.lock("keeper").read_text())
        return KEEPER.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return False


def _leave(users: IO[bytes], places: Places) -> None:
    last = try_lock(users)
    users.close()
    if last:
        # The keeper stops the server now. Nobody can come meanwhile: we are in the gate.
        with _locked(places.lock("keeper")):
            pass


def _is_free(path: Path) -> bool:
    with path.open("ab") as file:
        return try_lock(file)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
