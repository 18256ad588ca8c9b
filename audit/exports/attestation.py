"""The attestation: what was exported, out of which seal, when and by whom (DSSE, in-toto, SLSA)."""

from __future__ import annotations

import base64
from datetime import UTC
from typing import TYPE_CHECKING, Any

import rfc8785

from audit.exports.verify import BUILD_TYPE, PAYLOAD_TYPE, PREDICATE, STATEMENT, Key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from audit.evidence.notes import Checkpoint
    from audit.evidence.signing import Signer


def statement(  # noqa: PLR0913  # everything that a statement says
    *,
    checkpoint: Checkpoint,
    parameters: Mapping[str, Any],
    subjects: Mapping[str, str],
    builder: Mapping[str, str],
    export_id: str,
    started_at: datetime,
    finished_at: datetime,
) -> bytes:
    """The statement about two manifests, canonical; `builder` has id and version."""
    root: dict[str, Any] = {
        "name": checkpoint.origin,
        "digest": {"sha256": checkpoint.root.hex()},
        "annotations": {"tree_size": checkpoint.size, "epoch": parameters["epoch"]},
    }
    return rfc8785.dumps(
        {
            "_type": STATEMENT,
            "subject": [
                {"name": name, "digest": {"sha256": digest}} for name, digest in subjects.items()
            ],
            "predicateType": PREDICATE,
            "predicate": {
                "buildDefinition": {
                    "buildType": BUILD_TYPE,
                    "externalParameters": dict(parameters),
                    "resolvedDependencies": [root],
                },
                "runDetails": {
                    "builder": {
                        "id": builder["id"],
                        "version": {"landscape": builder["version"]},
                    },
                    "metadata": {
                        "invocationId": export_id,
                        "startedOn": instant(started_at),
                        "finishedOn": instant(finished_at),
                    },
                },
            },
        }
    )


def envelope(payload: bytes, *, signers: Sequence[Signer]) -> bytes:
    """The signed envelope around a statement, in one line."""
    message = b"DSSEv1 %d %s %d %s" % (
        len(PAYLOAD_TYPE),
        PAYLOAD_TYPE.encode(),
        len(payload),
        payload,
    )
    signatures = [
        {
            "keyid": Key(each.key.public, each.key.name, "").fingerprint,
            "sig": _b64(each.sign_pae(message)),
        }
        for each in signers
    ]
    return rfc8785.dumps(
        {"payload": _b64(payload), "payloadType": PAYLOAD_TYPE, "signatures": signatures}
    )


def instant(at: datetime) -> str:
    """An instant as RFC 3339 has it, to the second."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def _b64(content: bytes) -> str:
    return base64.b64encode(content).decode()
