"""A short list of child processes, started in order, kept alive, stopped in reverse.

A child is named, is ready when its probe says so, and dies with its parent: the kernel sends
it a signal when the process that started it is gone, however that one went.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWUSER = 0x10000000
_PR_SET_PDEATHSIG = 1
_EXIT_REFUSED = 71
_POLL = 0.02
_LONGEST_PAUSE = 30.0


class ChildFailed(Exception):
    """A child ended, or did not become ready in time."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name} {reason}")
        self.name = name


@dataclass(frozen=True, kw_only=True)
class Child:
    """One process to start, to watch and to stop."""

    name: str
    command: Sequence[str]
    ready: Callable[[int], bool]
    """Asked with the process id until it says yes."""
    stop_signal: signal.Signals = signal.SIGTERM
    before_start: Callable[[], None] = field(default=lambda: None)
    """Clears away what a predecessor left; runs before every start, restarts included."""
    environment: Mapping[str, str] | None = None
    log: Path | None = None
    pass_fds: Sequence[int] = ()
    refuses_root: bool = False
    once: bool = False
    """It does one thing and ends, and is not started again."""
    patience: float = 60.0


@dataclass
class _Running:
    child: Child
    process: subprocess.Popen[bytes]


@dataclass
class _Absent:
    child: Child
    failures: int
    next_try: float


class Supervisor:
    """Keeps a list of children alive. One thread, no signals of its own: the caller's loop ticks.

    The thread that calls `start` and `revive` must live as long as the children should: the
    kernel's signal fires when that thread ends.
    """

    def __init__(self, children: Sequence[Child]) -> None:
        self._waiting = list(children)
        self._kept: list[_Running | _Absent] = []

    def start(self) -> None:
        """Start every child, each once the one before is ready.

        Raises:
            ChildFailed: a child did not become ready; those before it have been stopped.
        """
        try:
            while self._waiting:
                self._kept.append(_started(self._waiting[0]))
                self._waiting.pop(0)
        except BaseException:
            self.stop()
            raise

    def revive(self) -> list[str]:
        """Start again whatever has died and return one sentence for each event.

        A child that cannot be started again is retried with growing pauses; the others go on.
        """
        events = self._let_go()
        for position, kept in enumerate(self._kept):
            if isinstance(kept, _Running):
                if kept.process.poll() is None:
                    continue
                events.append(f"{kept.child.name} ended ({_ending(kept.process)})")
                kept = _Absent(kept.child, failures=0, next_try=0.0)  # noqa: PLW2901
            if time.monotonic() >= kept.next_try:
                self._kept[position], event = _tried_again(kept)
                events.append(event)
            else:
                self._kept[position] = kept
        return events

    def _let_go(self) -> list[str]:
        """Forget the children that had one thing to do; of one that failed, say so."""
        over = [
            kept
            for kept in self._kept
            if isinstance(kept, _Running) and kept.child.once and kept.process.poll() is not None
        ]
        self._kept = [kept for kept in self._kept if kept not in over]
        return [
            f"{kept.child.name} ended ({_ending(kept.process)}) and is not started again"
            for kept in over
            if kept.process.returncode != 0
        ]

    def stop(self) -> None:
        """Stop every child, the last started first, by force if it does not listen."""
        for kept in reversed(self._kept):
            if isinstance(kept, _Running):
                _end(kept.process, kept.child)
        self._kept.clear()


def run_as_child(command: Sequence[str], *, text: str = "", refuses_root: bool = False) -> None:
    """Run one short command to its end, feeding it text.

    Raises:
        ChildFailed: it said no; its last lines are in the message.
    """
    name = Path(command[0]).name
    done = subprocess.run(  # noqa: S603 - commands are ours
        command,
        input=text.encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=_tie(signal.SIGKILL, refuses_root=refuses_root),
        check=False,
    )
    if done.returncode != 0:
        raise ChildFailed(name, f"failed: {_last_lines(done.stdout.decode(errors='replace'))}")


def _started(child: Child) -> _Running:
    child.before_start()
    output = child.log.open("ab") if child.log else None
    try:
        process = subprocess.Popen(  # noqa: S603 - commands are ours
            child.command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=child.environment,
            pass_fds=child.pass_fds,
            # Ctrl-C in a terminal reaches the supervisor alone, which then stops in order.
            start_new_session=True,
            # Safe here: the callers have one thread.
            preexec_fn=_tie(child.stop_signal, refuses_root=child.refuses_root),  # noqa: PLW1509
        )
    finally:
        if output:
            output.close()
    deadline = time.monotonic() + child.patience
    try:
        while not child.ready(process.pid):
            if process.poll() is not None:
                raise ChildFailed(child.name, f"did not start: {_why(child, process)}")
            if time.monotonic() > deadline:
                raise ChildFailed(child.name, f"was not ready within {child.patience:.0f} seconds")
            time.sleep(_POLL)
    except BaseException:
        _end(process, child)
        raise
    return _Running(child, process)


def _tried_again(absent: _Absent) -> tuple[_Running | _Absent, str]:
    child = absent.child
    try:
        return _started(child), f"{child.name} is running again"
    except (ChildFailed, OSError) as failure:
        failures = absent.failures + 1
        pause = min(_LONGEST_PAUSE, 2.0**failures)
        again = _Absent(child, failures, time.monotonic() + pause)
        return again, f"{failure}; next attempt in {pause:.0f} seconds"


def _end(process: subprocess.Popen[bytes], child: Child) -> None:
    for sign in (child.stop_signal, signal.SIGKILL):
        if process.poll() is None:
            process.send_signal(sign)
        try:
            process.wait(timeout=child.patience)
        except subprocess.TimeoutExpired:
            continue
        return


def _ending(process: subprocess.Popen[bytes]) -> str:
    code = process.returncode
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _why(child: Child, process: subprocess.Popen[bytes]) -> str:
    if child.log is None:
        return _ending(process)
    tail = child.log.read_bytes()[-4096:].decode(errors="replace")
    return f"{_ending(process)}\n{_last_lines(tail)}\n(the whole story is in {child.log})"


def _last_lines(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-12:])


def _tie(death_signal: signal.Signals, *, refuses_root: bool) -> Callable[[], None]:
    """Make the function that a new child calls between fork and exec."""
    hide_root = refuses_root and os.geteuid() == 0
    return partial(_become_child, os.getpid(), death_signal, hide_root=hide_root)


# Coverage cannot see what runs between fork and exec; the tests of the services do.
def _become_child(  # pragma: no cover
    parent: int, death_signal: signal.Signals, *, hide_root: bool
) -> None:
    try:
        if hide_root:
            _hide_root()
    except OSError as error:
        # An exception here would reach the parent without its text.
        sys.stderr.write(
            f"This process runs as root, which PostgreSQL refuses, and the system does not"
            f" allow a user namespace to hide it ({error}). Run as an ordinary user,"
            f" or set LANDSCAPE_DATABASE_URL.\n"
        )
        sys.stderr.flush()
        os._exit(_EXIT_REFUSED)
    # After the namespace: entering one clears the flag.
    _LIBC.prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(_EXIT_REFUSED)


def _hide_root() -> None:  # pragma: no cover
    """Enter a user namespace in which root's processes and files belong to user 1000."""
    uid, gid = os.getuid(), os.getgid()
    if _LIBC.unshare(_CLONE_NEWUSER) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"1000 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"1000 {gid} 1")
