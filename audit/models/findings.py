"""What a sweep found: habits of an era, and things that should not be."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from audit.models.fields import (
    ReasonedIndex,
    finite,
    id_field,
    instant_field,
    link,
    one_of,
    points_to,
    text_field,
    word_field,
)
from audit.vocabulary import FindingLevel


class Finding(models.Model):
    """One thing found about one record, or about the many further ones of the same kind.

    A sweep lists the first records of a kind one by one; a last finding without a key says
    how many more there are, so a million equal quirks cost a page and not a million rows.
    """

    finding_id = models.BigAutoField(primary_key=True)
    run_id = id_field()
    code = text_field()
    level = word_field(FindingLevel)
    table_name = text_field()
    record_key = text_field()
    detail = text_field()
    occurrences = models.BigIntegerField()
    found_at = instant_field()
    run = link("audit.Run", "run_id", back="findings")

    class Meta:
        db_table = "findings"
        constraints = [
            points_to("runs", "run_id", name="findings_run"),
            one_of("level", FindingLevel, name="findings_level_known"),
            models.CheckConstraint(
                condition=Q(occurrences__gte=1),
                name="findings_occur",
                violation_error_message="A finding stands for at least one record.",
            ),
            finite("found_at", name="findings_times_finite"),
        ]
        indexes = [
            ReasonedIndex(
                fields=["run_id", "code"],
                name="findings_by_run",
                reason="The run page: what was found, by code.",
            ),
            ReasonedIndex(
                fields=["run_id", "record_key"],
                name="findings_by_record",
                reason="The token and row pages: what was found about this record.",
            ),
            ReasonedIndex(
                fields=["level", "-finding_id"],
                name="findings_by_level",
                reason="The desk's list of findings by level: errors are rare.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.code} on {self.table_name} {self.record_key}"
