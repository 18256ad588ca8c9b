"""The proof of one record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils import timezone
from django.utils.cache import patch_cache_control
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import APIException, NotFound
from rest_framework.response import Response

from audit import access, exports
from audit.api.asking import Resource
from audit.api.authentication import by_token
from audit.errors import CannotBeExported
from audit.evidence.records import BY_NAME
from audit.vocabulary import AccessAction, Right

if TYPE_CHECKING:
    from rest_framework.request import Request


class NotProvable(APIException):
    """What was sealed is damaged."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "not_provable"


class RecordProofSerializer(serializers.Serializer):
    """A sealed line, and the proof that leads from it to the signed root.

    `line` and `tlog_proof` are the two files that verify.py takes, to the byte: `NAME.json`
    without a line end, and `NAME.json.tlog-proof`.
    """

    run_id = serializers.CharField()
    record_type = serializers.ChoiceField(list(BY_NAME))
    epoch = serializers.IntegerField()
    index = serializers.IntegerField()
    size = serializers.IntegerField()
    origin = serializers.CharField()
    root = serializers.CharField()
    line = serializers.CharField()
    tlog_proof = serializers.CharField()


class RecordProof(Resource):
    """One record as it was sealed, with its proof; `key` has the parts of its key with slashes."""

    keeps = False

    @extend_schema(operation_id="record_proof", responses=RecordProofSerializer)
    def get(self, request: Request, run_id: str, record_type: str, key: str) -> Response:
        if record_type not in BY_NAME:
            raise NotFound(f"There is no record type {record_type!r:.60}.")
        needs = [Right.REVEAL_CONTENTS] if BY_NAME[record_type].holds_contents else []
        person = access.require(request.user, Right.SEE_RECORDS, *needs)
        try:
            found = exports.prove_record(run_id=run_id, record_type=record_type, key=key)
        except CannotBeExported as error:
            raise NotProvable(f"This record cannot be proven: {error.reason}.") from error
        access.record(
            action=AccessAction.PROOF_GIVEN,
            user_id=person,
            run_id=run_id,
            object_id=f"{record_type}/{found.proof.index}",
            reason=by_token(request),
            asked=access.asked(request._request),  # noqa: SLF001  # Django's own
            at=timezone.now(),
        )
        told = {
            "run_id": run_id,
            "record_type": record_type,
            "epoch": found.epoch,
            "index": found.proof.index,
            "size": found.checkpoint.size,
            "origin": found.checkpoint.origin,
            "root": found.checkpoint.root.hex(),
            "line": found.line.decode(),
            "tlog_proof": found.proof.text,
        }
        answer = Response(RecordProofSerializer(told).data)
        patch_cache_control(answer, no_store=True, private=True)
        return answer
