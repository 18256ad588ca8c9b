"""Figures about a run that would need a scan: computed once, kept beside it."""

from __future__ import annotations

from django.db import models

from audit.models.fields import finite, instant_field, link, points_to, text_field


class RunSummary(models.Model):
    """What the run pages count. Derived: it can be thrown away and computed again."""

    run_id = models.CharField(max_length=64, primary_key=True, db_collation="C")
    pipeline = text_field()
    rows = models.BigIntegerField()
    tokens = models.BigIntegerField()
    states = models.BigIntegerField()
    calls = models.BigIntegerField()
    errors = models.BigIntegerField()
    # How many tokens ended by each outcome; "" counts those without any.
    outcomes_json = text_field()
    # By node: visits, completed, failed, open or pending, retries.
    nodes_json = text_field()
    computed_at = instant_field()
    run = link("audit.Run", "run_id", back="summary")

    class Meta:
        db_table = "run_summaries"
        constraints = [
            points_to("runs", "run_id", name="run_summaries_run"),
            finite("computed_at", name="run_summaries_times_finite"),
        ]

    def __str__(self) -> str:
        return f"figures of {self.run_id}"
