"""Seals: what was signed about a run when it ended, and the log of all that was ever signed."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from audit.models.fields import (
    CompositeForeignKey,
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
from audit.vocabulary import KeyEventKind, SealReason


class Seal(models.Model):
    """One epoch of a run, signed: the root over every record of it so far.

    The seals of a run are a chain without branches in which sizes only grow: the keys below
    hold that, so nobody can put a second root, or a smaller one, beside what was signed.
    """

    pk = models.CompositePrimaryKey("run_id", "epoch")
    run_id = id_field()
    epoch = models.IntegerField()
    reason = word_field(SealReason)
    sealed_at = instant_field()
    origin = text_field()
    size = models.BigIntegerField()
    root = hash_field()
    first_leaf = models.BigIntegerField()
    prev_epoch = models.IntegerField(null=True)
    prev_size = models.BigIntegerField()
    prev_root = hash_field(null=True)
    counts_json = text_field()
    schema_json = text_field()
    reproducibility_grade = text_field(null=True)
    # The signed checkpoint, as it is shipped, and which key signed it.
    checkpoint = text_field()
    key_id = id_field()
    # Number, SHA-256, sizes and checksum of every file of records up to here.
    segments_json = text_field()
    run = link("audit.Run", "run_id", back="seals")
    previous = link(
        "audit.Seal",
        "run_id",
        "prev_epoch",
        to_columns=("run_id", "epoch"),
        null=True,
    )

    class Meta:
        db_table = "seals"
        constraints = [
            points_to("runs", "run_id", name="seals_run"),
            unique(
                "run_id",
                "epoch",
                "size",
                "root",
                name="seals_as_followed",
                reason="What the next epoch points at: epoch, size and root in one.",
            ),
            points_to(
                "seals",
                "run_id",
                "prev_epoch",
                "prev_size",
                "prev_root",
                to_columns=("run_id", "epoch", "size", "root"),
                name="seals_previous",
            ),
            models.CheckConstraint(
                condition=Q(epoch=1, prev_epoch__isnull=True, prev_root__isnull=True, prev_size=0)
                | Q(
                    epoch__gt=1,
                    prev_epoch__isnull=False,
                    prev_root__isnull=False,
                    prev_epoch=F("epoch") - 1,
                ),
                name="seals_follow_each_other",
                violation_error_message="An epoch follows the one before it, and the first none.",
            ),
            models.CheckConstraint(
                condition=Q(size__gt=F("prev_size"), first_leaf=F("prev_size")),
                name="seals_only_grow",
                violation_error_message="A signed tree is never followed by a smaller one.",
            ),
            one_of("reason", SealReason, name="seals_reason_known"),
            finite("sealed_at", name="seals_times_finite"),
        ]

    def __str__(self) -> str:
        return f"epoch {self.epoch} of {self.run_id}"


class SealCheck(models.Model):
    """The database was compared with a seal, and this came out."""

    check_id = models.BigAutoField(primary_key=True)
    run_id = id_field()
    epoch = models.IntegerField()
    checked_at = instant_field()
    records = models.BigIntegerField()
    differences = models.BigIntegerField()
    seal = link("audit.Seal", "run_id", "epoch", back="checks")

    class Meta:
        db_table = "seal_checks"
        constraints = [
            points_to("seals", "run_id", "epoch", name="seal_checks_seal"),
            finite("checked_at", name="seal_checks_times_finite"),
        ]
        indexes = [
            ReasonedIndex(
                fields=["run_id", "-checked_at"],
                name="seal_checks_by_run",
                reason="The run page: when did the database last match?",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.differences} differences in {self.run_id}"


class SealLogEntry(models.Model):
    """One leaf of the seal log: the checkpoint text of one seal, and the log signed with it.

    The log is the order in which this deployment signed things. `edge` is the right edge of its
    tree, from which the next entry goes on; every entry but the first names the one before it.
    """

    leaf_index = models.BigIntegerField(primary_key=True)
    previous_index = models.BigIntegerField(null=True)
    run_id = id_field()
    epoch = models.IntegerField()
    leaf_text = text_field()
    leaf_hash = hash_field()
    root = hash_field()
    edge = models.BinaryField()
    checkpoint = text_field()
    key_id = id_field()
    logged_at = instant_field()
    seal = link("audit.Seal", "run_id", "epoch", back="log_entries")

    class Meta:
        db_table = "seal_log"
        constraints = [
            points_to("seals", "run_id", "epoch", name="seal_log_seal"),
            CompositeForeignKey(
                columns=("previous_index",),
                to_table="seal_log",
                to_columns=("leaf_index",),
                name="seal_log_previous",
                violation_error_message="An entry follows one that is there.",
            ),
            models.CheckConstraint(
                condition=Q(leaf_index=0, previous_index__isnull=True)
                | Q(previous_index__isnull=False, leaf_index=F("previous_index") + 1),
                name="seal_log_without_gap",
                violation_error_message="The log has no gap: one root for each size.",
            ),
            unique(
                "run_id",
                "epoch",
                name="seal_log_once",
                reason="Two processes cannot both log one seal.",
            ),
            finite("logged_at", name="seal_log_times_finite"),
        ]

    def __str__(self) -> str:
        return f"leaf {self.leaf_index}: epoch {self.epoch} of {self.run_id}"


class KeyEvent(models.Model):
    """Something that happened to a key with which this deployment signs.

    A key is introduced, later retired, or found to be compromised since some instant. Public
    parts only: this is where processes that never sign learn the keys from.
    """

    event_id = models.BigAutoField(primary_key=True)
    kind = word_field(KeyEventKind)
    key_name = text_field()
    key_id = id_field()
    public_key = hash_field()
    happened_at = instant_field()
    reason = text_field()
    # All that had happened up to and with this, as a note signed by the keys concerned.
    history = text_field()

    class Meta:
        db_table = "key_events"
        constraints = [
            one_of("kind", KeyEventKind, name="key_events_kind_known"),
            unique(
                "key_name",
                "public_key",
                "kind",
                name="key_events_once",
                reason="A key is introduced, retired or given up once.",
            ),
            models.CheckConstraint(
                condition=Q(public_key__regex=r"^[0-9a-f]{64}$"),
                name="key_events_key_shape",
                violation_error_message="An Ed25519 key is 32 bytes, in hex.",
            ),
            finite("happened_at", name="key_events_times_finite"),
        ]

    def __str__(self) -> str:
        return f"{self.key_id} {self.kind}"
