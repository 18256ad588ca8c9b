"""Worlds for retention: recorded runs with payloads on disk, people with roles, whole purges."""

from __future__ import annotations

from datetime import timedelta

from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.models import ContentType

from audit import recorder, retention
from audit.models import PurgePlan, Run
from tests.builders import NOON, new_id

LATER = NOON + timedelta(days=400)


def make_person(name: str, *codenames: str, **columns) -> User:
    """Somebody with these permissions."""
    person = User.objects.create_user(name, **columns)
    for codename in codenames:
        permission = Permission.objects.filter(
            codename=codename, content_type__app_label="audit"
        ).first()
        if permission is None:
            kind, _ = ContentType.objects.get_or_create(app_label="audit", model="purgeplan")
            permission = Permission.objects.create(
                content_type=kind, codename=codename, name=codename
            )
        person.user_permissions.add(permission)
    return person


def make_two() -> tuple[User, User]:
    """Who plans, and who approves."""
    return (
        make_person(f"planner{new_id()[-6:]}", "plan_retention"),
        make_person(f"approver{new_id()[-6:]}", "approve_retention"),
    )


def record_run(
    run_id: str,
    rows: int = 2,
    *,
    call: bool = False,
    shared: str | None = None,
    status: str = "failed",
    **options,
) -> Run:
    """A run that ended ten seconds after noon, its contents in the store."""
    settings = options.pop("settings", {"source": {"plugin": "csv"}, "of": run_id})
    recorder.begin_run(run_id=run_id, settings=settings, at=NOON)
    kinds = {"src": ("source", "io_read"), "llm": ("transform", "external_call")}
    for sequence, (name, (kind, determinism)) in enumerate(kinds.items()):
        if name == "llm" and not call:
            continue
        recorder.register_node(
            run_id=run_id,
            node_id=name,
            plugin_name=name,
            node_type=kind,
            plugin_version="1",
            determinism=determinism,
            sequence=sequence,
            config={},
            at=NOON,
        )
    for index in range(rows):
        recorder.create_row(
            run_id=run_id,
            row_id=f"{run_id}-{index}",
            source_node_id="src",
            row_index=index,
            data={"row": index, "of": shared or run_id},
            at=NOON,
        )
    if call:
        recorder.create_token(run_id=run_id, row_id=f"{run_id}-0", token_id=f"{run_id}-t", at=NOON)
        state = recorder.begin_node_state(
            run_id=run_id,
            token_id=f"{run_id}-t",
            node_id="llm",
            step_index=1,
            input_data={"row": 0},
            at=NOON,
        )
        recorder.record_call(
            run_id=run_id,
            state_id=state.state_id,
            call_type="llm",
            status="success",
            request={"ask": run_id},
            response={"answer": run_id},
            latency_ms=1.0,
            at=NOON,
        )
    if status != "running":
        recorder.complete_run(run_id=run_id, status=status, at=NOON + timedelta(seconds=10))
    return Run.objects.get(run_id=run_id)


def make_policy(by: User, name: str = "claims", **options):
    """Everything goes after a hundred days, unless told otherwise."""
    defaults = {
        "scope": "all",
        "scope_value": None,
        "keep_days": 30,
        "delete_after_days": 100,
        "reason": "the contract says so",
    }
    return retention.set_policy(name=name, by=by.pk, at=NOON, **defaults | options)


def approved_plan(planner: User, approver: User, at=LATER) -> PurgePlan:
    """A plan that may be executed at once."""
    plan = retention.preview(by=planner.pk, at=at)
    return retention.approve(
        plan_id=plan.plan_id,
        digest=plan.digest,
        count=plan.items,
        reason="agreed",
        by=approver.pk,
        at=at,
    )


def purge(planner: User, approver: User, at=LATER) -> PurgePlan:
    """From the list to the certificate."""
    plan = approved_plan(planner, approver, at)
    retention.begin(plan_id=plan.plan_id, by=planner.pk, at=at)
    assert retention.execute(plan_id=plan.plan_id, clock=lambda: at)
    plan.refresh_from_db()
    return plan
