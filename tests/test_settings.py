"""Settings: nothing set is a trial, half a production is refused, a whole one is clean."""

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings
from django.urls import reverse
from environs import EnvError

from landscape_site import env
from landscape_site.places import Places
from tests.running import MANAGE, ROOT, run

COMPLETE = {
    "LANDSCAPE_DEBUG": "false",
    "LANDSCAPE_SECRET_KEY": "k" * 20 + "0123456789abcdefghijklmnopqrstuvwxyz-ABCDEFG",
    "LANDSCAPE_ALLOWED_HOSTS": "landscape.example,other.example",
    "LANDSCAPE_DATABASE_URL": "postgresql://app:secret@db.example/landscape",
    "LANDSCAPE_BROKER_URL": "rediss://:secret@queue.example/0",
}
# What production starts without, and is told to have.
WELL = {"LANDSCAPE_AUTHORITY": "landscape.example/audit", "LANDSCAPE_TRUSTED_PROXIES": "1"}


def ask(var: Path, expression: str, **environment: str) -> str:
    """Evaluate an expression under other settings, in a process of its own."""
    script = f"from django.conf import settings; print({expression})"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=os.environ | {"LANDSCAPE_VAR": str(var)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class TestDevelopment:
    def test_starts_with_nothing_set(self, tmp_path):
        bare = {name: value for name, value in os.environ.items() if "LANDSCAPE" not in name}

        done = subprocess.run(
            [sys.executable, str(MANAGE), "check"],
            env=bare | {"LANDSCAPE_VAR": str(tmp_path / "var")},
            capture_output=True,
            text=True,
            check=False,
        )

        assert done.returncode == 0, done.stderr

    def test_invents_a_secret_key_and_keeps_it(self, tmp_path):
        key = Places(tmp_path / "var").secret_key

        first, second = (ask(tmp_path / "var", "settings.SECRET_KEY") for _ in range(2))

        assert first == second == key.read_text()
        assert len(first) >= 50
        assert stat.S_IMODE(key.stat().st_mode) == 0o600

    def test_means_one_installation_however_its_place_is_spelt(self, tmp_path):
        (tmp_path / "link").symlink_to(tmp_path / "var")
        host = "settings.DATABASES['default']['HOST']"

        assert ask(tmp_path / "link", host) == ask(tmp_path / "var", host)

    def test_uses_the_private_services_with_two_logins(self, tmp_path):
        users = ask(tmp_path, "[settings.DATABASES[a]['USER'] for a in ('default', 'owner')]")

        assert users == "['landscape_app', 'landscape_owner']"

    def test_rings_in_the_private_valkey_or_the_one_that_is_named(self, tmp_path):
        asked = "settings.CELERY_BROKER_URL"
        own = f"redis+socket://{Places(tmp_path).queue_socket}?virtual_host=0"

        assert ask(tmp_path, asked) == own
        assert ask(tmp_path, asked, LANDSCAPE_BROKER_URL="redis://q/1") == "redis://q/1"

    def test_shows_tracebacks_to_commands_only(self, tmp_path):
        assert ask(tmp_path, "settings.DEBUG") == "True"
        assert ask(tmp_path, "settings.DEBUG", LANDSCAPE_ROLE="web") == "False"


class TestChildren:
    @pytest.mark.parametrize("role", ["web", "worker"])
    def test_have_no_owner_login(self, tmp_path, role):
        owner = "postgresql://owner:secret@db.example/landscape"

        for environment in ({}, COMPLETE | {"LANDSCAPE_OWNER_DATABASE_URL": owner}):
            aliases = ask(tmp_path, "list(settings.DATABASES)", LANDSCAPE_ROLE=role, **environment)
            assert aliases == "['default']"

    def test_have_a_role_that_exists(self, tmp_path):
        code, said = run(tmp_path, "check", LANDSCAPE_ROLE="boss")

        assert code == 1
        assert said.startswith("LANDSCAPE_ROLE is “boss”")


class TestProduction:
    @pytest.mark.parametrize("missing", sorted(COMPLETE.keys() - {"LANDSCAPE_DEBUG"}))
    def test_names_the_one_variable_that_is_missing(self, tmp_path, missing):
        code, said = run(tmp_path, "check", **COMPLETE | {missing: ""})

        assert code == 1
        assert f"it needs: {missing}. " in said
        assert "Traceback" not in said

    def test_names_all_that_are_missing(self, tmp_path):
        code, said = run(tmp_path, "check", LANDSCAPE_DEBUG="false")

        assert code == 1
        assert re.findall("LANDSCAPE_[A-Z_]+", said)[1:] == [
            "LANDSCAPE_SECRET_KEY",
            "LANDSCAPE_ALLOWED_HOSTS",
            "LANDSCAPE_DATABASE_URL",
            "LANDSCAPE_BROKER_URL",
        ]

    def test_writes_nothing_when_it_refuses(self, tmp_path):
        run(tmp_path / "var", "check", LANDSCAPE_DEBUG="false")

        assert not (tmp_path / "var").exists()

    def test_passes_djangos_inspection_and_ours(self, tmp_path):
        code, said = run(
            tmp_path, "check", "--deploy", "--fail-level", "WARNING", **COMPLETE, **WELL
        )

        assert code == 0, said
        assert "no issues" in said

    def test_keeps_the_owner_out_unless_it_is_given(self, tmp_path):
        owner = "postgresql://owner:secret@db.example/landscape"

        assert ask(tmp_path, "list(settings.DATABASES)", **COMPLETE) == "['default']"
        assert (
            ask(
                tmp_path,
                "settings.DATABASES['owner']['USER']",
                LANDSCAPE_OWNER_DATABASE_URL=owner,
                **COMPLETE,
            )
            == "owner"
        )

    def test_refuses_another_engine(self, tmp_path):
        url = {"LANDSCAPE_DATABASE_URL": "sqlite:///audit.db"}

        code, said = run(tmp_path, "check", **COMPLETE | url)

        assert (code, said.strip()) == (
            1,
            "Landscape runs on PostgreSQL: use a postgresql:// URL.",
        )

    def test_refuses_a_value_that_means_nothing(self, tmp_path):
        code, said = run(tmp_path, "check", LANDSCAPE_DEBUG="perhaps")

        assert code == 1
        assert "LANDSCAPE_DEBUG" in said
        assert "Traceback" not in said


class TestIdentityProvider:
    """Routed and shown where all of it is set; half of it is refused."""

    CLIENT = {
        "LANDSCAPE_OIDC_ISSUER": "https://id.example/realm",
        "LANDSCAPE_OIDC_CLIENT_ID": "landscape",
        "LANDSCAPE_OIDC_CLIENT_SECRET": "between us",
    }

    def known(self, monkeypatch, **given):
        for name, value in (self.CLIENT | given).items():
            monkeypatch.setenv(name, value)
        return env.read().oidc

    def test_is_nobody_unless_it_is_named(self, monkeypatch):
        assert self.known(monkeypatch, LANDSCAPE_OIDC_ISSUER="") is None

    def test_is_described_and_its_secret_is_not(self, monkeypatch, tmp_path):
        (tmp_path / "secret").write_text("of a file\n")
        file = {"LANDSCAPE_OIDC_CLIENT_SECRET_FILE": str(tmp_path / "secret")}

        told = self.known(monkeypatch)
        of_a_file = self.known(monkeypatch, LANDSCAPE_OIDC_CLIENT_SECRET="", **file)

        assert (told.name, told.client_secret) == ("id.example", "between us")
        assert of_a_file.client_secret == "of a file"
        assert of_a_file.client_secret_file == str(tmp_path / "secret")
        assert "between us" not in repr(told)

    @pytest.mark.parametrize(
        ("wrong", "told"),
        [
            ({"LANDSCAPE_OIDC_CLIENT_ID": ""}, "CLIENT_ID"),
            ({"LANDSCAPE_OIDC_CLIENT_SECRET": ""}, "CLIENT_SECRET"),
            ({"LANDSCAPE_OIDC_ISSUER": "id.example"}, "https://"),
            ({"LANDSCAPE_OIDC_ISSUER": "http://id.example", "LANDSCAPE_DEBUG": "false"}, "https:"),
            ({"LANDSCAPE_OIDC_ISSUER": f"https://{'x' * 200}"}, "longer than 200"),
            (
                {
                    "LANDSCAPE_OIDC_CLIENT_SECRET": "",
                    "LANDSCAPE_OIDC_CLIENT_SECRET_FILE": "/nowhere/at/all",
                },
                "No such file",
            ),
        ],
        ids=str,
    )
    def test_is_refused_where_half_is_said(self, monkeypatch, wrong, told):
        with pytest.raises(EnvError, match=told) as caught:
            self.known(monkeypatch, **wrong)

        assert "between us" not in str(caught.value)

    def test_is_routed_once_it_is_set(self, tmp_path):
        asked = "__import__('django').setup() or __import__('django.urls').urls.reverse('{}')"

        routed = ask(tmp_path, asked.format("account_oidc_callback"), **self.CLIENT)

        assert routed == "/accounts/oidc/callback/"


class TestSettingsPage:
    """docs/settings.md lists what the code reads, and nothing else."""

    def test_names_every_variable_and_no_other(self):
        sources = [*(ROOT / "landscape_site").rglob("*.py"), *(ROOT / "tests").glob("*.py")]
        read = {
            name
            for source in sources
            if source.name != Path(__file__).name
            for name in re.findall(r"LANDSCAPE_[A-Z_]+", source.read_text())
        }
        page = (ROOT / "docs" / "settings.md").read_text()
        documented = set(re.findall(r"^\| `(LANDSCAPE_[A-Z_]+)` \|", page, re.MULTILINE))

        assert documented == read


@pytest.mark.django_db
class TestAccess:
    """What a stranger meets. The pages themselves are tested with the application."""

    def test_sends_a_stranger_to_the_login_page(self, client):
        answer = client.get(reverse("account_change_password"))

        assert answer.status_code == 302
        assert answer["Location"].startswith(f"{settings.LOGIN_URL}?next=")

    @pytest.mark.parametrize(
        "path", ["signup/", "password/reset/", "email/", "login/code/", "oidc/", "social/"]
    )
    def test_has_no_way_to_make_or_recover_an_account(self, client, path):
        assert client.get(f"/accounts/{path}").status_code == 404

    def test_signs_in_by_name(self, client, auditor):
        answer = client.post(
            settings.LOGIN_URL, {"login": "auditor", "password": "a good long passphrase"}
        )

        assert answer.status_code == 302
        assert answer["Location"] == "/"

    def test_signs_out_by_post_only(self, signed_in):
        asked = signed_in.get(reverse("account_logout"))
        assert asked.status_code == 200
        assert "_auth_user_id" in signed_in.session

        done = signed_in.post(reverse("account_logout"))

        assert done["Location"] == settings.LOGIN_URL
        assert "_auth_user_id" not in signed_in.session

    def test_forbids_everything_from_elsewhere(self, client):
        policy = client.get(settings.LOGIN_URL)["Content-Security-Policy"]

        assert set(policy.split("; ")) == {
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data:",
            "connect-src 'self'",
            "font-src 'self'",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        }


class TestEnvironmentScript:
    """.ci/environment, which `make run` calls first."""

    def test_says_what_to_install_when_there_is_no_python(self, tmp_path):
        shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
        (tmp_path / "requirements.txt").touch()
        programs = tmp_path / "bin"
        programs.mkdir()
        for name in ("cat", "sha256sum", "sh"):
            (programs / name).symlink_to(shutil.which(name))

        done = subprocess.run(
            ["sh", ".ci/environment", "requirements.txt"],
            cwd=tmp_path,
            env={"PATH": str(programs)},
            capture_output=True,
            text=True,
            check=False,
        )

        assert done.returncode == 1
        assert "needs Python 3.11 or newer" in done.stderr
        assert "apt-get install" in done.stderr
