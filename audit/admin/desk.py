"""The desk itself: Django's admin site with our entrance, our sections and nothing unasked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.contrib.admin import AdminSite
from django.db import connection
from django.shortcuts import render
from django.urls import path, reverse

from audit.admin import (
    api_tokens,
    base,
    hiding,
    jobs,
    people,
    plans,
    retaining,
    trail,
    uploads,
    work,
)
from audit.vocabulary import Right

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.http.response import HttpResponseBase
    from django.urls import URLPattern, URLResolver

# Tables are counted so far and no further: the desk is no place to wait for ten million lines.
COUNTED_TO = 10_000


@dataclass(frozen=True)
class Place:
    """One line of the sections beside every page."""

    word: str
    href: str
    count: int | None
    current: bool


@dataclass(frozen=True)
class Section:
    """Places that belong together."""

    word: str
    places: tuple[Place, ...]


# Section, word, address, the right that it needs, and the table that is counted.
_PLACES: tuple[tuple[str, str, str, base.Needs, str], ...] = (
    ("Retention", "Policies", "admin:policies", retaining.DECIDES, "retention_policies"),
    ("Retention", "Legal holds", "admin:holds", Right.PLACE_HOLDS, "legal_holds"),
    ("Retention", "Purge plans", "admin:plans", retaining.DECIDES, "purge_plans"),
    ("Retention", "Hidden runs", "admin:hidden-runs", retaining.DECIDES, ""),
    ("Retention", "Certificates", "audit:retention", Right.SEE_RECORDS, "purge_certificates"),
    ("Audit trail, read only", "Runs", "admin:audit_run_changelist", Right.SEE_RECORDS, "runs"),
    (
        "Audit trail, read only",
        "Payloads",
        "admin:audit_payload_changelist",
        Right.SEE_RECORDS,
        "payloads",
    ),
    (
        "Audit trail, read only",
        "Seals",
        "admin:audit_seallogentry_changelist",
        Right.SEE_RECORDS,
        "seal_log",
    ),
    (
        "Audit trail, read only",
        "Findings",
        "admin:audit_finding_changelist",
        Right.SEE_RECORDS,
        "findings",
    ),
    ("People", "Users", "admin:people", people.SEE, "auth_user"),
    ("People", "API tokens", "admin:api-tokens", api_tokens.SEE, "api_tokens"),
    ("Work", "State of the house", "admin:house", Right.SEE_JOBS, ""),
    ("Work", "Background jobs", "admin:jobs", Right.SEE_JOBS, ""),
    ("Work", "Imports", "admin:imports", Right.SEE_JOBS, "import_jobs"),
    ("Work", "Exports", "audit:exports", Right.SEE_ALL_EXPORTS, "exports"),
)


class Desk(AdminSite):
    """Who may enter is asked of `access`; signing in is everybody's own page."""

    def has_permission(self, request: HttpRequest) -> bool:
        return base.may_enter(request.user)

    def get_urls(self) -> list[URLResolver | URLPattern]:
        """Our places and lists; of Django's own, nothing."""
        found: list[URLResolver | URLPattern] = [path("", index, name="index")]
        for model, model_admin in self._registry.items():
            where = f"{model._meta.app_label}/{model._meta.model_name}/"
            found += [
                path(where + str(each.pattern), each.callback, name=each.name)
                for each in model_admin.get_urls()
            ]
        return [
            *found,
            *retaining.urls,
            *hiding.urls,
            *plans.urls,
            *people.urls,
            *api_tokens.urls,
            *uploads.urls,
            *jobs.urls,
            *work.urls,
        ]


def around(request: HttpRequest) -> dict[str, object]:
    """For templates of the desk: its sections, with counts, for whoever looks."""
    match = request.resolver_match
    if match is None or match.app_name != "admin" or not base.may_enter(request.user):
        return {"sections": ()}
    return {"sections": _sections(request)}


def _sections(request: HttpRequest) -> tuple[Section, ...]:
    allowed = [place for place in _PLACES if base.may_any(request.user, place[3])]
    counts = _counted([table for *_rest, table in allowed if table])
    sections: dict[str, list[Place]] = {}
    for section, word, name, _needs, table in allowed:
        href = reverse(name)
        current = request.path == href or (
            href != reverse("admin:index") and request.path.startswith(href)
        )
        sections.setdefault(section, []).append(Place(word, href, counts.get(table), current))
    return tuple(Section(word, tuple(places)) for word, places in sections.items())


def _counted(tables: list[str]) -> dict[str, int]:
    """How many lines each table has, up to a limit, in one query."""
    if not tables:
        return {}
    parts = " UNION ALL ".join(
        f"SELECT '{table}', count(*) FROM (SELECT FROM {table} LIMIT {COUNTED_TO + 1}) counted"  # noqa: S608  # names from above
        for table in tables
    )
    with connection.cursor() as cursor:
        cursor.execute(parts)
        return dict(cursor.fetchall())


@base.page()
def index(request: HttpRequest) -> HttpResponseBase:
    """The first page of the desk."""
    return render(request, "admin/index.html", {"title": "The desk"})


desk = Desk(name="admin")
for model, model_admin in trail.LISTS:
    desk.register(model, model_admin)
