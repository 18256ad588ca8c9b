"""The supervisor: order, readiness, restarts, and the end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from landscape_site.supervisor import Child, ChildFailed, Supervisor, run_as_child
from tests.running import until


@pytest.fixture
def diary(tmp_path):
    """A file in which children write what happens to them, and its words so far."""
    path = tmp_path / "diary"
    path.touch()
    return path


def child(name, diary, *, lives=True, **options):
    """A process that writes its name, waits, and writes again when it is told to stop."""
    script = (
        f"trap 'echo {name}-stops >> {diary}; exit 0' TERM; echo {name}-starts >> {diary};"
        f" {'while :; do sleep 0.02; done' if lives else 'echo no room left >&2; exit 3'}"
    )
    defaults = {"ready": lambda _pid: f"{name}-starts" in diary.read_text(), "patience": 10}
    return Child(name=name, command=["sh", "-c", script], **(defaults | options))


@pytest.fixture
def supervise():
    """A supervisor that is stopped after the test."""
    supervisors = []

    def supervise_(*children):
        supervisors.append(Supervisor(children))
        return supervisors[-1]

    yield supervise_
    for supervisor in supervisors:
        supervisor.stop()


class TestStart:
    def test_waits_for_each_child_before_the_next_and_stops_in_reverse(self, diary, supervise):
        supervisor = supervise(*(child(name, diary) for name in ("one", "two", "three")))

        supervisor.start()
        supervisor.stop()

        starts = ["one-starts", "two-starts", "three-starts"]
        stops = ["three-stops", "two-stops", "one-stops"]
        assert diary.read_text().split() == starts + stops

    def test_stops_what_it_started_when_a_later_child_fails(self, diary, supervise, tmp_path):
        never = {"ready": lambda _pid: False, "log": tmp_path / "log"}
        supervisor = supervise(child("one", diary), child("two", diary, lives=False, **never))

        with pytest.raises(ChildFailed, match=r"(?s)two did not start: exit code 3\nno room left"):
            supervisor.start()

        assert diary.read_text().split() == ["one-starts", "two-starts", "one-stops"]

    def test_does_not_wait_for_ever(self, diary, supervise):
        supervisor = supervise(child("one", diary, ready=lambda _pid: False, patience=0.3))

        with pytest.raises(ChildFailed, match="one was not ready within 0 seconds"):
            supervisor.start()

        assert diary.read_text().split() == ["one-starts", "one-stops"]

    def test_clears_the_way_first(self, diary, supervise):
        supervise(child("one", diary, before_start=lambda: diary.write_text("swept\n"))).start()

        assert diary.read_text().split() == ["swept", "one-starts"]


class TestRevive:
    def test_has_nothing_to_say_while_all_is_well(self, diary, supervise):
        supervisor = supervise(child("one", diary))
        supervisor.start()

        assert supervisor.revive() == []

    def test_starts_a_killed_child_again_and_says_so(self, diary, supervise):
        pids = []
        ready = {"ready": lambda pid: "one-starts" in diary.read_text() and not pids.append(pid)}
        supervisor = supervise(child("one", diary, **ready), child("two", diary))
        supervisor.start()
        os.kill(pids[-1], signal.SIGKILL)

        events = until(supervisor.revive)

        assert events == ["one ended (signal 9)", "one is running again"]
        assert supervisor.revive() == []
        # It counts as ready by what the first one wrote; its own line may take a moment.
        until(lambda: diary.read_text().split() == ["one-starts", "two-starts", "one-starts"])

    def test_tries_less_and_less_often_when_a_child_cannot_start(self, diary, supervise, tmp_path):
        blocked, pids = tmp_path / "blocked", []

        def sweep():
            if blocked.exists():
                raise OSError("no room left")

        ready = {"ready": lambda pid: "one-starts" in diary.read_text() and not pids.append(pid)}
        supervisor = supervise(child("one", diary, before_start=sweep, **ready))
        supervisor.start()
        blocked.touch()
        os.kill(pids[-1], signal.SIGKILL)

        first = until(supervisor.revive)
        assert first == ["one ended (signal 9)", "no room left; next attempt in 2 seconds"]
        assert supervisor.revive() == []
        second = until(supervisor.revive)
        assert second == ["no room left; next attempt in 4 seconds"]

        blocked.unlink()
        assert until(supervisor.revive) == ["one is running again"]

    def test_lets_a_child_go_that_has_done_its_one_thing(self, diary, supervise):
        done = Child(name="done", command=["true"], ready=lambda _pid: True, once=True)
        broken = Child(name="broken", command=["false"], ready=lambda _pid: True, once=True)
        supervisor = supervise(child("one", diary), done, broken)
        supervisor.start()

        assert until(supervisor.revive) == ["broken ended (exit code 1) and is not started again"]
        time.sleep(0.1)
        assert supervisor.revive() == []
        assert diary.read_text().split() == ["one-starts"]


class TestStop:
    def test_uses_force_on_a_child_that_does_not_listen(self, diary, supervise):
        deaf = f"trap '' TERM; echo deaf-starts >> {diary}; while :; do sleep 0.02; done"
        supervisor = supervise(
            Child(
                name="deaf",
                command=["sh", "-c", deaf],
                ready=lambda _pid: "deaf-starts" in diary.read_text(),
                patience=0.5,
            )
        )
        supervisor.start()
        before = time.monotonic()

        supervisor.stop()

        assert 0.5 <= time.monotonic() - before < 5


class TestDeathOfTheParent:
    def test_reaches_the_children(self, diary):
        script = (
            "import sys, time; from landscape_site.supervisor import Child, Supervisor\n"
            "Supervisor([Child(name='sleep', command=['sleep', '60'],"
            " ready=lambda pid: print(pid, flush=True) or True)]).start()\n"
            "time.sleep(60)"
        )
        parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        pid = int(parent.stdout.readline())
        assert Path(f"/proc/{pid}").exists()

        parent.kill()
        parent.communicate()

        until(lambda: not Path(f"/proc/{pid}").exists(), seconds=5)


class TestRunAsChild:
    def test_feeds_text_and_keeps_quiet(self, diary, capfd):
        run_as_child(["sh", "-c", f"cat >> {diary}; echo said"], text="told")

        assert diary.read_text() == "told"
        assert capfd.readouterr() == ("", "")

    def test_passes_on_the_last_words_of_a_failure(self):
        with pytest.raises(ChildFailed, match="sh failed: no room left"):
            run_as_child(["sh", "-c", "echo no room left; exit 1"])
