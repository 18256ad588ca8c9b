"""The one application: the audit trail and everything that reads or writes it."""

from django.apps import AppConfig
from django.core.checks import register

from audit import checks


class AuditConfig(AppConfig):
    """Landscape's tables, pages and commands."""

    name = "audit"
    verbose_name = "Landscape"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Have Django tell what is set up wrongly."""
        register(checks.look, checks.TAG)
