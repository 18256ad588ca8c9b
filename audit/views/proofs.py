"""The proof of one record: where it lies in the sealed tree, and two small files to take home."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.cache import patch_cache_control
from django.utils.http import content_disposition_header

from audit import access, exports, lineage, tasks
from audit.errors import CannotBeExported
from audit.evidence import merkle
from audit.evidence.records import BY_NAME
from audit.views.doors import act, page
from audit.vocabulary import AccessAction, Right

if TYPE_CHECKING:
    from django.http import HttpRequest

    from audit.evidence.records import RecordType
    from audit.exports import Parcel, Proven


@page()
def record(request: HttpRequest, run_id: str, record_type: str, key: str) -> HttpResponse:
    """Where one record lies in the tree that was signed, and how to check it without us."""
    kind = _kind(record_type)
    run = lineage.describe_run(run_id=run_id)
    seal = lineage.read_record_seal(run_id=run_id, record_type=record_type, key=key)
    proven, problem = None, None
    if seal.state != "unsealed":
        try:
            proven = exports.prove_record(run_id=run_id, record_type=record_type, key=key)
        except CannotBeExported as error:
            problem = error.reason
    context = {
        "run": run,
        "seal": seal,
        "kind": kind,
        "proven": proven,
        "problem": problem,
        "leaf": merkle.leaf_hash(proven.line).hex() if proven else None,
        "root": proven.checkpoint.root.hex() if proven else None,
        "may_take": not kind.holds_contents or access.may(request.user, Right.REVEAL_CONTENTS),
        "roles": access.roles_with(Right.REVEAL_CONTENTS),
        "now": timezone.now(),
    }
    return render(request, "audit/record.html", context)


@page(kept=False)
def download(request: HttpRequest, run_id: str, record_type: str, key: str) -> HttpResponse:
    """The record's line and its proof in a ZIP; who got it is kept before it is given."""
    if _kind(record_type).holds_contents:
        access.require(request.user, Right.REVEAL_CONTENTS)
    try:
        proven = exports.prove_record(run_id=run_id, record_type=record_type, key=key)
    except CannotBeExported as error:
        raise Http404(f"This record cannot be proven: {error.reason}.") from error
    if request.method == "GET":
        note(request.user, proven, run_id=run_id)
    return sent(exports.parcel(proven))


@act(needs=Right.REQUEST_EXPORT)
def compare(_request: HttpRequest, run_id: str) -> HttpResponse:
    """Have the database compared with the seals of a run; its page says when that is done."""
    lineage.describe_run(run_id=run_id)
    now = timezone.now()
    tasks.enqueue_trail_check(run_id, asked_at=now)
    here = reverse("audit:run", args=[run_id])
    return redirect(f"{here}?{urlencode({'asked': now.isoformat()})}#proof")


def note(person: access.Person, proven: Proven, *, run_id: str) -> None:
    """Keep who is given the proof of a record; its place in the tree of the run names it."""
    access.record(
        action=AccessAction.PROOF_GIVEN,
        user_id=access.require(person, Right.SEE_RECORDS),
        run_id=run_id,
        object_id=f"{proven.record_type}/{proven.proof.index}",
        at=timezone.now(),
    )


def sent(made: Parcel) -> HttpResponse:
    """The answer with a parcel, which nobody on the way may keep or take for something else."""
    answer = HttpResponse(made.content, content_type="application/zip")
    named = content_disposition_header(as_attachment=True, filename=made.name)
    answer["Content-Disposition"] = named or "attachment"
    answer["X-Content-Type-Options"] = "nosniff"
    patch_cache_control(answer, no_store=True, private=True)
    return answer


def _kind(record_type: str) -> RecordType:
    if record_type not in BY_NAME:
        known = ", ".join(BY_NAME)
        raise Http404(f"There is no record type “{record_type[:40]}”; there are {known}.")
    return BY_NAME[record_type]
