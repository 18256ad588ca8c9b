"""The page of a run's conservation ledger: both accounts, every node, what does not add up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.shortcuts import render
from django.utils import timezone

from audit import lineage
from audit.views import answers
from audit.views.accounts import accounts_of
from audit.views.doors import page

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


@page()
def ledger(request: HttpRequest, run_id: str) -> HttpResponse:
    """What came in and what came of it."""
    found = lineage.explain_ledger(run_id=run_id)
    context = {
        "run": found.run,
        "ledger": found.ledger,
        "accounts": accounts_of(found.ledger, run_id) if found.ledger else None,
        "answer": answers.about_ledger(found),
        "now": timezone.now(),
    }
    return render(request, "audit/ledger.html", context)
