"""Work in the background at the desk: one list, and what can be done about each job."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from audit.models import AccessEvent, Export, ImportJob, PurgePlan
from audit.vocabulary import AccessAction, Role
from tests.builders import NOON, make_run, new_id

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _here(settings, tmp_path):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.LANDSCAPE_VAR = tmp_path


def make_export(run, by, number=0, **columns):
    columns = {"status": "requested", "step": "sealing", "attempt": 0, "fence": 0} | columns
    return Export.objects.create(
        export_id=new_id(), run_id=run.run_id, requested_by=by,
        requested_at=timezone.now() - timedelta(hours=2, seconds=number), with_csv=False,
        with_payloads=False, provisional=False, records_done=0, **columns,
    )  # fmt: skip


FAILED = {"status": "failed", "attempt": 5, "fence": 5, "finished_at": NOON,
          "error_code": "no_room", "error_text": "no room for 12 records"}  # fmt: skip


def make_upload(number=0, **columns):
    return ImportJob.objects.create(
        job_id=new_id(), requested_by=1, requested_at=NOON - timedelta(seconds=number),
        file_name=f"claims-{number}.db", file_bytes=1, records_done=0,
        **{"status": "requested", "attempt": 0, "fence": 0} | columns,
    )  # fmt: skip


JOBS = "/admin/jobs/"


class TestJobs:
    def test_are_one_list_that_tells_how_each_stands(self, client_of, person):
        ada, run = person(Role.EXPORTER, name="ada"), make_run()
        make_export(run, ada.pk, **FAILED)
        make_upload()
        plan = PurgePlan.objects.create(
            made_by=ada.pk, made_at=NOON, wait_seconds=0, status="drafting", policies_json="[]"
        )
        client = client_of(Role.ADMINISTRATOR)

        answer = client.get(JOBS)

        told = answer.content.decode()
        assert [(job.state, job.status) for job in answer.context["jobs"]] == [
            ("failed", "failed"),
            ("going", "requested"),
        ]
        for words in ("no room for 12 records", "5 of 5", "ada", "claims-0.db", "0 of 3"):
            assert words in told
        assert f"plan {plan.pk}" not in told
        for query, found in (
            ("kind=export", ["failed"]),
            ("state=going", ["requested"]),
            ("kind=import&state=failed", []),
            ("kind=purge", []),
        ):
            jobs = client.get(f"{JOBS}?{query}").context["jobs"]
            assert [job.status for job in jobs] == found, query
        assert client.get(f"{JOBS}?state=x").status_code == 400

    def test_cost_the_same_however_many_there_are(self, client_of, count_queries):
        client = client_of(Role.ADMINISTRATOR)
        make_export(make_run(), 1)
        make_upload()
        client.get(JOBS)
        few = count_queries(lambda: client.get(JOBS))
        for number in range(1, 110):
            make_upload(number)

        assert count_queries(lambda: client.get(JOBS)) == few
        answer = client.get(JOBS)
        assert (len(answer.context["jobs"]), answer.context["more"]) == (100, True)

    def test_of_other_people_are_stopped_and_asked_for_again(self, client_of, person):
        ada, run = person(Role.EXPORTER, name="ada"), make_run()
        client = client_of(Role.ADMINISTRATOR)
        export = make_export(run, ada.pk)
        key = {"export_id": export.pk}

        for _ in range(2):
            assert client.post(reverse("admin:cancel-export", kwargs=key)).url == JOBS
        export.refresh_from_db()
        assert export.status == "cancelled"
        assert client.post(reverse("admin:export-again", kwargs=key)).url == JOBS

        made = Export.objects.live().get()
        assert made.requested_by == ada.pk
        event = AccessEvent.objects.get(action=AccessAction.EXPORT_REQUESTED)
        assert (event.user_name, event.object_id) == ("administrator", made.pk)

    def test_are_not_asked_for_again_for_whoever_may_not_have_them(self, client_of, person):
        eve = person(Role.VIEWER, name="eve")
        export = make_export(make_run(), eve.pk, **FAILED)
        client = client_of(Role.ADMINISTRATOR)

        again = reverse("admin:export-again", kwargs={"export_id": export.pk})
        assert client.post(again, follow=True).context["jobs"][0].status == "failed"

        assert not Export.objects.live().exists()
        assert not AccessEvent.objects.filter(action=AccessAction.EXPORT_REQUESTED).exists()
        gone = reverse("admin:export-again", kwargs={"export_id": "nowhere"})
        assert client.post(gone).status_code == 404

    def test_of_imports_leave_an_event_when_they_are_tried_again(self, client_of):
        job = make_upload(status="failed", attempt=3, fence=3, finished_at=NOON, error_text="no")
        client = client_of(Role.ADMINISTRATOR)

        client.post(reverse("admin:import-again", kwargs={"job_id": job.pk}))

        event = AccessEvent.objects.get(action=AccessAction.FILE_IMPORTED)
        assert event.object_id == job.pk
        client.post(reverse("admin:import-again", kwargs={"job_id": job.pk}))
        assert AccessEvent.objects.filter(action=AccessAction.FILE_IMPORTED).count() == 1

    @pytest.mark.parametrize("role", [Role.AUDITOR, Role.RETENTION_ADMINISTRATOR])
    def test_are_for_administrators(self, client_of, role):
        assert client_of(role).get(JOBS).status_code == 403
