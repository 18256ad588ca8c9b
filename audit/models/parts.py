"""Work that several workers share: the parts of one big seal or export."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from audit.models.fields import finite, id_field, instant_field, none_null, text_field


class Part(models.Model):
    """One segment of a seal or an export that is being made.

    Who seals or exports a big run opens its parts, makes those that nobody else takes, and
    removes them all at the end. A worker has a part by a lease; a part may be made twice and
    comes to the same. Nothing here is evidence: without these rows one worker does it all.
    """

    pk = models.CompositePrimaryKey("job", "number")
    # `seal <run>` or `export <id>`.
    job = text_field()
    number = models.IntegerField()
    # Of this opening: what was begun for an earlier one is not taken for it.
    token = id_field()
    records = models.IntegerField()
    # What is to be made, and what came of it.
    what_json = text_field()
    made_json = text_field(null=True)
    fence = models.BigIntegerField()
    lease_owner = text_field(null=True)
    lease_until = instant_field(null=True)
    opened_at = instant_field()

    class Meta:
        db_table = "parts"
        constraints = [
            models.CheckConstraint(
                condition=none_null(["lease_owner", "lease_until"])
                | Q(lease_owner__isnull=True, lease_until__isnull=True),
                name="parts_held_by_lease",
                violation_error_message="A worker has a part for as long as its lease lasts.",
            ),
            models.CheckConstraint(
                condition=Q(number__gte=0, records__gt=0, fence__gte=0),
                name="parts_counted",
                violation_error_message="A part has a place in its job, and holds records.",
            ),
            finite("lease_until", "opened_at", name="parts_times_finite"),
        ]

    def __str__(self) -> str:
        return f"part {self.number} of {self.job}"
