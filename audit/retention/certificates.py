"""Certificates: what was deleted under a plan, signed, so that strangers can check it.

The statement is canonical JSON of the format `landscape-purge-certificate/1`; the envelope around
it is DSSE, as around the attestation of an export. `verify.py` checks both, and against them the
list of a plan, which is a text of its own (docs/export-format.md).
"""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC
from typing import TYPE_CHECKING, Any

import rfc8785
from django.conf import settings
from django.db import transaction
from django.db.models import Count, Max, Sum

from audit.evidence import signing
from audit.models import (
    PayloadPurge,
    PurgeCertificate,
    PurgeItem,
    PurgePlan,
    RetentionPolicy,
    RunGrade,
    Seal,
)
from audit.vocabulary import PlanStatus, PurgeItemStatus

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

FORMAT = "landscape-purge-certificate/1"
PAYLOAD_TYPE = "application/vnd.landscape.purge-certificate+json"
# Runs are named one by one up to here; the rest is counted.
RUNS_NAMED = 1_000
GONE = (PurgeItemStatus.ERASED, PurgeItemStatus.RECORDED_AGAIN)


def make(*, plan_id: int, at: datetime) -> PurgeCertificate:
    """Sign what a plan came to; it is made once, and whoever asks again gets the same one.

    Raises:
        NoSigningKey: nothing can be signed in this process.
    """
    made = PurgeCertificate.objects.filter(plan_id=plan_id).first()
    if made is not None:
        return made
    signer = signing.current(at=at)
    statement = rfc8785.dumps(_statement(plan_id, at=at))
    message = b"DSSEv1 %d %s %d %s" % (
        len(PAYLOAD_TYPE),
        PAYLOAD_TYPE.encode(),
        len(statement),
        statement,
    )
    envelope: dict[str, Any] = {
        "payload": base64.b64encode(statement).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [
            {
                "keyid": signing.fingerprint(signer.key),
                "sig": base64.b64encode(signer.sign_pae(message)).decode(),
            }
        ],
    }
    with transaction.atomic():
        return PurgeCertificate.objects.get_or_create(
            plan_id=plan_id,
            defaults={
                "made_at": at,
                "statement_json": statement.decode(),
                "envelope": rfc8785.dumps(envelope).decode(),
                "key_id": signer.key.key_id.hex(),
            },
        )[0]


def item_lines(*, plan_id: int) -> Iterator[str]:
    """The list of a plan with what became of each payload, in the order of the hashes.

    `<hash> <bytes> <policy id> <status>`, and for what was skipped the rule; a cursor on the
    server reads it, so memory does not grow with the list.
    """
    items = PurgeItem.objects.filter(plan_id=plan_id).order_by("content_hash")
    values = items.values_list("content_hash", "size_bytes", "policy_id", "status", "skipped_for")
    for content_hash, size, policy_id, status, rule in values.iterator(chunk_size=5_000):
        told = f"{status} {rule}" if rule else status
        yield f"{content_hash} {size} {policy_id} {told}\n"


def outcome_sha256(*, plan_id: int) -> str:
    """SHA-256 over `item_lines`."""
    digest = hashlib.sha256()
    with transaction.atomic():
        for line in item_lines(plan_id=plan_id):
            digest.update(line.encode())
    return digest.hexdigest()


def _statement(plan_id: int, *, at: datetime) -> dict[str, Any]:
    plan = PurgePlan.objects.get(plan_id=plan_id)
    stopped = plan.status == PlanStatus.STOPPING
    items = PurgeItem.objects.filter(plan_id=plan_id)
    by_status = {
        status: {"payloads": count, "bytes": str(size)}
        for status, count, size in items.values_list("status")
        .annotate(Count("content_hash"), Sum("size_bytes"))
        .order_by("status")
    }
    skipped = dict(
        items.filter(status=PurgeItemStatus.SKIPPED)
        .values_list("skipped_for")
        .annotate(Count("content_hash"))
        .order_by("skipped_for")
    )
    gone = items.filter(status__in=GONE).aggregate(
        payloads=Count("content_hash"), size=Sum("size_bytes"), last=Max("purged_at")
    )
    return {
        "format": FORMAT,
        "authority": settings.LANDSCAPE_AUTHORITY,
        "plan": {
            "number": plan.plan_id,
            "digest": plan.digest,
            "payloads": plan.items,
            "bytes": str(plan.bytes),
            "requested_by": plan.made_by,
            "requested_at": _instant(plan.made_at),
            "approved_by": plan.approved_by,
            "approved_at": _instant(plan.approved_at),
            "approval_reason": plan.approval_reason,
            "begun_by": plan.begun_by,
            "begun_at": _instant(plan.begun_at),
            "stopped": stopped,
        },
        "policies": _policies(plan_id),
        "outcome": {
            "list_sha256": outcome_sha256(plan_id=plan_id),
            "by_status": by_status,
            "skipped_for": skipped,
            "deleted_payloads": gone["payloads"],
            "deleted_bytes": str(gone["size"] or 0),
            "last_deleted_at": _instant(gone["last"]),
        },
        "kept": json.loads(plan.kept_json or "{}"),
        "not_erasable_inline_texts": json.loads(plan.inline_json or "{}"),
        "runs": _runs(plan_id),
        "method": "the bytes were deleted from the storage; records and hashes were not touched",
        "not_covered": [
            "copies in backups, until they expire",
            "copies in exports that were downloaded, and wherever they were taken",
            "texts that stand in the records themselves, as counted here",
        ],
        "signed_at": _instant(at),
    }


def _policies(plan_id: int) -> list[dict[str, Any]]:
    used = PurgeItem.objects.filter(plan_id=plan_id).values("policy_id").distinct()
    return [
        {
            "policy_id": policy.policy_id,
            "name": policy.name,
            "version": policy.version,
            "delete_after_days": policy.delete_after_days,
            "reason": policy.reason,
        }
        for policy in RetentionPolicy.objects.filter(policy_id__in=used).order_by("policy_id")
    ]


def _runs(plan_id: int) -> dict[str, Any]:
    touched = (
        PayloadPurge.objects.filter(plan_id=plan_id)
        .values("run_id")
        .annotate(payloads=Count("purge_id"))
        .order_by("run_id")
    )
    named = list(touched[:RUNS_NAMED])
    ids = [each["run_id"] for each in named]
    fallen = {
        each.run_id: [each.grade_before, each.grade_after]
        for each in RunGrade.objects.filter(plan_id=plan_id, run_id__in=ids)
    }
    newest: dict[str, Seal] = {}
    for seal in Seal.objects.filter(run_id__in=ids).order_by("run_id", "epoch"):
        newest[seal.run_id] = seal
    return {
        "total": touched.count(),
        "fallen": RunGrade.objects.filter(plan_id=plan_id).count(),
        "named": [
            {
                "run_id": each["run_id"],
                "payloads": each["payloads"],
                "grade": fallen.get(each["run_id"]),
                "sealed_epoch": seal.epoch if seal else None,
                "sealed_root": seal.root if seal else None,
            }
            for each in named
            for seal in [newest.get(each["run_id"])]
        ],
    }


def _instant(at: datetime | None) -> str | None:
    if at is None:
        return None
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
