"""Running the product from outside: commands, their services, and what is left of them."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg

from landscape_site import postgres
from landscape_site.places import Places

ROOT = Path(__file__).resolve().parent.parent
MANAGE = ROOT / "manage.py"


def command(var: Path, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
    """Start a management command with an installation of its own."""
    return subprocess.Popen(
        [sys.executable, str(MANAGE), *arguments],
        env=os.environ | {"LANDSCAPE_VAR": str(var)} | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(var: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    """Run a management command to its end; return exit code and everything it said."""
    process = command(var, *arguments, **environment)
    said, _ = process.communicate(timeout=120)
    return process.returncode, said


def until(question: Callable[[], Any], *, seconds: float = 30) -> Any:
    """Ask until the answer is yes, and return it."""
    deadline = time.monotonic() + seconds
    while not (answer := question()):
        assert time.monotonic() < deadline, f"still not so after {seconds} seconds"
        time.sleep(0.05)
    return answer


def connect(var: Path, login: str = postgres.APPLICATION_LOGIN) -> psycopg.Connection:
    """Connect to an installation's private PostgreSQL."""
    places = Places(var)
    return psycopg.connect(
        host=str(places.sockets),
        dbname=postgres.DATABASE,
        user=login,
        password=places.password(login).read_text(),
        autocommit=True,
    )


def servers(var: Path) -> list[int]:
    """The process ids of an installation's PostgreSQL, backends included."""
    return postgres.strays(Places(var).data)


def postmaster(var: Path) -> int:
    """The process id of an installation's PostgreSQL itself."""
    return int((Places(var).data / "postmaster.pid").read_text().split()[0])


def processes(*words: str) -> list[int]:
    """The living processes whose command line has all of these words."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if line and all(word in line for word in words):
            found.append(int(entry.name))
    return found


def keepers(var: Path) -> list[int]:
    """The process ids of an installation's keeper: one, or none."""
    return processes("landscape_site.keeper", str(var))


def free_port() -> int:
    """A port that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Site:
    """A Landscape that runs by `up`, as a user sees it: a process and what it says."""

    def __init__(self, var, *arguments, **environment):
        self.var = var
        self.port = free_port()
        self.said = []
        self.process = command(var, "up", "--port", str(self.port), *arguments, **environment)
        # Read all the time: a process that fills its pipe with tracebacks would hang in it.
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self):
        with self.process.stdout as stdout:
            for line in stdout:
                self.said.append(line)

    def wait_for(self, text):
        def found():
            ended = not self._listener.is_alive()
            line = next((line for line in list(self.said) if text in line), None)
            assert line or not ended, f"never said “{text}”, but: {''.join(self.said)}"
            return line

        return until(found, seconds=120)

    def stop(self, sign=signal.SIGINT):
        self.process.send_signal(sign)
        return self.wait()

    def wait(self):
        self.process.wait(timeout=60)
        self._listener.join(timeout=60)
        return self.process.returncode

    def answer(self, path, *, host="localhost", forwarded_proto="http"):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with closing(connection):
            connection.request(
                "GET",
                f"/{path}",
                headers={
                    "Host": host,
                    "X-Forwarded-Proto": forwarded_proto,
                    # Somebody's, so that every page asks the database who it is.
                    "Cookie": f"sessionid={'x' * 32}",
                },
            )
            answer = connection.getresponse()
            answer.read()
            return answer

    def status(self, path="accounts/login/"):
        try:
            return self.answer(path).status
        except (OSError, http.client.HTTPException):
            return None

    def web_processes(self):
        return self.processes("gunicorn", "landscape_site.wsgi")

    def workers(self):
        return self.processes("celery", "worker")

    def sweepers(self):
        return self.processes("manage.py", "sweep")

    def processes(self, *words):
        # Every Landscape's look the same; the environment says whose they are.
        return [pid for pid in processes(*words) if str(self.var).encode() in environment_of(pid)]


def environment_of(pid):
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123
            return file.read()
    except OSError:
        return b""
