"""What is set up wrongly is told, with what to do; what is set up well is not."""

from pathlib import Path

import pytest
from django.core import checks as django_checks
from django.urls import reverse

from audit import checks
from landscape_site.env import IdentityProvider
from tests.running import ROOT, run
from tests.test_settings import COMPLETE


@pytest.fixture
def house(settings, tmp_path, monkeypatch):
    """A production in which everything is well."""
    monkeypatch.setitem(settings.DATABASES, "owner", dict(settings.DATABASES["owner"]))
    monkeypatch.setitem(settings.CACHES, "default", dict(settings.CACHES["default"]))
    settings.PRODUCTION = settings.SESSION_COOKIE_SECURE = settings.LANDSCAPE_REQUIRE_MFA = True
    settings.ALLOWED_HOSTS = ["landscape.example"]
    settings.LANDSCAPE_AUTHORITY = "landscape.example/audit"
    settings.ALLAUTH_TRUSTED_PROXY_COUNT = 1
    settings.CELERY_BROKER_URL = "rediss://:secret@queue.example/0"
    settings.LANDSCAPE_VAR = tmp_path / "var"
    settings.SIGNING_KEY_FILE = tmp_path / "var" / "secrets" / "signing_key.pem"
    settings.SIGNING_KEY_FILE.parent.mkdir(parents=True, mode=0o700)
    settings.LANDSCAPE_VAR.chmod(0o700)
    settings.SIGNING_KEY_FILE.touch(mode=0o600)
    return settings


def told():
    found = django_checks.run_checks(tags=[checks.TAG])
    assert all(message.hint for message in found)
    return [message.id.removeprefix("landscape.") for message in found]


def a_trial(house):
    house.PRODUCTION = False


def no_second_factor(house):
    house.LANDSCAPE_REQUIRE_MFA = False


def nobodys_authority(house):
    house.LANDSCAPE_AUTHORITY = "localhost/landscape"


def no_proxy(house):
    house.ALLAUTH_TRUSTED_PROXY_COUNT = 0


def no_https(house):
    house.SESSION_COOKIE_SECURE = False


def open_queue(house):
    house.CELERY_BROKER_URL = "redis://queue.example/0"


def queue_in_the_open(house):
    house.CELERY_BROKER_URL = "redis://:secret@queue.example/0"


def open_cache(house):
    house.CACHES["default"]["LOCATION"] = "rediss://cache.example/1"


def cache_in_the_open(house):
    house.CACHES["default"]["LOCATION"] = "redis://:secret@cache.example/1"


def one_login(house):
    house.DATABASES["owner"]["USER"] = house.DATABASES["default"]["USER"]


def open_key(house):
    house.SIGNING_KEY_FILE.chmod(0o640)


def open_password(house):
    password = Path(house.LANDSCAPE_VAR) / "secrets" / "landscape_app"
    password.touch()
    password.chmod(0o604)


def open_client_secret(house):
    file = house.SIGNING_KEY_FILE.parent.parent / "oidc"
    file.touch()
    file.chmod(0o640)
    house.IDENTITY_PROVIDER = IdentityProvider(
        issuer="", client_id="", client_secret="", name="", client_secret_file=str(file)
    )


def open_folder(house):
    house.LANDSCAPE_VAR.chmod(0o750)


def nothing_can_be_written(house):
    # Nobody can, not even root.
    house.LANDSCAPE_VAR = Path("/proc")


class TestChecks:
    def test_are_silent_where_all_is_well(self, house):
        assert told() == []

        house.CACHES["default"]["LOCATION"] = "rediss://:secret@cache.example/1"
        assert told() == []

    @pytest.mark.parametrize(
        ("spoil", "numbers"),
        [
            (a_trial, ["W001"]),
            (no_second_factor, ["W002"]),
            (nobodys_authority, ["W003"]),
            (no_proxy, ["W004"]),
            (no_https, ["W005"]),
            (open_queue, ["W006"]),
            (queue_in_the_open, ["W006"]),
            (open_cache, ["W006"]),
            (cache_in_the_open, ["W006"]),
            (one_login, ["E007"]),
            (open_key, ["E008"]),
            (open_password, ["E008"]),
            (open_client_secret, ["E008"]),
            (open_folder, ["E009"]),
            (nothing_can_be_written, ["E009", "E010"]),
        ],
    )
    def test_tell_what_is_wrong(self, house, spoil, numbers):
        spoil(house)

        assert told() == numbers

    def test_are_silent_in_a_trial_for_this_machine_before_and_after_its_start(self, house):
        house.PRODUCTION = house.SESSION_COOKIE_SECURE = house.LANDSCAPE_REQUIRE_MFA = False
        house.ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]
        house.ALLAUTH_TRUSTED_PROXY_COUNT = 0
        house.CELERY_BROKER_URL = "redis+socket:///somewhere/valkey"
        assert told() == []

        house.LANDSCAPE_VAR = house.LANDSCAPE_VAR / "not there yet"
        assert told() == []

    def test_are_told_by_the_command(self, tmp_path):
        wrong = COMPLETE | {"LANDSCAPE_REQUIRE_MFA": "false"}

        code, said = run(tmp_path, "check", "--fail-level", "WARNING", **wrong)

        assert code == 1
        assert "(landscape.W002)" in said
        assert "HINT: Take LANDSCAPE_REQUIRE_MFA=false away." in said

    @pytest.mark.django_db
    def test_are_told_at_the_desk(self, house, client_of):
        house.PRODUCTION = house.SESSION_COOKIE_SECURE = False
        house.LANDSCAPE_REQUIRE_MFA = False
        page = client_of("administrator").get(
            reverse("admin:house"), headers={"host": "landscape.example"}
        )

        assert "landscape.example may be asked for by others" in page.text
        assert "landscape.W001" in page.text

    def test_stand_in_the_documentation(self):
        page = (ROOT / "docs" / "operations.md").read_text()
        code = (ROOT / "audit" / "checks.py").read_text()

        numbers = [part.split('"')[0] for part in code.split('id="landscape.')[1:]]
        assert len(numbers) == 10
        assert [number for number in numbers if f"`{number}`" not in page] == []
