"""Who was given what, and what vouches for the log of it."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from audit.models.fields import (
    ReasonedIndex,
    finite,
    hash_field,
    id_field,
    instant_field,
    one_of,
    text_field,
    word_field,
)
from audit.vocabulary import AccessAction, AccessResult, Right

# Two belong to exports, and stand there.
_RIGHTS = tuple(each for each in Right.choices if "export" not in each[0])


class AccessEvent(models.Model):
    """Something that somebody did, was given or was refused: written before, never changed after.

    Events are a chain. The database itself numbers each without a gap and hashes it together with
    the hash of the one before, under a lock, whoever writes it (`landscape_access_chain`); what
    the writer says of number and hashes counts for nothing. `audit/evidence/access_log.py` hashes
    the same again in Python. People stand here by number, and by the name that they had.
    """

    event_id = models.BigAutoField(primary_key=True)
    at = instant_field()
    # Null where nobody was signed in: a refused sign-in.
    user_id = models.BigIntegerField(null=True)
    user_name = text_field(null=True)
    action = word_field(AccessAction)
    # The name of the page or of the kind of object.
    kind = id_field(null=True)
    run_id = id_field(null=True)
    object_id = id_field(null=True)
    result = word_field(AccessResult)
    request_id = id_field(null=True)
    address = id_field(null=True)
    reason = text_field(null=True)
    size_bytes = models.BigIntegerField(null=True)
    prev_hash = hash_field()
    hash = hash_field()

    class Meta:
        db_table = "access_events"
        permissions = _RIGHTS
        constraints = [
            one_of("action", AccessAction, name="access_events_action_known"),
            one_of("result", AccessResult, name="access_events_result_known"),
            finite("at", name="access_events_times_finite"),
        ]
        indexes = [
            ReasonedIndex(
                fields=["object_id", "action"],
                name="access_events_by_object",
                reason="Every page of evidence: how often was this viewed, or downloaded?",
            ),
            ReasonedIndex(
                fields=["run_id", "action"],
                name="access_events_by_run_action",
                reason="Every page of a run: how often was the run exported?",
            ),
            ReasonedIndex(
                fields=["run_id", "event_id"],
                name="access_events_by_run",
                reason="The access log of one run.",
            ),
            ReasonedIndex(
                fields=["user_id", "event_id"],
                name="access_events_by_user",
                reason="The access log of one person, and everybody's own reading.",
            ),
            ReasonedIndex(
                fields=["action", "event_id"],
                name="access_events_by_action",
                reason="The access log filtered by what was done; rare words above all.",
            ),
            ReasonedIndex(
                fields=["kind", "event_id"],
                name="access_events_by_kind",
                reason="The access log filtered by kind of object.",
            ),
            ReasonedIndex(
                fields=["at", "event_id"],
                name="access_events_by_time",
                reason="The access log of some days, however long ago.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.action} of {self.object_id}"


class AccessSeal(models.Model):
    """A signed note over the newest event of the access log, and so over all before it.

    Made daily by a worker, which has the signing key; the web server, which writes the log, has
    not. A copy lies in the storage `seals`, outside the database.
    """

    # The number of the event that it covers, and the hash of that event.
    event_id = models.BigIntegerField(primary_key=True)
    head_hash = hash_field()
    note = text_field()
    sealed_at = instant_field()

    class Meta:
        db_table = "access_seals"
        constraints = [
            finite("sealed_at", name="access_seals_times_finite"),
            models.CheckConstraint(
                condition=Q(event_id__gt=0),
                name="access_seals_cover_something",
                violation_error_message="A seal covers at least one event.",
            ),
        ]

    def __str__(self) -> str:
        return f"seal of {self.event_id} access events"
