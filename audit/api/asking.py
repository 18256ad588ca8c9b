"""What every resource does at its door: known parameters, pages by key, one shape of error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.http import JsonResponse
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter
from rest_framework import status
from rest_framework.exceptions import (
    APIException,
    ErrorDetail,
    NotFound,
    ParseError,
    PermissionDenied,
)
from rest_framework.response import Response
from rest_framework.views import APIView, exception_handler

from audit import access
from audit.api.authentication import by_token
from audit.errors import AccessNotKept, NotRecorded, RunMismatch
from audit.lineage import OtherKind
from audit.vocabulary import AccessAction, AccessResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase
    from rest_framework.request import Request

MOST_A_PAGE = 1_000
A_PAGE = 100

AFTER = OpenApiParameter("after", str, description="Where the page before ended, as `next` says.")
LIMIT = OpenApiParameter("limit", int, description=f"Records a page, 1 to {MOST_A_PAGE:,}.")


class Resource(APIView):
    """A read-only resource; `parameters` are the names that its query may hold, each once."""

    http_method_names: tuple[str, ...] = ("get", "head", "options")
    parameters: tuple[str, ...] = ()
    # Whether the access log keeps here that it was given; else the resource does it itself.
    keeps = True

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Answer, once it is kept who is given what; else not one byte."""
        answer: HttpResponseBase = super().dispatch(request, *args, **kwargs)
        keys = [value for name, value in kwargs.items() if name.endswith("_id") and self.keeps]
        person = self.request.user
        refused = answer.status_code == status.HTTP_403_FORBIDDEN
        given = answer.status_code == status.HTTP_200_OK and request.method == "GET"
        if not person.is_authenticated or not (refused or (given and keys)):
            return answer
        named = request.resolver_match.url_name if request.resolver_match else None
        try:
            access.record(
                action=AccessAction.READ,
                result=AccessResult.REFUSED if refused else AccessResult.GIVEN,
                user_id=person.pk,
                user_name=person.get_username(),
                kind=f"api/{named}",
                run_id=kwargs.get("run_id"),
                object_id=keys[-1] if keys else None,
                reason=by_token(self.request),
                asked=access.asked(request),
                at=timezone.now(),
            )
        except AccessNotKept as error:
            if not refused:
                told = {"code": "not_kept", "message": f"{error}".capitalize(), "detail": None}
                return JsonResponse({"error": told}, status=status.HTTP_503_SERVICE_UNAVAILABLE)
        return answer

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse what nobody understands, before anything is asked."""
        super().initial(request, *args, **kwargs)
        for name, values in request.query_params.lists():
            if name not in self.parameters:
                known = f"it knows {', '.join(self.parameters)}" if self.parameters else "none"
                raise ParseError(f"The parameter {name!r:.80} is not known here; {known}.")
            if len(values) > 1:
                raise ParseError(f"The parameter {name} stands {len(values)} times.")
            if "\0" in values[0]:
                raise ParseError(f"The parameter {name} holds a NUL, which no record can hold.")

    def asked(self, name: str, known: Sequence[str] | None = None) -> str | None:
        """A parameter, None where it is absent or empty."""
        value = self.request.query_params.get(name) or None
        if value is not None and known is not None and value not in known:
            raise ParseError(f"The parameter {name} may be {', '.join(known)}.")
        return value

    def asked_number(self, name: str, *, least: int, most: int) -> int | None:
        """A whole number, None where it is absent or empty."""
        value = self.asked(name)
        if value is None:
            return None
        # Not int() alone: it also takes signs, underscores and the digits of other scripts.
        fits = value.isascii() and value.isdigit() and len(value) <= len(str(most))
        if not fits or not least <= int(value) <= most:
            raise ParseError(f"The parameter {name} is a whole number from {least} to {most}.")
        return int(value)

    def limit(self) -> int:
        """Records a page."""
        return self.asked_number("limit", least=1, most=MOST_A_PAGE) or A_PAGE

    def page(self, results: Any, *, after: object | None, **besides: Any) -> Response:
        """One page, and the address of the next one while there is one.

        Pages go by key, so the last is as fast as the first, and none repeats or leaves out a
        record because others were added meanwhile.
        """
        following = None
        if after is not None:
            kept = {n: v for n, v in self.request.query_params.items() if n != "after"}
            query = urlencode(kept | {"after": after})
            following = self.request.build_absolute_uri(f"{self.request.path}?{query}")
        return Response({"results": results, "next": following} | besides)


class NotKept(APIException):
    """The access log cannot be written."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = "not_kept"


class NothingHere(Resource):
    """Whatever has no resource: a 404 in the shape of every other error."""

    schema = None

    def get(self, *_args: Any, **_kwargs: Any) -> Response:
        raise NotFound("There is nothing at this address.")


def as_error(error: Exception, context: dict[str, Any]) -> Response | None:
    """Every error in one shape: `{"error": {"code", "message", "detail"}}`."""
    told: APIException
    if isinstance(error, OtherKind):
        told = NotFound(f"{error}.")
    elif isinstance(error, NotRecorded):
        told = NotFound(f"There is no {error.kind} {error.key} on record.")
    elif isinstance(error, RunMismatch):
        told = NotFound(f"{str(error)[:1].upper()}{str(error)[1:]}.")
    elif isinstance(error, AccessNotKept):
        told = NotKept(str(error).capitalize())
    elif isinstance(error, access.NotAllowed):
        told = PermissionDenied(str(error))
    elif isinstance(error, APIException):
        told = error
    else:
        answer = exception_handler(error, context)
        if answer is None:
            return None
        told = NotFound("There is nothing at this address.")
        told.status_code = answer.status_code
    made = exception_handler(told, context)
    assert made is not None
    code = told.get_codes()
    word = str(told.detail) if isinstance(told.detail, ErrorDetail) else "The request is refused."
    detail = None if isinstance(told.detail, ErrorDetail) else told.get_full_details()
    made.data = {
        "error": {
            "code": code if isinstance(code, str) else "invalid",
            "message": word,
            "detail": detail,
        }
    }
    return made
