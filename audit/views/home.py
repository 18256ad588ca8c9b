"""The first page: the list of runs, or how to bring the first one in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.shortcuts import redirect, render
from django.utils import timezone

from audit import lineage
from audit.views.doors import page

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


@page()
def home(request: HttpRequest) -> HttpResponse:
    """Send to the runs, or say how to import while there are none."""
    if lineage.any_run_exists():
        return redirect("audit:runs")
    house = lineage.describe_house()
    return render(request, "audit/first_start.html", {"house": house, "now": timezone.now()})
