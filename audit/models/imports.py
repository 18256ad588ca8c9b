"""Where imported runs came from."""

from __future__ import annotations

from django.db import models

from audit.models.fields import (
    ReasonedIndex,
    finite,
    hash_field,
    id_field,
    instant_field,
    link,
    one_of,
    points_to,
    text_field,
    unique,
    word_field,
)
from audit.vocabulary import Era, ImportOutcome


class Import(models.Model):
    """One file gave us one run, or more of it.

    Written in the transaction that stores the run, so a run without its origin, or an
    origin without its run, cannot exist. A file that was refused leaves no row.
    """

    import_id = models.CharField(max_length=64, primary_key=True, db_collation="C")
    run_id = id_field()
    source_name = text_field()
    source_sha256 = hash_field()
    source_bytes = models.BigIntegerField()
    era = models.CharField(max_length=8, choices=Era.choices)
    # A hash over every table, column, type, NOT NULL and key of the file: for support.
    schema_fingerprint = hash_field()
    # The file says WAL but came without one: what a clean close leaves behind.
    rests_on_clean_close = models.BooleanField()
    outcome = word_field(ImportOutcome)
    records_json = text_field()
    imported_at = instant_field()
    run = link("audit.Run", "run_id", back="imports")

    class Meta:
        db_table = "imports"
        constraints = [
            points_to("runs", "run_id", name="imports_run"),
            unique(
                "run_id",
                "source_sha256",
                name="imports_one_per_file",
                reason="Two importers of one file cannot both claim to have brought the run.",
            ),
            one_of("era", Era, name="imports_era_known"),
            one_of("outcome", ImportOutcome, name="imports_outcome_known"),
            finite("imported_at", name="imports_times_finite"),
        ]
        indexes = [
            ReasonedIndex(
                fields=["source_sha256"],
                name="imports_by_file",
                reason="Importing a file again: what has it brought already?",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.run_id} from {self.source_name}"
