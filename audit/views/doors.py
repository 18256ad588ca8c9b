"""What every page does at its door: safe methods, known parameters, errors as statuses."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING

from django.core.exceptions import BadRequest
from django.http import Http404
from django.shortcuts import render
from django.views.decorators.http import require_POST, require_safe

from audit import access
from audit.errors import NotRecorded, RunMismatch
from audit.lineage import OtherKind
from audit.vocabulary import Right

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, QueryDict
    from django.http.response import HttpResponseBase

    View = Callable[..., HttpResponseBase]


# Digits that always fit the database's eight bytes.
LONGEST_NUMBER = 18


def page(*parameters: str, needs: str | None = Right.SEE_RECORDS) -> Callable[[View], View]:
    """Make a view a page that takes these query parameters and no others, each once.

    It is for those who have the right that it `needs`; None is for anybody. Others are told whose
    page it is, before it is looked whether what they name is on record. What is not there answers
    404 and says what; a question that cannot be understood answers 400 and says why.
    """

    def decorate(view: View) -> View:
        @require_safe
        @wraps(view)
        def at_the_door(request: HttpRequest, **path: str) -> HttpResponseBase:
            _let_in(request, needs)
            return _answered(view, request, path, parameters, ())

        return at_the_door

    return decorate


def act(*fields: str, needs: str = Right.SEE_RECORDS) -> Callable[[View], View]:
    """Make a view an act: POST only, with these fields of a form and no others, each once.

    It is for those who have the right that it `needs`. Errors are answered as on a page.
    """

    def decorate(view: View) -> View:
        @require_POST
        @wraps(view)
        def at_the_door(request: HttpRequest, **path: str) -> HttpResponseBase:
            _let_in(request, needs)
            return _answered(view, request, path, (), (*fields, "csrfmiddlewaretoken"))

        return at_the_door

    return decorate


def choice(request: HttpRequest, name: str, known: tuple[str, ...]) -> str | None:
    """One word of a list, or None where nothing was chosen.

    Raises:
        BadRequest: the word is not on the list.
    """
    word = request.GET.get(name) or None
    if word is not None and word not in known:
        raise BadRequest(f"“{name}” may be {', '.join(known)}; it is “{word}”.")
    return word


def text(request: HttpRequest, name: str) -> str | None:
    """A text, or None where it is empty.

    Raises:
        BadRequest: it holds a NUL, which no record can hold.
    """
    value = request.GET.get(name, "").strip() or None
    if value is not None and "\0" in value:
        raise BadRequest(f"“{name}” holds a NUL character, which no record can hold.")
    return value


def whole(request: HttpRequest, name: str, *, what: str) -> int | None:
    """A whole number from 0, or None where it is empty; `what` says what it numbers.

    Raises:
        BadRequest: it is something else, or does not fit the database's eight bytes.
    """
    word = text(request, name)
    if word is None:
        return None
    # Not int() alone: it also takes signs, underscores and the digits of other scripts.
    if not (word.isascii() and word.isdigit() and len(word) <= LONGEST_NUMBER):
        raise BadRequest(f"“{name}” is {what}, a whole number; it is “{word[:40]}”.")
    return int(word)


def rights(request: HttpRequest) -> dict[str, MayThey]:
    """For every template: `may.reveal_contents` says whether whoever looks has that right."""
    return {"may": MayThey(request.user)} if hasattr(request, "user") else {}


class MayThey:
    """The rights of one person by name, asked for when a template needs them."""

    def __init__(self, person: access.Person) -> None:
        self._person = person

    def __getitem__(self, right: str) -> bool:
        return access.may(self._person, right)


def _let_in(request: HttpRequest, needs: str | None) -> None:
    if needs is not None:
        access.require(request.user, needs)


def _answered(
    view: View,
    request: HttpRequest,
    path: dict[str, str],
    parameters: tuple[str, ...],
    fields: tuple[str, ...],
) -> HttpResponseBase:
    try:
        _refuse_unknown(request.GET, parameters)
        _refuse_unknown(request.POST, fields)
        return view(request, **path)
    except OtherKind as error:
        raise Http404(f"{error}.") from error
    except NotRecorded as error:
        raise Http404(f"There is no {error.kind} {error.key} on record.") from error
    except RunMismatch as error:
        raise Http404(f"The {error}.") from error
    except BadRequest as error:
        return render(request, "400.html", {"reason": str(error)}, status=400)


def _refuse_unknown(asked: QueryDict, parameters: tuple[str, ...]) -> None:
    for name, values in asked.lists():
        if name not in parameters:
            known = f"it knows {', '.join(parameters)}" if parameters else "it takes none"
            raise BadRequest(f"This page does not know the parameter “{name}”; {known}.")
        if len(values) > 1:
            raise BadRequest(f"The parameter “{name}” stands {len(values)} times; once will do.")
