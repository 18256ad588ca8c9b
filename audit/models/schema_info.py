"""Which schema this database holds."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from audit.models.fields import finite, instant_field, text_field

SCHEMA_VERSION = 18


class SchemaInfo(models.Model):
    """One row that says: this is Landscape's database, at this version.

    Start-up refuses another application's database and a version that it does not know.
    """

    singleton_id = models.IntegerField(primary_key=True, default=1)
    application = text_field()
    version = models.IntegerField()
    applied_at = instant_field()

    class Meta:
        db_table = "schema_info"
        constraints = [
            models.CheckConstraint(
                condition=Q(singleton_id=1),
                name="schema_info_one_row",
                violation_error_message="There is one row.",
            ),
            models.CheckConstraint(
                condition=Q(application="landscape"),
                name="schema_info_application",
                violation_error_message="The application is landscape.",
            ),
            finite("applied_at", name="schema_info_times_finite"),
        ]

    def __str__(self) -> str:
        return f"{self.application} schema {self.version}"
