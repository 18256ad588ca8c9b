"""Legal holds: what they cover stays, whatever a policy or a plan says.

A hold takes effect with its commit: a purge that is going on meets it before its next deletion.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import transaction

from audit.errors import NotRecorded, RetentionRefused
from audit.models import LegalHold, Run
from audit.vocabulary import HoldScope, HoldStatus

if TYPE_CHECKING:
    from datetime import datetime


@transaction.atomic
def place_hold(  # noqa: PLR0913  # a hold has these parts
    *,
    scope: str,
    scope_value: str | None,
    matter: str,
    reason: str,
    by: int,
    at: datetime,
) -> LegalHold:
    """Hold a run, the runs of a pipeline (by name or configuration's hash), or everything.

    Waits for a batch that is being deleted at this moment, at most two seconds of work.

    Raises:
        NotRecorded: there is no such run.
        RetentionRefused: matter or reason is missing, or it does not say what it holds.
    """
    if not matter.strip() or not reason.strip():
        raise RetentionRefused("a hold has a matter and a reason")
    if scope not in HoldScope.values or (scope == HoldScope.EVERYTHING) != (not scope_value):
        raise RetentionRefused("a hold is on everything, or says on what")
    if scope == HoldScope.RUN and not Run.objects.filter(run_id=scope_value).exists():
        raise NotRecorded("run", str(scope_value))
    return LegalHold.objects.create(
        status=HoldStatus.ACTIVE,
        scope=scope,
        scope_value=scope_value or None,
        matter=matter.strip(),
        reason=reason.strip(),
        placed_by=by,
        placed_at=at,
    )


@transaction.atomic
def ask_release(*, hold_id: int, reason: str, by: int, at: datetime) -> LegalHold:
    """Ask for the release of a hold; it goes on holding until another person confirms.

    Raises:
        NotRecorded: there is no such hold.
        RetentionRefused: it is released, its release is asked for already, or no reason is given.
    """
    if not reason.strip():
        raise RetentionRefused("asking for a release has a reason")
    changed = LegalHold.objects.filter(hold_id=hold_id, status=HoldStatus.ACTIVE).update(
        status=HoldStatus.RELEASE_ASKED,
        release_asked_by=by,
        release_asked_at=at,
        release_reason=reason.strip(),
    )
    return _changed(hold_id, changed, "is not simply active")


@transaction.atomic
def withdraw_release(*, hold_id: int) -> LegalHold:
    """Take back that a release was asked for.

    Raises:
        NotRecorded: there is no such hold.
        RetentionRefused: nobody asks for its release.
    """
    changed = LegalHold.objects.filter(hold_id=hold_id, status=HoldStatus.RELEASE_ASKED).update(
        status=HoldStatus.ACTIVE, release_asked_by=None, release_asked_at=None, release_reason=None
    )
    return _changed(hold_id, changed, "has no release to take back")


@transaction.atomic
def confirm_release(*, hold_id: int, by: int, at: datetime) -> LegalHold:
    """Release a hold, as another person than who asked; the database asks for their role.

    Raises:
        NotRecorded: there is no such hold.
        RetentionRefused: nobody has asked, the same person has, or this one may not.
    """
    hold = LegalHold.objects.filter(hold_id=hold_id).first()
    if hold is not None and hold.release_asked_by == by:
        raise RetentionRefused(f"who asked for the release of hold {hold_id} cannot confirm it")
    changed = LegalHold.objects.filter(hold_id=hold_id, status=HoldStatus.RELEASE_ASKED).update(
        status=HoldStatus.RELEASED, released_by=by, released_at=at
    )
    return _changed(hold_id, changed, "cannot be released before that is asked for")


def _changed(hold_id: int, changed: int, otherwise: str) -> LegalHold:
    hold = LegalHold.objects.filter(hold_id=hold_id).first()
    if hold is None:
        raise NotRecorded("hold", str(hold_id))
    if not changed:
        raise RetentionRefused(f"hold {hold_id} {otherwise}")
    return hold
