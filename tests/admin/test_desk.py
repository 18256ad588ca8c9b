"""The desk: who comes in, what they see, and that nothing of the record can be changed there."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from audit import imports
from audit.admin import desk
from audit.models import AccessEvent, Finding, ImportJob, Payload
from audit.vocabulary import AccessAction, Role
from tests.builders import NOON, make_run

pytestmark = pytest.mark.django_db

LISTS = ["run", "payload", "seallogentry", "finding"]
ENTER = {Role.ADMINISTRATOR, Role.RETENTION_ADMINISTRATOR, Role.RETENTION_APPROVER}


@pytest.fixture(autouse=True)
def _cheap_passwords(settings, tmp_path):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.LANDSCAPE_VAR = tmp_path / "var"


def of(model: str, query: str = "") -> str:
    return reverse(f"admin:audit_{model}_changelist") + query


class TestTheEntrance:
    @pytest.mark.parametrize("role", Role)
    def test_is_for_those_who_have_something_to_do(self, client_of, role):
        status = client_of(role).get("/admin/").status_code

        assert status == (200 if role in ENTER else 403)

    def test_is_our_own_sign_in(self):
        answer = Client().get("/admin/")

        assert (answer.status_code, answer.url) == (302, "/accounts/login/?next=/admin/")
        for own in ("login", "logout", "password_change", "jsi18n", "autocomplete", "auth/user"):
            assert Client().get(f"/admin/{own}/").status_code in {302, 404}
            assert f"/admin/{own}/" not in str(Client().get(f"/admin/{own}/").get("location"))

    def test_shows_each_what_the_role_allows(self, client_of):
        retention = client_of(Role.RETENTION_ADMINISTRATOR).get("/admin/").content.decode()
        administrator = client_of(Role.ADMINISTRATOR).get("/admin/").content.decode()

        assert reverse("admin:people") in administrator
        assert reverse("admin:people") not in retention
        assert of("run") in retention


class TestLists:
    @pytest.mark.parametrize("model", LISTS)
    def test_are_read_only_for_a_superuser_too(self, client_of, rf, person, model):
        client = client_of(Role.ADMINISTRATOR, name="a", superuser=True)
        registered = next(
            each for each in desk._registry.values() if each.model._meta.model_name == model
        )
        rf.user = person(superuser=True)

        assert not registered.has_add_permission(rf)
        assert not registered.has_change_permission(rf)
        assert not registered.has_delete_permission(rf)
        assert client.get(of(model)).status_code == 200
        assert client.post(of(model), {"action": "delete_selected"}).status_code == 405
        for page in ("add/", "1/change/", "1/delete/", "1/history/"):
            assert client.get(of(model) + page).status_code == 404

    @pytest.mark.parametrize(
        "query",
        ["?status__startswith=c", "?_popup=1", "?_to_field=id", "?o=1", "?p=2", "?all=", "?q=x"],
    )
    def test_take_no_lookups(self, client_of, query):
        assert client_of(Role.ADMINISTRATOR).get(of("run", query)).status_code == 400

    def test_go_by_key_at_the_same_cost(self, client_of, count_queries):
        run = make_run()
        Finding.objects.bulk_create(
            Finding(
                run_id=run.run_id, code=f"F{number}", level="error" if number % 2 else "info",
                table_name="rows", record_key="r", detail="secret words",
                occurrences=1, found_at=NOON,
            )
            for number in range(250)
        )  # fmt: skip
        client = client_of(Role.ADMINISTRATOR)
        seen, query, costs = [], "", set()
        while query is not None:
            asked = query
            costs.add(
                count_queries(lambda asked=asked: client.get(of("finding", asked))) - bool(asked)
            )
            answer = client.get(of("finding", query))
            lines = answer.context["list"]
            seen += [line[1].value for line in lines.lines]
            query = lines.older
            assert "secret words" not in answer.content.decode()

        assert seen == [f"F{number}" for number in reversed(range(250))]
        assert len(costs) == 1
        errors = client.get(of("finding", "?level=error")).context["list"]
        assert len(errors.lines) == 100
        assert "level=error" in errors.older

    def test_find_by_the_whole_value(self, client_of):
        Payload.objects.create(
            content_hash="a" * 64, state="available", size_bytes=1, recorded_at=NOON
        )
        client = client_of(Role.RETENTION_APPROVER)

        assert len(client.get(of("payload", f"?find={'a' * 64}")).context["list"].lines) == 1
        assert not client.get(of("payload", "?find=aaaa")).context["list"].lines
        assert client.get(of("payload", "?find=%00")).status_code == 400
        assert client.get(of("payload", "?state=x")).status_code == 400
        assert client.get(of("finding", "?after=x")).status_code == 400


class TestPeople:
    def test_are_made_with_roles_that_are_noted(self, client_of):
        client = client_of(Role.ADMINISTRATOR)
        form = {
            "username": "okafor",
            "password1": "an uncommon phrase 7",
            "password2": "an uncommon phrase 7",
            "groups": [Group.objects.get(name=Role.RETENTION_APPROVER).pk],
        }

        assert client.post(reverse("admin:add-person"), form).status_code == 302

        made = User.objects.get(username="okafor")
        assert [group.name for group in made.groups.all()] == [Role.RETENTION_APPROVER]
        assert not made.is_superuser
        event = AccessEvent.objects.get(action=AccessAction.ROLE_CHANGED)
        assert (event.object_id, event.address) == (str(made.pk), "127.0.0.1")

    def test_change_and_are_shut_out_and_never_deleted(self, client_of, person):
        client, other = client_of(Role.ADMINISTRATOR), person(Role.VIEWER)
        page = reverse("admin:person", kwargs={"number": other.pk})
        auditor = Group.objects.get(name=Role.AUDITOR)

        assert client.post(page, {"groups": [auditor.pk]}).status_code == 302

        other.refresh_from_db()
        assert (other.is_active, list(other.groups.all())) == (False, [auditor])
        assert client.get(page + "delete/").status_code == 404
        assert client.post(page, {"is_superuser": "on"}).status_code == 400
        assert client.post(page, {"user_permissions": "1"}).status_code == 400

    def test_do_not_change_their_own_roles(self, client_of):
        client = client_of(Role.ADMINISTRATOR)
        me = User.objects.get(username="administrator")
        page = reverse("admin:person", kwargs={"number": me.pk})
        everything = list(Group.objects.values_list("pk", flat=True))

        client.post(page, {"groups": everything, "is_active": ""})

        me.refresh_from_db()
        assert me.is_active
        assert [group.name for group in me.groups.all()] == [Role.ADMINISTRATOR]
        assert not AccessEvent.objects.filter(action=AccessAction.ROLE_CHANGED).exists()

    def test_get_new_passwords_but_superusers_do_not(self, client_of, person):
        client, other, root = (
            client_of(Role.ADMINISTRATOR),
            person("viewer"),
            person(superuser=True),
        )
        word = {"new_password1": "an uncommon phrase 8", "new_password2": "an uncommon phrase 8"}

        def ask(who):
            return client.post(reverse("admin:password", kwargs={"number": who.pk}), word)

        assert (ask(other).status_code, ask(root).status_code) == (302, 404)
        other.refresh_from_db()
        assert other.check_password("an uncommon phrase 8")

    @pytest.mark.parametrize("role", [Role.RETENTION_ADMINISTRATOR, Role.RETENTION_APPROVER])
    def test_are_for_administrators(self, client_of, role):
        client = client_of(role)

        assert client.get(reverse("admin:people")).status_code == 403
        assert client.post(reverse("admin:add-person"), {}).status_code == 403


class TestUploads:
    def send(self, client, content=b"no database", **more):
        files = {"database": SimpleUploadedFile("../../their.db", content), **more}
        return client.post(reverse("admin:upload"), files)

    def test_become_jobs_that_tell_what_came_of_them(self, client_of):
        client = client_of(Role.ADMINISTRATOR)

        answer = self.send(client)

        job = ImportJob.objects.get()
        assert (answer.status_code, answer.url) == (302, f"/admin/imports/{job.pk}/")
        assert job.file_name == "their.db"
        assert AccessEvent.objects.get().action == AccessAction.FILE_IMPORTED
        assert "waits for a worker" in client.get(answer.url).content.decode()
        imports.perform(job_id=job.pk, owner="w", at=NOON)
        shown = client.get(answer.url).content.decode()
        assert "not an SQLite database" in shown
        assert "their.db" in client.get(reverse("admin:imports")).content.decode()

    def test_are_cancelled_and_tried_again(self, client_of):
        client = client_of(Role.ADMINISTRATOR)
        page = self.send(client).url

        for act, status in (
            ("cancel", "cancelled"),
            ("again", "requested"),
            ("again", "requested"),
        ):
            assert client.post(f"{page}{act}/").status_code == 302
            assert ImportJob.objects.get().status == status

    def test_are_refused_before_they_are_read(self, client_of, settings):
        settings.LANDSCAPE_IMPORT_MAX_MB = 1
        client = client_of(Role.ADMINISTRATOR)

        answer = self.send(client, b"x" * 1_020_000)

        assert answer.status_code == 413
        assert "LANDSCAPE_IMPORT_MAX_MB allows 1 MB" in answer.content.decode()
        assert client.post(reverse("admin:upload")).status_code == 400
        assert self.send(client, other=SimpleUploadedFile("x", b"x")).status_code == 400
        assert not ImportJob.objects.exists()

    @pytest.mark.parametrize("role", [Role.RETENTION_ADMINISTRATOR, Role.AUDITOR])
    def test_are_for_administrators(self, client_of, role):
        client = client_of(role)

        assert self.send(client).status_code == 403
        assert client.get(reverse("admin:imports")).status_code == 403

    def test_need_the_token_of_a_form(self, person):
        client = Client(enforce_csrf_checks=True)
        client.force_login(person(Role.ADMINISTRATOR))

        assert self.send(client).status_code == 403
