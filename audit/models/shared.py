"""What web processes must know of each other while Valkey is away."""

from __future__ import annotations

from django.db import models

from audit.models.fields import finite, instant_field, text_field


class SharedValue(models.Model):
    """A counted sign-in or a used code, kept here while Valkey does not answer.

    Nothing of it lasts longer than the window in which it is counted.
    """

    key = models.CharField(primary_key=True, max_length=255, db_collation="C")
    value = text_field()
    expires_at = instant_field()

    class Meta:
        db_table = "shared_values"
        constraints = [finite("expires_at", name="shared_values_times_finite")]

    def __str__(self) -> str:
        return self.key
