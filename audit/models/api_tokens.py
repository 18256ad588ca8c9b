"""What programs show instead of a person."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q

from audit.models.fields import ReasonedIndex, finite, hash_field, id_field, instant_field, unique
from audit.vocabulary import TokenScope

if TYPE_CHECKING:
    from datetime import datetime

LONGEST_LIFE = timedelta(days=90)


class ApiToken(models.Model):
    """A token for the API: what its owner may do, cut down to its scopes, for ninety days at most.

    The token itself is nowhere: whoever reads this table learns none. The application may say
    when one was used and that it is revoked, and change nothing else of it.
    """

    token_id = models.BigAutoField(primary_key=True)
    # Nobody is ever deleted. Without a constraint, as our tables are compared without Django's.
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        related_name="+",
        db_index=False,
        db_constraint=False,
    )
    name = id_field()
    # SHA-256 of the token. It has 256 random bits, so no salt and no slow hash would add anything.
    token_hash = hash_field()
    scopes = ArrayField(models.CharField(max_length=32, choices=TokenScope.choices))
    made_at = instant_field()
    expires_at = instant_field()
    # To the minute.
    last_used_at = instant_field(null=True)
    revoked_at = instant_field(null=True)

    class Meta:
        db_table = "api_tokens"
        constraints = [
            unique("token_hash", name="api_tokens_one_hash", reason="A token is one person's."),
            models.CheckConstraint(
                condition=Q(scopes__contained_by=TokenScope.values) & ~Q(scopes=[]),
                name="api_tokens_scopes_known",
                violation_error_message="scopes holds words of TokenScope, and one at least.",
            ),
            models.CheckConstraint(
                condition=Q(expires_at__gt=F("made_at"))
                & Q(expires_at__lte=F("made_at") + LONGEST_LIFE),
                name="api_tokens_expire",
                violation_error_message="A token expires, after ninety days at the latest.",
            ),
            finite(
                "made_at",
                "expires_at",
                "last_used_at",
                "revoked_at",
                name="api_tokens_times_finite",
            ),
        ]
        indexes = [
            ReasonedIndex(
                fields=["user", "token_id"],
                name="api_tokens_by_user",
                reason="The page of one's own tokens.",
            ),
        ]

    def __str__(self) -> str:
        return f"API token {self.token_id}"

    def standing(self, *, at: datetime) -> str:
        """`revoked`, `expired` or `live`, in this order."""
        if self.revoked_at is not None:
            return "revoked"
        return "live" if self.expires_at > at else "expired"
