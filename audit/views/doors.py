"""What every page does at its door: who may pass, known parameters, what is kept, errors."""

from __future__ import annotations

import logging
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from datetime import date
from functools import wraps
from http import HTTPStatus
from typing import TYPE_CHECKING

from django.core.exceptions import BadRequest, PermissionDenied
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.cache import patch_cache_control
from django.views.decorators.http import require_http_methods, require_POST

from audit import access, credentials, lineage
from audit.errors import AccessNotKept, NotRecorded, RunMismatch
from audit.lineage import OtherKind
from audit.vocabulary import AccessAction, AccessResult, Right

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, QueryDict
    from django.http.response import HttpResponseBase

    View = Callable[..., HttpResponseBase]


logger = logging.getLogger(__name__)

# Characters of a reason that are kept.
REASON_LONGEST = 500
_PASSED = "_landscape_passed"

# Digits that always fit the database's eight bytes.
LONGEST_NUMBER = 18


def page(
    *parameters: str,
    needs: str | None = Right.SEE_RECORDS,
    reveals: bool = False,
    kept: bool = True,
) -> Callable[[View], View]:
    """Make a view a page that takes these query parameters and no others, each once.

    It is for those who have the right that it `needs`; None is for anybody. Others are told whose
    page it is, before it is looked whether what they name is on record. What is not there answers
    404 and says what; a question that cannot be understood answers 400 and says why.

    A page of evidence, one with a key in its address, is given once the access log has kept that it
    is, unless `kept` is false: the view does it itself. A page that `reveals` withholds contents
    from a GET; a POST to the same address, with an optional reason, is answered with them, to
    whoever may see them and past every cache.
    """
    methods = ["GET", "HEAD", "POST"] if reveals else ["GET", "HEAD"]

    def decorate(view: View) -> View:
        @require_http_methods(methods)
        @wraps(view)
        def at_the_door(request: HttpRequest, **path: str) -> HttpResponseBase:
            revealing = request.method == "POST"
            does = AccessAction.CONTENTS_REVEALED if revealing else AccessAction.READ
            rights = [each for each in (needs, revealing and Right.REVEAL_CONTENTS) if each]
            thing = Thing.of(request, path)
            _let_in(request, rights, does, thing)
            setattr(request, _PASSED, Passed(thing=thing, reveals=reveals, revealed=revealing))
            fields = ("reason", "csrfmiddlewaretoken") if revealing else ()
            with lineage.revealed() if revealing else nullcontext():
                answer = _answered(view, request, path, parameters, fields)
            if answer.status_code != HTTPStatus.OK or request.method == "HEAD" or not kept:
                return answer
            if revealing:
                patch_cache_control(answer, no_store=True, private=True)
            return _given(request, answer, does, thing)

        return at_the_door

    return decorate


def act(
    *fields: str,
    needs: str | None = Right.SEE_RECORDS,
    does: AccessAction = AccessAction.READ,
) -> Callable[[View], View]:
    """Make a view an act: POST only, with these fields of a form and no others, each once.

    It is for those who have the right that it `needs`, None is for anybody who is signed in; an
    attempt of others is kept as one at what it `does`. Errors are answered as on a page.
    """

    def decorate(view: View) -> View:
        @require_POST
        @wraps(view)
        def at_the_door(request: HttpRequest, **path: str) -> HttpResponseBase:
            _let_in(request, [needs] if needs else [], does, Thing.of(request, path))
            return _answered(view, request, path, (), (*fields, "csrfmiddlewaretoken"))

        return at_the_door

    return decorate


def keep(  # noqa: PLR0913  # an event has this many parts
    request: HttpRequest,
    action: AccessAction,
    *,
    kind: str | None = None,
    run_id: str | None = None,
    object_id: str | None = None,
    reason: str | None = None,
    size_bytes: int | None = None,
) -> None:
    """Keep what whoever asks does or is given, before it is done or given.

    Raises:
        AccessNotKept: the access log cannot be written, and nothing may be given.
    """
    access.record(
        action=action,
        user_id=request.user.pk,
        user_name=request.user.get_username(),
        kind=kind,
        run_id=run_id,
        object_id=object_id,
        reason=reason,
        size_bytes=size_bytes,
        asked=access.asked(request),
        at=timezone.now(),
    )


def fresh(view: View) -> View:
    """Let through only who proved within a quarter of an hour who they are; ask the others.

    For what cannot be taken back. It stands below `page` or `act`.
    """

    @wraps(view)
    def at_the_door(request: HttpRequest, **path: str) -> HttpResponseBase:
        if not credentials.is_fresh(request, at=timezone.now()):
            return credentials.ask_again(request)
        return view(request, **path)

    return at_the_door


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


def day(request: HttpRequest, name: str) -> date | None:
    """A day, or None where it is empty.

    Raises:
        BadRequest: it is none.
    """
    word = text(request, name)
    try:
        return date.fromisoformat(word) if word else None
    except ValueError as error:
        raise BadRequest(f"“{name}” is a day like 2026-11-22; it is “{word}”.") from error


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


def rights(request: HttpRequest) -> dict[str, object]:
    """For every template: `may.see_jobs` says whether whoever looks has that right.

    `passed` is what page of evidence it is, whether it reveals, and how often it was given.
    """
    if not hasattr(request, "user"):
        return {}
    return {"may": MayThey(request.user), "passed": getattr(request, _PASSED, None)}


class MayThey:
    """The rights of one person by name, asked for when a template needs them."""

    def __init__(self, person: access.Person) -> None:
        self._person = person

    def __getitem__(self, right: str) -> bool:
        return access.may(self._person, right)


@dataclass(frozen=True, kw_only=True)
class Thing:
    """What an address names: the kind of page, the run, and the record that is named last."""

    kind: str
    run_id: str | None
    object_id: str | None

    @classmethod
    def of(cls, request: HttpRequest, path: dict[str, str]) -> Thing:
        """Read it out of an address."""
        kind = request.resolver_match.url_name if request.resolver_match else None
        keys = [str(value) for name, value in path.items() if name.endswith("_id") or name == "key"]
        return cls(
            kind=str(kind or ""), run_id=path.get("run_id"), object_id=keys[-1] if keys else None
        )


@dataclass(frozen=True, kw_only=True)
class Passed:
    """Who passed the door to what; for templates."""

    thing: Thing
    reveals: bool
    revealed: bool

    def seen(self) -> access.Seen | None:
        """How often this was given before; None of what is no evidence. One query."""
        if self.thing.object_id is None:
            return None
        return access.count_seen(object_id=self.thing.object_id, run_id=self.thing.run_id)


def _let_in(request: HttpRequest, rights: list[str], does: AccessAction, thing: Thing) -> None:
    try:
        access.require(request.user, *rights)
    except access.NotAllowed:
        # What is refused gives nothing away, so that it is kept need not be certain.
        with suppress(AccessNotKept):
            access.record(
                action=does,
                result=AccessResult.REFUSED,
                user_id=request.user.pk,
                user_name=request.user.get_username(),
                kind=thing.kind,
                run_id=thing.run_id,
                object_id=thing.object_id,
                asked=access.asked(request),
                at=timezone.now(),
            )
        raise


def _given(
    request: HttpRequest, answer: HttpResponseBase, does: AccessAction, thing: Thing
) -> HttpResponseBase:
    """The answer, once it is kept that it is given; else not one byte of it."""
    if thing.object_id is None:
        return answer
    try:
        keep(
            request,
            does,
            kind=thing.kind,
            run_id=thing.run_id,
            object_id=thing.object_id,
            reason=request.POST.get("reason", "")[:REASON_LONGEST] or None,
            size_bytes=None if answer.streaming else len(getattr(answer, "content", b"")),
        )
    except AccessNotKept:
        return _unkept(request)
    answer["X-Request-Id"] = access.asked(request).request_id
    return answer


def _unkept(request: HttpRequest) -> HttpResponse:
    logger.error("The access log cannot be written: %s is not given", request.path)
    setattr(request, _PASSED, None)
    # By hand: whoever cannot write may not be able to read either.
    page = render_to_string("503.html")
    return HttpResponse(page, status=HTTPStatus.SERVICE_UNAVAILABLE)


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
        setattr(request, _PASSED, None)
        raise Http404(f"{error}.") from error
    except NotRecorded as error:
        setattr(request, _PASSED, None)
        raise Http404(f"There is no {error.kind} {error.key} on record.") from error
    except RunMismatch as error:
        setattr(request, _PASSED, None)
        raise Http404(f"The {error}.") from error
    except (PermissionDenied, Http404):
        # What was not given says nothing of how often it was.
        setattr(request, _PASSED, None)
        raise
    except BadRequest as error:
        setattr(request, _PASSED, None)
        return render(request, "400.html", {"reason": str(error)}, status=400)
    except AccessNotKept:
        return _unkept(request)


def _refuse_unknown(asked: QueryDict, parameters: tuple[str, ...]) -> None:
    for name, values in asked.lists():
        if name not in parameters:
            known = f"it knows {', '.join(parameters)}" if parameters else "it takes none"
            raise BadRequest(f"This page does not know the parameter “{name}”; {known}.")
        if len(values) > 1:
            raise BadRequest(f"The parameter “{name}” stands {len(values)} times; once will do.")
