"""What a stranger learns from answers that refuse: nothing of what runs here."""

import platform

import django
import pytest
from django.conf import settings as site
from django.test import Client


@pytest.mark.django_db
class TestRefusals:
    @pytest.mark.parametrize(
        ("address", "host", "status"),
        [
            ("/nowhere/at/all/", "landscape.example", 404),
            ("/accounts/nowhere/", "landscape.example", 404),
            (site.LOGIN_URL, "evil.example", 400),
            (site.LOGIN_URL, "landscape.example@evil.example", 400),
        ],
    )
    def test_tell_neither_stack_nor_version_nor_host(self, settings, address, host, status):
        settings.ALLOWED_HOSTS = ["landscape.example"]

        answer = Client(raise_request_exception=False).get(address, HTTP_HOST=host)

        assert answer.status_code == status
        told = answer.text + str(answer.headers)
        for word in ("Traceback", django.__version__, platform.python_version(), "evil.example"):
            assert word not in told
        assert "Server" not in answer.headers
        assert "X-Powered-By" not in answer.headers
