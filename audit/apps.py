"""The one application: the audit trail and everything that reads or writes it."""

from django.apps import AppConfig


class AuditConfig(AppConfig):
    """Landscape's tables, pages and commands."""

    name = "audit"
    verbose_name = "Landscape"
    default_auto_field = "django.db.models.BigAutoField"
