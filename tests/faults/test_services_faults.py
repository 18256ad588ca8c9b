"""The private services under kill -9: nothing committed is lost, nothing is left behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

import psycopg
import pytest

from landscape_site import postgres, services
from landscape_site.places import Places
from landscape_site.services import held
from tests.running import ROOT, connect, keepers, postmaster, servers, until

pytestmark = pytest.mark.faults


@pytest.fixture
def var(tmp_path, new_cluster):
    new_cluster(tmp_path / "var")
    yield tmp_path / "var"
    until(lambda: not servers(tmp_path / "var"))
    until(lambda: not Places(tmp_path / "var").sockets.exists())


def make_table(var):
    with connect(var, postgres.OWNER_LOGIN) as owner:
        owner.execute("CREATE TABLE written (id int PRIMARY KEY)")
        owner.execute("GRANT SELECT, INSERT ON written TO landscape_app")


class Writer(threading.Thread):
    """Commits one number after the other and remembers which commits were confirmed."""

    def __init__(self, var, first):
        super().__init__()
        self.var, self.next, self.confirmed = var, first, []

    def run(self):
        try:
            with connect(self.var) as application:
                while True:
                    application.execute("INSERT INTO written VALUES (%s)", [self.next])
                    self.confirmed.append(self.next)
                    self.next += 1
        except psycopg.OperationalError:
            # Whether the last one arrived, nobody can say.
            self.next += 1


def written(var):
    with connect(var) as application:
        return {id_ for (id_,) in application.execute("SELECT id FROM written").fetchall()}


def kill(*pids):
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def holder_of(var):
    """Another process that holds the services until it is killed."""
    script = "import time; from pathlib import Path\n"
    script += "from landscape_site.services import held\n"
    script += f"with held(Path({str(var)!r})): print('held', flush=True); time.sleep(60)"
    holder = subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    return holder


def reconnected(var):
    def answers():
        try:
            with connect(var) as application:
                return application.execute("SELECT 1").fetchone()
        except (psycopg.OperationalError, OSError):
            return None

    return until(answers)


class TestPostgresKilled:
    def test_comes_back_with_everything_that_was_committed(self, var, rounds):
        confirmed, first = set(), 0
        with held(var):
            make_table(var)
            for _ in range(rounds(12)):
                writer = Writer(var, first)
                writer.start()
                time.sleep(0.2)
                kill(postmaster(var))
                writer.join(timeout=30)
                confirmed.update(writer.confirmed)
                first = writer.next
                reconnected(var)

                assert confirmed <= written(var)

        assert len(confirmed) > rounds(12)

    def test_comes_back_although_a_backend_is_too_busy_to_notice(self, var):
        with held(var):
            busy = connect(var)

            def count_for_ever():
                with suppress(psycopg.OperationalError):
                    busy.execute("SELECT count(*) FROM generate_series(1, 1000000000000)")

            work = threading.Thread(target=count_for_ever)
            work.start()
            backend = busy.info.backend_pid
            time.sleep(0.3)

            kill(postmaster(var))
            reconnected(var)

            assert backend not in servers(var)
            work.join(timeout=30)
            busy.close()

    def test_one_backend_is_a_matter_of_its_own_connections(self, var):
        with held(var):
            first = postmaster(var)
            with connect(var) as application:
                kill(application.info.backend_pid)

            reconnected(var)
            assert postmaster(var) == first


class TestKeeperKilled:
    def test_takes_postgres_with_it_until_a_holder_asks_again(self, var, rounds):
        with held(var):
            make_table(var)
            for number in range(rounds(8)):
                with connect(var) as application:
                    application.execute("INSERT INTO written VALUES (%s)", [number])
                before = servers(var)
                (keeper,) = keepers(var)
                kill(keeper)

                until(lambda: not set(before) & set(servers(var)))  # noqa: B023
                assert services.ensure(var)
                assert not services.ensure(var)
                assert len(written(var)) == number + 1


class TestEverythingKilled:
    def test_loses_nothing_and_starts_again(self, var, rounds):
        with held(var):
            make_table(var)
        confirmed, first = set(), 0
        for _ in range(rounds(8)):
            holder = holder_of(var)
            writer = Writer(var, first)
            writer.start()
            time.sleep(0.2)
            kill(holder.pid, *keepers(var), *servers(var))
            holder.communicate()
            until(lambda: not keepers(var))
            writer.join(timeout=30)
            confirmed.update(writer.confirmed)
            first = writer.next

            with held(var):
                assert confirmed <= written(var)
        assert len(confirmed) > rounds(8)


class TestHolderKilled:
    def test_ends_the_services_within_seconds(self, var, rounds):
        for _ in range(rounds(8)):
            holder = holder_of(var)
            assert servers(var)

            kill(holder.pid)
            holder.communicate()

            until(lambda: not servers(var) and not keepers(var), seconds=5)

    def test_leaves_the_services_to_those_who_still_hold_them(self, var):
        holder = holder_of(var)
        with held(var), connect(var) as application:
            kill(holder.pid)
            holder.communicate()
            time.sleep(1)

            assert application.execute("SELECT 1").fetchone() == (1,)


class TestManyAtOnce:
    def test_come_and_go_and_always_find_the_services(self, var, rounds):
        """Twenty processes that hold for a moment: each finds a server, none is left."""
        script = "import random, sys, time; sys.path.insert(0, '.'); from pathlib import Path\n"
        script += "from tests.running import connect\nfrom landscape_site.services import held\n"
        script += f"var = Path({str(var)!r})\n"
        script += "for _ in range(4):\n"
        script += "    with held(var), connect(var) as c: c.execute('SELECT 1')\n"
        script += "    time.sleep(random.random() / 5)\n"
        with held(var):
            pass
        many = [
            subprocess.Popen(
                [sys.executable, "-c", script],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for _ in range(rounds(20))
        ]

        said = [one.communicate(timeout=120)[0] for one in many]

        assert said == [""] * len(many)
        assert servers(var) == []
