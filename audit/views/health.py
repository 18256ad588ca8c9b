"""Two questions that a load balancer asks. No login, and nothing told beyond yes or no."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError
from django.http import HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from audit import lineage

if TYPE_CHECKING:
    from django.http import HttpRequest

logger = logging.getLogger(__name__)


@login_not_required
@require_safe
@never_cache
def live(_request: HttpRequest) -> HttpResponse:
    """The process answers."""
    return HttpResponse("live\n", content_type="text/plain")


@login_not_required
@require_safe
@never_cache
def ready(_request: HttpRequest) -> HttpResponse:
    """The database answers and has the schema that this version was written for."""
    try:
        fits = lineage.schema_fits()
    except DatabaseError:
        # The reason is for the log: an answer to a stranger names no host and no login.
        logger.warning("not ready: the database does not answer", exc_info=True)
        fits = False
    words, status = ("ready\n", 200) if fits else ("not ready\n", 503)
    return HttpResponse(words, content_type="text/plain", status=status)
