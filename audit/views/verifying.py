"""The page that verifies an export in the browser, and the same page as one file to keep.

The server gives the program and the public keys, and never sees what is verified: the policy of
the page allows no connection at all. No login, since whoever checks need not be a user here.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from csp.decorators import csp_replace
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.contrib.staticfiles import finders
from django.http import HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.templatetags.static import static
from django.utils import timezone
from django.utils.cache import patch_cache_control
from django.utils.http import content_disposition_header

from audit.evidence import signing
from audit.exports import verify
from audit.views.doors import page

if TYPE_CHECKING:
    from typing import Any

    from django.http import HttpRequest

_SECONDS = 300
FILE_NAME = "landscape-verify.html"
STYLES = [
    f"audit/css/{name}.css"
    for name in ("tokens", "base", "tables", "contents", "forms", "verify", "print")
]
# In this order: each needs those before it. Classic scripts, since a saved page loads no modules.
SCRIPTS = [
    f"audit/js/verify/{name}.js"
    for name in (
        "hashing",
        "tree",
        "notes",
        "archive",
        "records",
        "report",
        "attestation",
        "leaves",
        "bag",
        "certificate",
        "lookup",
        "words",
        "result",
        "page",
    )
]


@login_not_required
@csp_replace({"connect-src": ["'none'"]})
@page(needs=None)
def verify_page(request: HttpRequest) -> HttpResponse:
    """Drop an export, or a record with its proof, and read the verdict."""
    answer = render(request, "audit/verify.html", _context(request))
    # With a login the page also has a name on it.
    whose = "private" if request.user.is_authenticated else "public"
    patch_cache_control(answer, **{whose: True}, max_age=_SECONDS)
    return answer


@login_not_required
@page(needs=None)
def verify_file(request: HttpRequest) -> HttpResponse:
    """The same page as one file that needs nothing else, and may load and send nothing."""
    text = str(render_to_string("audit/verify_alone.html", _context(request) | {"alone": True}))
    for path in STYLES:
        link = f'<link rel="stylesheet" href="{static(path)}">'
        text = text.replace(link, f"<style>{_content(path)}</style>")
    for path in SCRIPTS:
        link = f'<script src="{static(path)}"></script>'
        text = text.replace(link, f"<script>{_content(path)}</script>")
    answer = HttpResponse(text.replace("POLICY", _policy(), 1))
    answer["Content-Disposition"] = content_disposition_header(
        as_attachment=True, filename=FILE_NAME
    )
    patch_cache_control(answer, public=True, max_age=_SECONDS)
    return answer


def _context(request: HttpRequest) -> dict[str, Any]:
    keys = signing.known_keys()[::-1]
    return {
        "authority": settings.LANDSCAPE_AUTHORITY,
        "keys": keys,
        "host": request.get_host(),
        "not_proven": verify.NOT_PROVEN,
        "styles": STYLES,
        "scripts": SCRIPTS,
        "section": "verify",
        "now": timezone.now(),
    }


def _content(path: str) -> str:
    return Path(str(finders.find(path))).read_text(encoding="utf-8")


def _policy() -> str:
    """What the file may do: run and look as it was served, and nothing else."""

    def hashes(paths: list[str]) -> str:
        digests = [hashlib.sha256(_content(path).encode()).digest() for path in paths]
        return " ".join(f"'sha256-{base64.b64encode(each).decode()}'" for each in digests)

    return (
        f"default-src 'none'; script-src {hashes(SCRIPTS)}; style-src {hashes(STYLES)}; "
        "base-uri 'none'; form-action 'none'"
    )
