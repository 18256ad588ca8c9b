"""What every page of the desk does: its door, its frame, and lists that stay cheap.

Nothing here adds, changes or deletes a record of the trail, for superusers neither: what is
registered is read only, has no page of its own beyond a list, and leads to the pages that show it.
Lists go by key, a hundred lines at a time, are never counted, and are searched by whole values.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.contrib.admin import ModelAdmin
from django.core.exceptions import BadRequest, PermissionDenied, ValidationError
from django.db.models import Q
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import path
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from audit import access, credentials
from audit.errors import AccessNotKept, NotRecorded
from audit.vocabulary import Right

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.db.models import Model, QuerySet
    from django.http import HttpRequest, QueryDict
    from django.http.response import HttpResponseBase
    from django.urls import URLPattern

    View = Callable[..., HttpResponseBase]
    # One right, or several of which any will do.
    Needs = str | tuple[str, ...]

LINES_A_PAGE = 100
# Whoever may do any of these has a reason to be here.
ENTRANCE = (Right.SEE_JOBS, Right.PLAN_RETENTION, Right.APPROVE_RETENTION)


def page(*parameters: str, needs: Needs = Right.SEE_RECORDS) -> Callable[[View], View]:
    """Make a view a page of the desk that takes these query parameters and no others."""
    return _door(("GET", "HEAD"), parameters, (), needs)


def act(*fields: str, needs: Needs) -> Callable[[View], View]:
    """Make a view an act: POST only, with these fields and no others."""
    return _door(("POST",), (), fields, needs)


def form(*fields: str, needs: Needs) -> Callable[[View], View]:
    """Make a view a form: shown by GET, done by POST with these fields and no others."""
    return _door(("GET", "HEAD", "POST"), (), fields, needs)


def may(person: access.Person, needs: str) -> bool:
    """Whether somebody has a right of ours, or a permission of Django's, which has a dot."""
    if "." in needs:
        return bool(getattr(person, "has_perm")(needs))  # noqa: B009  # of any kind
    return access.may(person, needs)


def may_any(person: access.Person, needs: Needs) -> bool:
    """Whether somebody has one of these rights."""
    return any(may(person, right) for right in ((needs,) if isinstance(needs, str) else needs))


def may_enter(person: access.Person) -> bool:
    """Whether somebody has anything to do at the desk."""
    return any(access.may(person, right) for right in ENTRANCE)


def _door(
    methods: tuple[str, ...], parameters: tuple[str, ...], fields: tuple[str, ...], needs: Needs
) -> Callable[[View], View]:
    def decorate(view: View) -> View:
        @require_http_methods(methods)
        @never_cache
        @wraps(view)
        def at_the_door(request: HttpRequest, **path: str) -> HttpResponseBase:
            _let_in(request, (needs,) if isinstance(needs, str) else needs)
            try:
                refuse_unknown(request.GET, parameters)
                refuse_unknown(request.POST, (*fields, "csrfmiddlewaretoken"))
                return view(request, **path)
            except NotRecorded as error:
                raise Http404(f"There is no {error.kind} {error.key} on record.") from error
            except BadRequest as error:
                return render(request, "400.html", {"reason": str(error)}, status=400)
            except AccessNotKept:
                # By hand: whoever cannot write may not be able to read either.
                return HttpResponse(render_to_string("503.html"), status=503)

        return at_the_door

    return decorate


def _let_in(request: HttpRequest, needs: tuple[str, ...]) -> None:
    """Past the door with any of these rights; with that of seeing records only who may enter."""
    if needs == (Right.SEE_RECORDS,) and not may_enter(request.user):
        raise PermissionDenied("The desk is for administrators and for retention.")
    if any(may(request.user, right) for right in needs):
        return
    if "." in needs[0]:
        raise PermissionDenied("This is for members of the group administrator.")
    raise access.NotAllowed(needs[0])


def fresh(view: View) -> View:
    """Let through only who proved lately who they are; ask the others, and do nothing meanwhile.

    For what cannot be taken back. It stands below `act`.
    """

    @wraps(view)
    def at_the_door(request: HttpRequest, **path: Any) -> HttpResponseBase:
        if not credentials.is_fresh(request, at=timezone.now()):
            return credentials.ask_again(request)
        return view(request, **path)

    return at_the_door


def refuse_unknown(asked: QueryDict, known: tuple[str, ...]) -> None:
    """Refuse what a page does not know, so that nobody believes it was heard.

    Raises:
        BadRequest: there is a parameter or a field that is not `known`, or one stands twice.
            A field whose name ends in `*` may stand any number of times.
    """
    for name, values in asked.lists():
        if f"{name}*" in known:
            continue
        if name not in known:
            raise BadRequest(f"This page does not know “{name[:40]}”.")
        if len(values) > 1:
            raise BadRequest(f"“{name}” stands {len(values)} times; once will do.")


@dataclass(frozen=True)
class Column:
    """A column of a list: its head, how a value looks, where it comes from, where it leads."""

    title: str
    kind: str
    value: Callable[[Any], object]
    href: Callable[[Any], str] | None = None


@dataclass(frozen=True)
class Cell:
    """One value on a line; `kind` says how it looks (`admin/partials/cell.html`)."""

    kind: str
    value: object
    href: str | None


@dataclass(frozen=True)
class Choice:
    """A filter of a list: its words, and the one that is chosen."""

    name: str
    label: str
    options: tuple[tuple[str, str], ...]
    chosen: str


@dataclass(frozen=True)
class Listing:
    """One page of a list."""

    columns: tuple[Column, ...]
    lines: tuple[tuple[Cell, ...], ...]
    filters: tuple[Choice, ...]
    find: str | None
    found: str
    older: str | None
    narrowed: bool


@dataclass(frozen=True)
class Sorted:
    """How a list is asked for: its order, which an index serves, what it is narrowed by."""

    columns: tuple[Column, ...]
    order: tuple[str, ...]
    filters: tuple[str, ...] = ()
    find: str | None = None

    @property
    def parameters(self) -> tuple[str, ...]:
        return ("after", *self.filters, *(("find",) if self.find else ()))


def listing(request: HttpRequest, lines: QuerySet[Any], how: Sorted) -> Listing:
    """One page of a list: one query, two where it goes on after a line.

    Raises:
        BadRequest: a filter has a word that it does not know.
    """
    model = lines.model
    kept: dict[str, str] = {}
    filters = []
    for name in how.filters:
        choice = _choice(request, model, name)
        filters.append(choice)
        if choice.chosen:
            lines, kept = lines.filter(**{name: choice.chosen}), kept | {name: choice.chosen}
    found = request.GET.get("find", "").strip()
    if how.find and found:
        if "\0" in found:
            raise BadRequest("“find” holds a NUL character, which no record can hold.")
        lines, kept = lines.filter(**{how.find: found}), kept | {"find": found}
    if after := request.GET.get("after"):
        lines = lines.filter(_beyond(_anchor(model, after), how.order))
    shown = list(lines.order_by(*how.order)[: LINES_A_PAGE + 1])
    older = None
    if len(shown) > LINES_A_PAGE:
        older = "?" + urlencode(kept | {"after": str(shown[LINES_A_PAGE - 1].pk)})
    return Listing(
        columns=how.columns,
        lines=tuple(_cells(line, how.columns) for line in shown[:LINES_A_PAGE]),
        filters=tuple(filters),
        find=how.find,
        found=found,
        older=older,
        narrowed=bool(kept or after),
    )


def _choice(request: HttpRequest, model: type[Model], name: str) -> Choice:
    field = model._meta.get_field(name)
    options = tuple((str(value), str(label).lower()) for value, label in field.choices or ())  # type: ignore[union-attr]
    chosen = request.GET.get(name, "")
    if chosen and chosen not in {value for value, _label in options}:
        raise BadRequest(f"“{name}” may be {', '.join(value for value, _label in options)}.")
    return Choice(name, name.replace("_", " "), options, chosen)


def _anchor(model: type[Model], after: str) -> Model:
    key = model._meta.pk
    assert key is not None
    try:
        found = model._default_manager.filter(pk=key.to_python(after)).first()
    except (ValidationError, ValueError, OverflowError) as error:
        raise BadRequest("“after” names no line of this list.") from error
    if found is None:
        raise BadRequest("“after” names no line of this list.")
    return found


def _beyond(anchor: Model, order: tuple[str, ...]) -> Q:
    """What comes after a line, in the form that an index over the order answers at once."""
    names = [name.removeprefix("-") for name in order]
    way = "lt" if order[0].startswith("-") else "gt"
    last = Q(**{f"{names[-1]}__{way}": getattr(anchor, names[-1])})
    if not names[1:]:
        return last
    first = getattr(anchor, names[0])
    return Q(**{f"{names[0]}__{way}e": first}) & (Q(**{f"{names[0]}__{way}": first}) | last)


def _cells(line: object, columns: tuple[Column, ...]) -> tuple[Cell, ...]:
    return tuple(
        Cell(column.kind, column.value(line), column.href(line) if column.href else None)
        for column in columns
    )


class ReadOnlyAdmin(ModelAdmin):
    """A list and nothing else: nobody adds, changes or deletes, and no record has a page here."""

    needs: str = Right.SEE_RECORDS
    how: Sorted
    title = ""
    answer = ""
    actions = None

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody adds here."""
        del request, obj
        return False

    has_change_permission = has_add_permission
    has_delete_permission = has_add_permission

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whoever has the right that the list needs."""
        del obj
        return may(request.user, self.needs)

    def get_urls(self) -> list[URLPattern]:
        """The list alone."""
        view = page(*self.how.parameters, needs=self.needs)(self.list_view)
        name = f"{self.model._meta.app_label}_{self.model._meta.model_name}_changelist"
        return [path("", view, name=name)]

    def list_view(self, request: HttpRequest) -> HttpResponseBase:
        """A page of the list."""
        lines = listing(request, self.model._default_manager.all(), self.how)
        context = {"title": self.title, "answer": self.answer, "list": lines}
        return render(request, "admin/list.html", context)
