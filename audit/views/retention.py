"""Retention for whoever reads: policies, holds, what goes when, plans and certificates.

What people decide they decide in the administration; here nothing changes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from django.core.exceptions import BadRequest
from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.utils import timezone

from audit import retention
from audit.retention import standing
from audit.views.doors import LONGEST_NUMBER, choice, page, text, whole
from audit.vocabulary import KeepRule

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.http.response import HttpResponseBase


@page("after")
def overview(request: HttpRequest) -> HttpResponse:
    """How long payloads are kept, what is held, what is due, and every plan so far."""
    found = standing.overview(
        at=timezone.now(), after=whole(request, "after", what="the number of a plan")
    )
    context = {
        "section": "retention",
        "found": found,
        "policies": [(each, standing.about_policy(each)) for each in found.policies],
        "holds": [(each, standing.about_hold(each)) for each in found.holds],
        "now": timezone.now(),
    }
    return render(request, "audit/retention.html", context)


@page()
def policies(request: HttpRequest) -> HttpResponse:
    """Every version of every policy."""
    found = standing.policy_versions()
    context = {
        "section": "retention",
        "policies": [(each, standing.about_policy(each)) for each in found],
        "people": standing.names(each.made_by for each in found),
        "now": timezone.now(),
    }
    return render(request, "audit/policies.html", context)


@page("kept", "after")
def plan(request: HttpRequest, plan_id: int) -> HttpResponse:
    """One plan: what goes and what stays, who agreed, how far it is."""
    story = standing.explain_plan(plan_id=_number(plan_id))
    rule = choice(request, "kept", tuple(KeepRule.values))
    after = text(request, "after")
    if after and not rule:
        raise BadRequest("“after” goes with “kept”: it is the last payload of a page.")
    kept = (
        standing.kept_payloads(plan_id=story.plan.plan_id, rule=rule, after=after) if rule else []
    )
    context = {
        "section": "retention",
        "story": story,
        "plan": story.plan,
        "live": story.plan.status in {"executing", "stopping"},
        "done": story.plan.purged_items + story.plan.skipped_items,
        "rule": KeepRule(rule).label if rule else None,
        "rule_word": rule,
        "kept": kept[: standing.A_PAGE],
        "next": kept[standing.A_PAGE - 1].content_hash if len(kept) > standing.A_PAGE else None,
        "now": timezone.now(),
    }
    return render(request, "audit/plan.html", context)


@page()
def plan_list(_request: HttpRequest, plan_id: int) -> HttpResponseBase:
    """The exact list of a plan with what became of each payload, as text; hashes, no contents."""
    story = standing.explain_plan(plan_id=_number(plan_id))
    number = story.plan.plan_id
    answer = StreamingHttpResponse(
        retention.item_lines(plan_id=number), content_type="text/plain; charset=utf-8"
    )
    answer["Content-Disposition"] = f'attachment; filename="plan-{number}.list.txt"'
    return answer


@page()
def certificate(request: HttpRequest, plan_id: int) -> HttpResponse:
    """The certificate of a purge, to be read and printed."""
    story = standing.explain_plan(plan_id=_number(plan_id))
    if story.certificate is None:
        raise Http404(f"Plan {story.plan.plan_id} has no certificate: nothing has ended under it.")
    context = {
        "section": "retention",
        "story": story,
        "plan": story.plan,
        "certificate": story.certificate,
        "told": json.loads(story.certificate.statement_json),
        "now": timezone.now(),
    }
    return render(request, "audit/certificate.html", context)


@page()
def certificate_file(_request: HttpRequest, plan_id: int) -> HttpResponse:
    """The signed certificate, for `verify.py`."""
    story = standing.explain_plan(plan_id=_number(plan_id))
    if story.certificate is None:
        raise Http404(f"Plan {story.plan.plan_id} has no certificate: nothing has ended under it.")
    answer = HttpResponse(story.certificate.envelope, content_type="application/json")
    name = f"plan-{story.plan.plan_id}.certificate.json"
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer


def _number(plan_id: int) -> int:
    if len(str(plan_id)) > LONGEST_NUMBER:
        raise Http404(f"There is no plan {plan_id} on record.")
    return plan_id
