"""`manage.py up`: what it does on a first start, and what it says when it cannot start."""

import io
import re
import signal
import socket
from dataclasses import replace

import pytest
from django.contrib.auth import get_user_model
from django.core.management.base import CommandError

from audit.vocabulary import Role
from landscape_site.management.commands import up
from landscape_site.places import Places
from tests.builders import make_run
from tests.running import command, connect, environment_of, run, servers, until


class TestUp:
    """One long story, because a first start takes seconds."""

    def test_starts_serves_stops_and_starts_again(self, start, tmp_path):
        site = start("--import", str(tmp_path / "not there.db"))
        first = site.wait_for("the administrator is")
        ready = site.wait_for("Landscape is ready")

        assert re.fullmatch(
            r"Landscape is ready at http://127\.0\.0\.1:\d+/  \(sign in as admin\)\n", ready
        )
        # A file that cannot be imported is reported, and does not stop the rest.
        assert "not there.db: not imported" in "".join(site.said)
        assert site.status() == 200
        assert len(site.web_processes()) == 3

        # Nothing secret where other users can read it, and no owner login near the web.
        password = re.search("password is “(.+?)”", first)[1]
        secrets = {path.read_text() for path in Places(site.var).secret_key.parent.iterdir()}
        secrets.add(password)
        everybody = [site.process.pid, *site.web_processes(), *servers(site.var)]
        for pid in everybody:
            with open(f"/proc/{pid}/cmdline") as file:  # noqa: PTH123
                line = file.read()
            assert not [secret for secret in secrets if secret in line]
        for pid in site.web_processes():
            assert b"LANDSCAPE_ROLE=web" in environment_of(pid)

        # Other commands find the same services and leave them running.
        code, said = run(site.var, "shell", "-v0", "-c", "from django.contrib.auth.models "
                         "import User; print(User.objects.get().username)")  # fmt: skip
        assert (code, said) == (0, "admin\n")
        assert site.status() == 200

        # The port is taken, which is said before anything else happens.
        code, said = run(site.var, "up", "--port", str(site.port))
        assert code == 1
        assert f"Port {site.port} on 127.0.0.1 cannot be used" in said
        assert "Traceback" not in said

        # Ctrl-C stops everything.
        web = site.web_processes()
        assert site.stop() == 0
        assert "Landscape has stopped." in site.said[-1]
        assert (servers(site.var), site.web_processes()) == ([], [])
        assert web

        # The second start knows the administrator and keeps quiet about the password.
        again = start()
        again.wait_for("Landscape is ready")
        assert "password" not in "".join(again.said)
        assert again.status() == 200
        assert again.stop(signal.SIGTERM) == 0
        assert servers(site.var) == []

    def test_shows_the_demo_in_an_empty_database(self, start):
        site = start(demo=True)
        site.wait_for("Landscape is ready")
        assert site.status() == 200
        site.wait_for("Three example runs are being recorded")
        site.wait_for("(running): 30 claims")

        with connect(site.var) as application:
            runs = "SELECT status, count(*) FROM runs GROUP BY status ORDER BY status"
            assert application.execute(runs).fetchall() == [("completed", 2), ("running", 1)]

            # The running one moves while somebody tells more of it, and stays running after that.
            told = (
                "SELECT s.rows FROM run_summaries s JOIN runs USING (run_id)"
                " WHERE status = 'running'"
            )
            live = command(site.var, "demo", "--live")
            until(lambda: application.execute(told).fetchone()[0] > 31)
            live.send_signal(signal.SIGINT)
            said, _ = live.communicate(timeout=30)
            assert (live.returncode, "Stopped." in said, "Traceback" in said) == (0, True, False)
            assert application.execute(runs).fetchall() == [("completed", 2), ("running", 1)]
        assert site.stop() == 0

        again = start(demo=True)
        again.wait_for("Landscape is ready")
        assert again.stop() == 0
        assert "example" not in "".join(again.said)

    def test_does_not_show_a_password_that_was_given(self, start):
        site = start(LANDSCAPE_ADMIN_PASSWORD="given by somebody")
        site.wait_for("Landscape is ready")

        with connect(site.var) as application:
            users = application.execute("SELECT username, is_superuser FROM auth_user").fetchall()
        environments = [environment_of(pid) for pid in site.web_processes()]
        site.stop()

        assert users == [("admin", True)]
        assert "given by somebody" not in "".join(site.said)
        assert environments
        assert not [one for one in environments if b"given by somebody" in one]


class TestListen:
    def test_refuses_a_port_that_is_taken(self):
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]

            with pytest.raises(CommandError, match=f"Port {port} on .*make run PORT=8001"):
                up.listen(port)

    def test_keeps_others_out_from_the_first_moment(self):
        with up.listen(0) as mine, pytest.raises(CommandError, match="cannot be used"):
            up.listen(mine.getsockname()[1])

    def test_refuses_a_number_that_is_no_port(self):
        with pytest.raises(CommandError, match="Port 70000"):
            up.listen(70000)


def everybody():
    """The one who is there."""
    return get_user_model().objects.get()


@pytest.mark.django_db
class TestFirstAdministrator:
    def test_gets_a_password_that_is_told_once(self):
        password = up.first_administrator()

        admin = get_user_model().objects.get()
        assert (admin.username, admin.is_superuser) == ("admin", True)
        assert len(password) >= 16
        assert admin.check_password(password)
        assert up.first_administrator() == ""

    def test_has_every_role_in_a_trial_and_one_in_production(self, settings):
        up.first_administrator()
        assert set(Role.values) == {group.name for group in everybody().groups.all()}
        everybody().delete()

        settings.PRODUCTION = True
        up.first_administrator()

        assert [group.name for group in everybody().groups.all()] == [Role.ADMINISTRATOR]

    def test_is_not_made_where_there_is_anybody(self, auditor):
        assert up.first_administrator() == ""
        assert get_user_model().objects.get() == auditor


@pytest.mark.django_db
class TestDemoIsWanted:
    def test_in_an_empty_database_of_our_own(self):
        assert up.demo_is_wanted()

    def test_not_beside_anything_recorded(self):
        make_run()

        assert not up.demo_is_wanted()

    def test_never_in_production(self, settings):
        settings.PRODUCTION = True

        assert not up.demo_is_wanted()

    def test_never_in_a_database_of_somebody_elses(self, settings):
        settings.ENV = replace(settings.ENV, database={"NAME": "theirs"})

        assert not up.demo_is_wanted()


class TestEnvironmentOfChildren:
    def test_leaves_out_what_only_up_needs(self):
        own = {
            "PATH": "/bin",
            "LANDSCAPE_DATABASE_URL": "the application's",
            "LANDSCAPE_OWNER_DATABASE_URL": "the owner's",
            "LANDSCAPE_ADMIN_PASSWORD": "secret",
        }
        client = {"LANDSCAPE_OIDC_ISSUER": "x", "LANDSCAPE_OIDC_CLIENT_SECRET": "only the web's"}

        assert up.environment_for("web", own) == {
            "PATH": "/bin",
            "LANDSCAPE_DATABASE_URL": "the application's",
            "LANDSCAPE_ROLE": "web",
        }
        assert up.environment_for("web", client) == client | {"LANDSCAPE_ROLE": "web"}
        assert up.environment_for("worker", client) == {"LANDSCAPE_ROLE": "worker"}


class TestImports:
    def test_go_on_after_a_file_that_was_refused(self, monkeypatch):
        asked = []

        def importer(name, path):
            asked.append((name, path))
            if path == "refused.db":
                raise CommandError("it is not a database")
            if path == "half.db":
                raise SystemExit(1)
            if path == "broken.db":
                raise RuntimeError("a mistake of ours")

        monkeypatch.setattr(up, "call_command", importer)
        command = up.Command(stderr=io.StringIO())
        for path in ("refused.db", "half.db", "broken.db", "good.db"):
            command._import(path)

        assert [path for _, path in asked] == ["refused.db", "half.db", "broken.db", "good.db"]
        command.stderr._out.seek(0)
        said = command.stderr._out.read()
        assert "refused.db: not imported (it is not a database)" in said
        assert "half.db: not imported." in said
