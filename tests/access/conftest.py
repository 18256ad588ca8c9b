"""Passwords hashed the cheap way, and somebody who can do everything to the database."""

import pytest

from tests.tampering import own_var, tamper  # noqa: F401  # fixtures


@pytest.fixture(autouse=True)
def _cheap_passwords(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
