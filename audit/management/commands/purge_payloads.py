"""Plans, approves and executes purges from a shell, also where no worker runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from audit import access, retention
from audit.errors import AuditError
from audit.models import PurgePlan
from audit.vocabulary import AccessAction, Right

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    """Exit status: 0 done, 1 refused, with the reason."""

    help = "Makes a purge plan, and executes one that a second person has approved on its page."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Say what the command takes."""
        actions = parser.add_subparsers(dest="action", required=True)
        for name, told in (
            ("preview", "list what would go and what stays; nothing is deleted"),
            ("show", "how a plan stands"),
            ("execute", "delete what an approved plan lists, or carry that on"),
            ("stop", "stop a purge before its next batch"),
        ):
            action = actions.add_parser(name, help=told)
            if name != "preview":
                action.add_argument("plan_id", metavar="PLAN", type=int)
            if name != "show":
                action.add_argument("--by", required=True, help="who does this: a user name")
            action.add_argument("--json", action="store_true", help="print one object")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Do it, and say how the plan stands then."""
        try:
            plan = self._done(**options)
        except AuditError as error:
            raise CommandError(str(error)) from error
        told = _told(plan)
        if options["json"]:
            self.stdout.write(json.dumps(told, indent=2))
            return
        for name, value in told.items():
            self.stdout.write(f"{name}: {value}")

    def _done(self, *, action: str, **options: Any) -> PurgePlan:
        now = timezone.now()
        if action == "show":
            return self._plan(options["plan_id"])
        by = self._person(options["by"])
        if action == "preview":
            plan = retention.preview(by=by, at=now)
            _keep(AccessAction.PLAN_MADE, by, plan)
        elif action == "stop":
            plan = retention.stop(plan_id=options["plan_id"], by=by, at=now)
            _keep(AccessAction.PLAN_STOPPED, by, plan)
        else:
            plan = self._plan(options["plan_id"])
            if plan.begun_at is None:
                _keep(AccessAction.PLAN_EXECUTED, by, plan)
                retention.begin(plan_id=plan.plan_id, by=by, at=now)
            if not retention.execute(plan_id=plan.plan_id, clock=timezone.now):
                raise CommandError(f"plan {plan.plan_id} has ended, or another process has it")
            plan.refresh_from_db()
        return plan

    def _plan(self, plan_id: int) -> PurgePlan:
        plan = PurgePlan.objects.filter(plan_id=plan_id).first()
        if plan is None:
            raise CommandError(f"there is no plan {plan_id}")
        return plan

    def _person(self, name: str) -> int:
        person = get_user_model().objects.filter(username=name).first()
        if person is None or not access.may(person, Right.PLAN_RETENTION):
            told = access.roles_with(Right.PLAN_RETENTION)
            raise CommandError(f"{name} is no member of the group {told}")
        return int(person.pk)


def _keep(action: AccessAction, by: int, plan: PurgePlan) -> None:
    access.record(
        action=action, user_id=by, run_id="", object_id=str(plan.plan_id), at=timezone.now()
    )


def _told(plan: PurgePlan) -> dict[str, Any]:
    return {
        "plan": plan.plan_id,
        "status": plan.status,
        "digest": plan.digest,
        "payloads": plan.items,
        "bytes": plan.bytes,
        "runs": plan.runs,
        "kept": json.loads(plan.kept_json or "{}"),
        "may_begin_at": plan.may_begin_at.isoformat() if plan.may_begin_at else None,
        "purged": plan.purged_items,
        "purged_bytes": plan.purged_bytes,
        "skipped": plan.skipped_items,
        "problem": plan.problem,
    }
