"""Policies: how long payloads are kept. Never edited; a new version takes the old one's place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import transaction

from audit.errors import NotRecorded, RetentionRefused
from audit.models import RetentionPolicy
from audit.vocabulary import PolicyScope, RunStatus

if TYPE_CHECKING:
    from datetime import datetime

_LONGEST_DAYS = 36_500


@transaction.atomic
def set_policy(  # noqa: PLR0913  # a policy has these parts
    *,
    name: str,
    scope: str,
    scope_value: str | None,
    keep_days: int,
    delete_after_days: int | None,
    reason: str,
    by: int,
    at: datetime,
) -> RetentionPolicy:
    """Make a policy, or the next version of the one with this name; in force at once.

    `keep_days` and `delete_after_days` count from the end of a run; without `delete_after_days` it
    only keeps. `scope_value` is a status, or a pipeline by its name or its configuration's hash.
    Records carry no tags, so there is no policy by tag.

    Raises:
        RetentionRefused: something is missing, or nothing would be kept as long as it says.
    """
    name, reason = " ".join(name.split()), reason.strip()
    if not name or not reason:
        raise RetentionRefused("a policy has a name and a reason")
    if scope not in PolicyScope.values or (scope == PolicyScope.ALL) != (not scope_value):
        raise RetentionRefused("a policy is for every run, or says for which")
    if scope == PolicyScope.STATUS and scope_value not in RunStatus.values:
        raise RetentionRefused(f"no run has the status {scope_value!r:.40}")
    if not 0 <= keep_days <= _LONGEST_DAYS:
        raise RetentionRefused(f"keep for 0 to {_LONGEST_DAYS:,} days")
    if delete_after_days is not None and not keep_days <= delete_after_days <= _LONGEST_DAYS:
        raise RetentionRefused("nothing is deleted before it may be: delete after at least as long")
    before = _newest(name)
    return RetentionPolicy.objects.create(
        name=name,
        version=before.version + 1 if before else 1,
        prev_version=before.version if before else None,
        scope=scope,
        scope_value=scope_value or None,
        keep_days=keep_days,
        delete_after_days=delete_after_days,
        ended=False,
        reason=reason,
        made_by=by,
        made_at=at,
    )


@transaction.atomic
def end_policy(*, name: str, reason: str, by: int, at: datetime) -> RetentionPolicy:
    """End a policy by a last version; it stays to be read.

    Raises:
        NotRecorded: there is no such policy in force.
        RetentionRefused: no reason is given.
    """
    before = _newest(name)
    if before is None or before.ended:
        raise NotRecorded("policy", name)
    if not reason.strip():
        raise RetentionRefused("ending a policy has a reason")
    return RetentionPolicy.objects.create(
        name=name,
        version=before.version + 1,
        prev_version=before.version,
        scope=before.scope,
        scope_value=before.scope_value,
        keep_days=before.keep_days,
        delete_after_days=before.delete_after_days,
        ended=True,
        reason=reason.strip(),
        made_by=by,
        made_at=at,
    )


def _newest(name: str) -> RetentionPolicy | None:
    return RetentionPolicy.objects.filter(name=name).order_by("-version").first()
