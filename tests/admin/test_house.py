"""The state of the house: what is well, what needs a person, and who may ask."""

from __future__ import annotations

import pytest
from django.db import connection
from django.urls import reverse

from audit import tasks
from audit.models import ImportJob
from audit.vocabulary import Role
from tests.builders import NOON

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _here(settings, tmp_path):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.LANDSCAPE_VAR = tmp_path / "not there yet"


class TestHouse:
    def test_tells_who_is_there_and_what_waits(self, client_of):
        ImportJob.objects.create(
            job_id="1", requested_by=1, requested_at=NOON, file_name="x", file_bytes=1,
            status="failed", attempt=3, fence=3, records_done=0, finished_at=NOON, error_text="no",
        )  # fmt: skip
        client = client_of(Role.ADMINISTRATOR)

        before = client.get(reverse("admin:house")).context
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [tasks.SWEEP_LOCK])
        after = client.get(reverse("admin:house")).context

        parts = {part.name: part for part in before["parts"]}
        assert parts["Schema"].well
        assert parts["Database"].well
        assert not parts["Sweeper"].well
        assert "free where files are kept" in parts["Disk"].words
        assert {part.name: part.well for part in after["parts"]}["Sweeper"]
        assert dict(before["waiting"])["imports that failed"] == 1

    def test_says_that_the_queue_is_away(self, client_of, monkeypatch):
        def refuse(*_args, **_options):
            raise ConnectionRefusedError("nobody is there")

        monkeypatch.setattr(tasks.current_app, "connection_for_read", refuse)

        answer = client_of(Role.ADMINISTRATOR).get(reverse("admin:house"))

        assert "none is lost" in answer.content.decode()

    @pytest.mark.parametrize("role", [Role.AUDITOR, Role.RETENTION_APPROVER])
    def test_is_for_administrators(self, client_of, role):
        assert client_of(role).get(reverse("admin:house")).status_code == 403
