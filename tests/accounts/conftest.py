"""People who sign in, and the clock of their authenticators."""

import time

import pytest
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, hotp_value
from django.conf import settings
from django.contrib.auth.models import Group
from django.test import Client

PASSWORD = "a good long passphrase"
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


@pytest.fixture(autouse=True)
def _cheap_passwords(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def code(*, steps: int = 0) -> str:
    """What an authenticator with the secret shows, so many steps from now."""
    return format_hotp_value(hotp_value(SECRET, int(time.time()) // 30 + steps))


def sign_in(client: Client, name: str, password: str = PASSWORD, **headers):
    return client.post(settings.LOGIN_URL, {"login": name, "password": password}, **headers)


@pytest.fixture
def member(django_user_model):
    """Make somebody: of groups, a superuser, with a second factor."""

    def make(name, *groups, superuser=False, factor=False):
        create = "create_superuser" if superuser else "create_user"
        made = getattr(django_user_model.objects, create)(name, password=PASSWORD)
        made.groups.set([Group.objects.get_or_create(name=group)[0] for group in groups])
        if factor:
            TOTP.activate(made, SECRET)
            RecoveryCodes.activate(made)
        return made

    return make
