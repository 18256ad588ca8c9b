"""What every page does at its door: safe methods, known parameters, errors as statuses."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING

from django.core.exceptions import BadRequest
from django.http import Http404
from django.shortcuts import render
from django.views.decorators.http import require_POST, require_safe

from audit.errors import NotRecorded, RunMismatch
from audit.lineage import OtherKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, QueryDict
    from django.http.response import HttpResponseBase

    View = Callable[..., HttpResponseBase]


# Digits that always fit the database's eight bytes.
LONGEST_NUMBER = 18


def page(*parameters: str) -> Callable[[View], View]:
    """Make a view a page that takes these query parameters and no others, each once.

    What is not on record answers 404 and says what; a question that cannot be understood
    answers 400 and says why.
    """

    def decorate(view: View) -> View:
        @require_safe
        @wraps(view)
        def at_the_door(request: HttpRequest, **path: str) -> HttpResponseBase:
            return _answered(view, request, path, parameters, ())

        return at_the_door

    return decorate


def act(*fields: str) -> Callable[[View], View]:
    """Make a view an act: POST only, with these fields of a form and no others, each once.

    Errors are answered as on a page.
    """

    def decorate(view: View) -> View:
        @require_POST
        @wraps(view)
        def at_the_door(request: HttpRequest, **path: str) -> HttpResponseBase:
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
