"""A walk through the administrator's desk, in both themes, empty and full, and with keys only."""

from __future__ import annotations

import hashlib

import pytest
from django.core.files.base import ContentFile
from django.urls import reverse

from audit import imports
from audit.models import Payload
from audit.vocabulary import Role
from tests.builders import NOON, make_run

WIDE = "document.documentElement.scrollWidth > document.documentElement.clientWidth"

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def _var(settings, tmp_path):
    settings.LANDSCAPE_VAR = tmp_path / "var"
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def test_an_administrator_finds_everything_in_its_place(
    open_page, person, axe, screenshot, tmp_path
):
    root = person(Role.ADMINISTRATOR, Role.RETENTION_ADMINISTRATOR, name="A. Lindqvist")
    light, dark = open_page(person=root), open_page(person=root, color_scheme="dark")
    narrow = open_page(person=root, width=320)
    file = tmp_path / "no audit database.db"
    file.write_bytes(b"id,amount\n" * 100)

    light.goto("/admin/imports/")
    screenshot(light, "desk-imports-empty")
    light.set_input_files("#database", file)
    light.get_by_role("button", name="Upload and import").click()
    light.get_by_text("waits for a worker").wait_for()
    job_id = light.url.rstrip("/").rpartition("/")[2]
    assert imports.perform(job_id=job_id, owner="w", at=NOON)
    light.get_by_text("is not an SQLite database").wait_for()

    make_run()
    Payload.objects.bulk_create(
        Payload(
            content_hash=hashlib.sha256(bytes([number])).hexdigest(),
            state="missing" if number % 9 == 0 else "available",
            size_bytes=1000 * number,
            recorded_at=NOON,
        )
        for number in range(120)
    )
    imports.open_job(
        requested_by=root.pk, name="<b>odd</b>\u202egpj.db", database=ContentFile(b"x"),
        log=None, payload_archive=None, at=NOON,
    )  # fmt: skip
    places = {
        "index": "/admin/",
        "house": reverse("admin:house"),
        "runs": reverse("admin:audit_run_changelist"),
        "payloads": reverse("admin:audit_payload_changelist"),
        "users": reverse("admin:people"),
        "person": reverse("admin:person", kwargs={"number": root.pk}),
        "add-person": reverse("admin:add-person"),
        "jobs": reverse("admin:jobs"),
        "seals": reverse("admin:audit_seallogentry_changelist"),
        "findings": reverse("admin:audit_finding_changelist"),
        "hidden": reverse("admin:hidden-runs"),
        "hide": reverse("admin:hide-run"),
        "tokens": reverse("admin:api-tokens"),
        "policies": reverse("admin:policies"),
        "holds": reverse("admin:holds"),
        "plans": reverse("admin:plans"),
        "set-policy": reverse("admin:set-policy"),
        "place-hold": reverse("admin:place-hold"),
        "imports": reverse("admin:imports"),
        "import": reverse("admin:import", kwargs={"job_id": job_id}),
    }
    for name, place in places.items():
        for theme, page in (("", light), ("-dark", dark)):
            page.goto(place)
            screenshot(page, f"desk-{name}{theme}")
            assert axe(page) == [], name
        narrow.goto(place)
        assert not narrow.evaluate(WIDE), name
    screenshot(narrow, "desk-import-narrow")
