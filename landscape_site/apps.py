"""Every process that may ring for a worker knows where the bell is."""

from django.apps import AppConfig


class LandscapeConfig(AppConfig):
    """The process around `audit`."""

    name = "landscape_site"

    def ready(self) -> None:
        """Make the Celery application the one that tasks belong to."""
        from landscape_site import celery

        celery.app.set_default()
