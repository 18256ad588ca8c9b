"""The keys with which this deployment signs, for anybody: a page, and files for programs.

Public parts only, out of the database: the web server never has the private key. No login, since
whoever checks an export need not be a user here.
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.cache import patch_cache_control
from django.views.decorators.http import require_safe

from audit.evidence import signing
from audit.exports import verify
from audit.views.doors import page

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from django.http import HttpRequest

    from audit.evidence.signing import KnownKey

# Short: a key that was given up should be known everywhere soon.
_SECONDS = 300
_TEXT = "text/plain; charset=utf-8"


@login_not_required
@page(needs=None)
def public_keys(request: HttpRequest) -> HttpResponse:
    """Every key that ever signed here, what became of it, and how to check without us."""
    context = {
        "authority": settings.LANDSCAPE_AUTHORITY,
        "keys": _newest_first(),
        "history": signing.history(),
        "files": FILES,
        "now": timezone.now(),
    }
    answer = render(request, "audit/public_keys.html", context)
    # With a login the page also has a name on it.
    whose = "private" if request.user.is_authenticated else "public"
    patch_cache_control(answer, **{whose: True}, max_age=_SECONDS)
    return answer


@login_not_required
@require_safe
def well_known(_request: HttpRequest, name: str) -> HttpResponse:
    """One of the files under `/.well-known/landscape-export/`."""
    if name not in FILES:
        raise Http404(f"There is no such file; there are {', '.join(FILES)}.")
    content_type, make = FILES[name]
    content = make()
    if not content:
        raise Http404("Nothing has been signed here yet.")
    answer = HttpResponse(content, content_type=content_type)
    patch_cache_control(answer, public=True, max_age=_SECONDS)
    return answer


def _newest_first() -> list[KnownKey]:
    """The key in use stands first: some tools read no further."""
    return signing.known_keys()[::-1]


def _good(keys: Sequence[KnownKey]) -> list[KnownKey]:
    """Without compromised ones: who takes all that a file names must not come to trust them."""
    return [each for each in keys if each.compromised_since is None]


def _policy() -> str:
    keys = _good(_newest_first())
    return "".join(f"log {each.key}\n" for each in keys) + "quorum none\n" if keys else ""


def _jwks() -> str:
    keys = [
        {
            "kty": "OKP",
            "crv": "Ed25519",
            "alg": "EdDSA",
            "use": "sig",
            "kid": each.key.key_id.hex(),
            "x": base64.urlsafe_b64encode(each.key.public).decode().rstrip("="),
        }
        for each in _good(_newest_first())
    ]
    return json.dumps({"keys": keys}, indent=2) + "\n"


def _pem() -> str:
    return "".join(each.pem for each in _good(_newest_first()))


def _verifier() -> str:
    return Path(verify.__file__).read_text(encoding="utf-8")


def _verifier_sum() -> str:
    return f"{hashlib.sha256(_verifier().encode()).hexdigest()}  verify.py\n"


FILES: dict[str, tuple[str, Callable[[], str]]] = {
    "policy.txt": (_TEXT, _policy),
    "keys.pem": (_TEXT, _pem),
    "keys.jwks": ("application/jwk-set+json", _jwks),
    "history.txt": (_TEXT, signing.history),
    "verify.py": (_TEXT, _verifier),
    "verify.py.sha256": (_TEXT, _verifier_sum),
}
