"""Exports: asking for one, how far it is, its file, stopping it, and those of a run."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from django.db import transaction
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import APIException, NotFound
from rest_framework.response import Response

from audit import access, exports, tasks
from audit.api.asking import AFTER, LIMIT, Resource
from audit.api.authentication import by_token
from audit.api.permissions import READING
from audit.errors import IllegalTransition
from audit.vocabulary import AccessAction, ExportJobStatus, ExportStep, TokenScope

if TYPE_CHECKING:
    from django.http.response import HttpResponseBase
    from rest_framework.request import Request


class OrderSerializer(serializers.Serializer):
    """What is asked for: JSON Lines, or both them and CSV; payloads or not; always a whole run."""

    format = serializers.ChoiceField(["jsonl", "both"], default="jsonl")
    payloads = serializers.BooleanField(default=False)

    def validate(self, attrs: dict[str, object]) -> dict[str, object]:
        """Refuse what nobody understands."""
        unknown = sorted(set(self.initial_data) - set(self.fields) - {"csrfmiddlewaretoken"})
        if unknown:
            raise serializers.ValidationError(f"Nobody knows {', '.join(unknown)}.")
        return attrs


class ExportSerializer(serializers.Serializer):
    """One export; `rate` is records per second, `remaining` seconds, while it is written."""

    export_id = serializers.CharField()
    run_id = serializers.CharField()
    requested_by = serializers.CharField(source="requested_by_name", allow_null=True)
    requested_at = serializers.DateTimeField()
    format = serializers.ChoiceField(["jsonl", "both"])
    payloads = serializers.BooleanField(source="with_payloads")
    provisional = serializers.BooleanField()
    status = serializers.ChoiceField(ExportJobStatus.values)
    step = serializers.ChoiceField(ExportStep.values)
    attempt = serializers.IntegerField()
    due_at = serializers.DateTimeField(allow_null=True)
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    records_done = serializers.IntegerField()
    records_total = serializers.IntegerField(allow_null=True)
    rate = serializers.FloatField(allow_null=True)
    remaining = serializers.FloatField(allow_null=True)
    error_code = serializers.CharField(allow_null=True)
    error_text = serializers.CharField(allow_null=True)
    file_name = serializers.CharField(allow_null=True)
    file_sha256 = serializers.CharField(allow_null=True)
    file_bytes = serializers.IntegerField(allow_null=True)
    origin = serializers.CharField(allow_null=True)
    root = serializers.CharField(allow_null=True)
    expires_at = serializers.DateTimeField(allow_null=True)


class ExportsPageSerializer(serializers.Serializer):
    """A page of exports, newest first."""

    results = ExportSerializer(many=True)
    next = serializers.URLField(allow_null=True)


class RunExports(Resource):
    """The exports of a run, one's own or everybody's; and asking for one."""

    http_method_names = ("get", "head", "options", "post")
    parameters = ("after", "limit")
    scopes = READING | {"POST": TokenScope.EXPORT}

    @extend_schema(
        operation_id="list_exports", parameters=[AFTER, LIMIT], responses=ExportsPageSerializer
    )
    def get(self, request: Request, run_id: str) -> Response:
        found = exports.list_exports(
            run_id=run_id,
            seen_by=access.sees_exports_of(request.user),
            at=timezone.now(),
            after=self.asked("after"),
            limit=self.limit(),
        )
        return self.page(ExportSerializer(found.lines, many=True).data, after=found.next_after)

    @extend_schema(
        operation_id="request_export",
        request=OrderSerializer,
        responses={202: ExportSerializer},
    )
    def post(self, request: Request, run_id: str) -> Response:
        seen_by = access.sees_exports_of(request.user)
        order = OrderSerializer(data=request.data)
        order.is_valid(raise_exception=True)
        with_payloads = order.validated_data["payloads"]
        person, now = access.exporter(request.user, with_payloads=with_payloads), timezone.now()
        with transaction.atomic():
            job = exports.open_job(
                run_id=run_id,
                requested_by=person,
                with_csv=order.validated_data["format"] == "both",
                with_payloads=with_payloads,
                at=now,
            )
            tasks.enqueue_export(str(job.export_id))
            # Last: the whole log is held until the transaction ends.
            access.record(
                action=AccessAction.EXPORT_REQUESTED,
                user_id=person,
                kind="api/run-exports",
                run_id=run_id,
                object_id=str(job.export_id),
                reason=by_token(request),
                asked=access.asked(request),
                at=now,
            )
        line = exports.describe_export(
            export_id=str(job.export_id), seen_by=seen_by, at=timezone.now()
        )
        return Response(ExportSerializer(line).data, status=status.HTTP_202_ACCEPTED)


class Export(Resource):
    """One export, and how far it is."""

    @extend_schema(operation_id="export", responses=ExportSerializer)
    def get(self, request: Request, export_id: str) -> Response:
        line = exports.describe_export(
            export_id=export_id, seen_by=access.sees_exports_of(request.user), at=timezone.now()
        )
        return Response(ExportSerializer(line).data)


class CancelExport(Resource):
    """Stopping an export; one that has ended stays as it is, and its `status` says so."""

    http_method_names = ("options", "post")
    scopes = READING | {"POST": TokenScope.EXPORT}

    @extend_schema(operation_id="cancel_export", request=None, responses=ExportSerializer)
    def post(self, request: Request, export_id: str) -> Response:
        seen_by = access.sees_exports_of(request.user)
        now = timezone.now()
        line = exports.describe_export(export_id=export_id, seen_by=seen_by, at=now)
        with suppress(IllegalTransition), transaction.atomic():
            exports.cancel(export_id=export_id)
            # Last: the whole log is held until the transaction ends.
            access.record(
                action=AccessAction.EXPORT_CANCELLED,
                user_id=request.user.pk,
                user_name=request.user.get_username(),
                kind="api/cancel-export",
                run_id=line.run_id,
                object_id=line.export_id,
                reason=by_token(request),
                asked=access.asked(request),
                at=now,
            )
        line = exports.describe_export(export_id=export_id, seen_by=seen_by, at=timezone.now())
        return Response(ExportSerializer(line).data)


class Gone(APIException):
    """The file was kept for its time."""

    status_code = status.HTTP_410_GONE
    default_code = "gone"


class ExportFile(Resource):
    """The file of an export, whole or, by `Range`, a part of it."""

    keeps = False
    scopes = dict.fromkeys(READING, TokenScope.EXPORT)

    def perform_content_negotiation(self, request: Request, force: bool = False) -> object:  # noqa: ARG002, FBT001, FBT002  # REST framework's
        """Whatever is asked for, there is one file; errors stay JSON."""
        return super().perform_content_negotiation(request, force=True)

    @extend_schema(
        operation_id="download_export", responses={(200, "application/zip"): OpenApiTypes.BINARY}
    )
    def get(self, request: Request, export_id: str) -> HttpResponseBase:
        # First of all: whether it is there is not told to those who may not have it.
        access.exporter(request.user)
        line = exports.describe_export(
            export_id=export_id, seen_by=access.sees_exports_of(request.user), at=timezone.now()
        )
        person = access.exporter(request.user, with_payloads=line.with_payloads)
        if line.status == ExportJobStatus.EXPIRED:
            raise Gone("The file was kept for its time and is removed: ask for the export again.")

        def kept() -> None:
            access.record(
                action=AccessAction.EXPORT_DOWNLOADED,
                user_id=person,
                user_name=request.user.get_username(),
                kind="export",
                run_id=line.run_id,
                object_id=line.export_id,
                reason=by_token(request),
                size_bytes=line.file_bytes,
                asked=access.asked(request),
                at=timezone.now(),
            )

        try:
            return exports.send(request._request, line=line, keep=kept)  # noqa: SLF001  # Django's own
        except FileNotFoundError as error:
            raise NotFound(str(error)) from error
