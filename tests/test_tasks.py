"""Work in the background, with the real worker, sweeper and Valkey of a Landscape that runs."""

import os
import signal
from datetime import timedelta

import pytest
import redis
from django.contrib.sessions.models import Session
from django.utils import timezone

from audit import payloads, tasks
from landscape_site import postgres
from landscape_site.places import Places
from tests.running import connect, run, until

RECORD = """
from datetime import UTC, datetime
from audit import recorder
at = datetime.now(UTC)
recorder.begin_run(run_id={0!r}, settings={{}}, at=at)
recorder.complete_run(run_id={0!r}, status="completed", at=at)
"""

# Two people, a run that ended three days ago, and a plan that one of them begins.
PURGE = """
from datetime import UTC, datetime, timedelta
from audit import payloads, recorder, retention, tasks
from tests.retention.worlds import make_policy, make_two
now = datetime.now(UTC)
at = now - timedelta(days=3)
planner, approver = make_two()
recorder.begin_run(run_id="old", settings={}, at=at)
recorder.register_node(run_id="old", node_id="csv", plugin_name="csv", node_type="source",
    plugin_version="1", determinism="io_read", sequence=0, config={}, at=at)
row = recorder.create_row(run_id="old", row_id="row", source_node_id="csv", row_index=0,
    data={"said": "once"}, at=at)
recorder.complete_run(run_id="old", status="failed", at=at)
make_policy(planner, scope="status", scope_value="failed", keep_days=0, delete_after_days=1)
plan = retention.preview(by=planner.pk, at=now)
retention.approve(plan_id=plan.pk, digest=plan.digest, count=plan.items, reason="agreed",
    by=approver.pk, at=now)
assert payloads.existing([row.source_data_ref])
retention.begin(plan_id=plan.pk, by=planner.pk, at=now)
tasks.enqueue_purge(plan.pk)
print(plan.pk, plan.items, row.source_data_ref)
"""


def record(var, run_id, **environment):
    code, said = run(var, "shell", "-v0", "-c", RECORD.format(run_id), **environment)
    assert code == 0, said


def summarised(var, run_id):
    with connect(var) as application:
        return application.execute(
            "SELECT 1 FROM run_summaries WHERE run_id = %s", [run_id]
        ).fetchone()


class TestBackground:
    def test_counts_a_run_that_has_ended_and_carries_a_purge_on(self, start):
        site = start()
        site.wait_for("Landscape is ready")

        code, said = run(site.var, "shell", "-v0", "-c", PURGE, LANDSCAPE_PURGE_WAIT="0")

        assert code == 0, said
        plan, listed, contents = said.split()[-3:]
        until(lambda: summarised(site.var, "old"))
        until(lambda: plan_of(site.var, plan) == ("executed", int(listed), True))
        assert not (site.var / "payloads" / payloads.place(contents)).exists()

    @pytest.mark.faults
    def test_goes_on_after_each_of_its_parts_was_killed(self, start, rounds):
        site = start()
        site.wait_for("Landscape is ready")
        parts = [
            site.workers,
            site.sweepers,
            lambda: postgres.strays(Places(site.var).queue, "valkey"),
        ]
        for each in range(rounds(12)):
            for pid in until(parts[each % 3]):
                os.kill(pid, signal.SIGKILL)

            record(site.var, f"r{each}")

            until(lambda each=each: summarised(site.var, f"r{each}"), seconds=60)

    @pytest.mark.faults
    def test_rings_again_for_what_the_broker_forgot(self, start):
        site = start()
        site.wait_for("Landscape is ready")
        for pid in until(site.workers):
            os.kill(pid, signal.SIGSTOP)
        record(site.var, "r")
        until(lambda: hints(site.var))
        flush(site.var)
        for pid in site.workers():
            os.kill(pid, signal.SIGCONT)

        until(lambda: summarised(site.var, "r"), seconds=60)


@pytest.mark.django_db
def test_the_sweeper_removes_once_a_day_what_nobody_comes_back_to(settings, tmp_path, monkeypatch):
    settings.LANDSCAPE_VAR = tmp_path
    monkeypatch.setattr(tasks, "_nightly", tasks._Pauses(first=60, longest=60))
    old, current = (timezone.now() + timedelta(days=days) for days in (-1, 1))
    for key, end in (("old", old), ("current", current)):
        Session.objects.create(session_key=key, session_data="", expire_date=end)
    left = [tmp_path / "payloads" / "aa" / ".left", tmp_path / "seals" / "leaves" / ".left"]
    for path in left:
        path.parent.mkdir(parents=True)
        path.touch()
        os.utime(path, (0, 0))

    tasks.sweep()
    left[0].touch()
    os.utime(left[0], (0, 0))
    tasks.sweep()

    assert [each.session_key for each in Session.objects.all()] == ["current"]
    assert [path.exists() for path in left] == [True, False]


class TestRinging:
    def test_waits_a_moment_for_a_broker_that_is_not_there(self, tmp_path, new_cluster):
        new_cluster(tmp_path / "var")
        script = "import time; from audit import tasks; began = time.monotonic()\n"
        script += "tasks.enqueue_summary('r'); print('took', time.monotonic() - began)"

        code, said = run(
            tmp_path / "var",
            "shell",
            "-v0",
            "-c",
            script,
            LANDSCAPE_BROKER_URL="redis://127.0.0.1:1/0",
        )

        assert code == 0, said
        assert "The sweeper rings again" in said
        assert float(said.rsplit("took", 1)[1]) < 5


def plan_of(var, plan):
    with connect(var) as application:
        return application.execute(
            "SELECT status, purged_items, EXISTS (SELECT 1 FROM purge_certificates c"
            " WHERE c.plan_id = p.plan_id) FROM purge_plans p WHERE plan_id = %s",
            [plan],
        ).fetchone()


def hints(var):
    with redis.Redis(unix_socket_path=str(Places(var).queue_socket)) as client:
        return client.llen("default")


def flush(var):
    with redis.Redis(unix_socket_path=str(Places(var).queue_socket)) as client:
        client.flushall()
