"""The Celery application: configures the worker, and finds its tasks in `audit.tasks`."""

import os
import warnings

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "landscape_site.settings")

# A trial in a container runs as root; messages are JSON and run nothing.
warnings.filterwarnings("ignore", message=".*running the worker with superuser privileges")

app = Celery("landscape")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["audit"])
