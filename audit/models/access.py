"""Who was given what."""

from __future__ import annotations

from django.db import models

from audit.models.fields import ReasonedIndex, finite, id_field, instant_field, one_of, word_field
from audit.vocabulary import AccessAction, Right

# Two belong to exports, and stand there.
_RIGHTS = tuple(each for each in Right.choices if "export" not in each[0])


class AccessEvent(models.Model):
    """Something left the house: written before it does, and never changed after.

    People stand here by number; their names are looked up, and may be gone.
    """

    event_id = models.BigAutoField(primary_key=True)
    at = instant_field()
    user_id = models.BigIntegerField()
    action = word_field(AccessAction)
    run_id = id_field()
    object_id = id_field()

    class Meta:
        db_table = "access_events"
        permissions = _RIGHTS
        constraints = [
            one_of("action", AccessAction, name="access_events_action_known"),
            finite("at", name="access_events_times_finite"),
        ]
        indexes = [
            ReasonedIndex(
                fields=["object_id", "at"],
                name="access_events_by_object",
                reason="The page of an export: how often was it downloaded?",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.action} of {self.object_id}"
