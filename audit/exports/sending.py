"""A file to take home: in parts if asked for, under a strong tag, kept by nobody on the way."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from django.http import HttpResponse, StreamingHttpResponse
from django.utils.cache import patch_cache_control
from django.utils.http import content_disposition_header, parse_etags

from audit.errors import AccessNotKept
from audit.exports import files
from audit.vocabulary import ExportJobStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.core.files.base import File
    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

    from audit.exports.standing import ExportLine

_CHUNK = 1 << 18
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


def send(request: HttpRequest, *, line: ExportLine, keep: Callable[[], None]) -> HttpResponseBase:
    """The answer with an export's file, or the one part that `Range` asks for (RFC 9110, 14).

    Several parts at once are answered with the whole, as the standard allows. `keep` is called
    before the first byte of a GET.

    Raises:
        FileNotFoundError: there is no file; says why.
        AccessNotKept: so says `keep`.
    """
    if line.status != ExportJobStatus.SUCCEEDED or line.file_sha256 is None:
        raise FileNotFoundError(f"Export {line.export_id} has no file: it is {line.status}.")
    try:
        file = files.read(line.file_sha256)
    except FileNotFoundError as error:
        told = f"The file of export {line.export_id} is gone from the storage."
        raise FileNotFoundError(told) from error
    if request.method == "GET":
        try:
            keep()
        except AccessNotKept:
            file.close()
            raise
    tag = f'"{line.file_sha256}"'
    answer = _answer(request, file, tag=tag, size=int(line.file_bytes or 0))
    answer["ETag"] = tag
    answer["Accept-Ranges"] = "bytes"
    answer["X-Content-Type-Options"] = "nosniff"
    patch_cache_control(answer, no_store=True, private=True)
    if answer.status_code in {200, 206}:
        answer["Content-Type"] = "application/zip"
        named = content_disposition_header(as_attachment=True, filename=str(line.file_name))
        answer["Content-Disposition"] = named or "attachment"
    return answer


def _answer(request: HttpRequest, file: File[Any], *, tag: str, size: int) -> HttpResponseBase:
    if tag in (known := parse_etags(request.headers.get("If-None-Match", ""))) or "*" in known:
        file.close()
        return HttpResponse(status=304)
    wanted = parse_etags(request.headers.get("If-Match", ""))
    if wanted and tag not in wanted and "*" not in wanted:
        file.close()
        return HttpResponse(status=412)
    part = None
    # A part of another file than the one that the client began with would be of no use.
    if request.headers.get("If-Range", tag) == tag:
        part = _RANGE.fullmatch(request.headers.get("Range", "").strip())
    if part is None or part[1] == part[2] == "":
        return _stream(request, file, start=0, end=size, status=200)
    if part[1]:
        start = int(part[1])
        end = min(size, int(part[2]) + 1) if part[2] else size
        if part[2] and int(part[2]) < start:
            return _stream(request, file, start=0, end=size, status=200)
    else:
        start, end = max(0, size - int(part[2])), size
    if start >= end:
        file.close()
        return HttpResponse(status=416, headers={"Content-Range": f"bytes */{size}"})
    answer = _stream(request, file, start=start, end=end, status=206)
    answer["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    return answer


def _stream(
    request: HttpRequest, file: File[Any], *, start: int, end: int, status: int
) -> StreamingHttpResponse:
    part = _Part(file, start, start if request.method == "HEAD" else end)
    answer = StreamingHttpResponse(part, status=status)
    answer["Content-Length"] = str(end - start)
    return answer


class _Part:
    """The bytes of a file from one place to another; closes it, also if nobody ever asks."""

    def __init__(self, file: File[Any], start: int, end: int) -> None:
        self._file, self._left = file, end - start
        self.close = file.close
        file.seek(start)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        chunk: bytes = self._file.read(min(_CHUNK, self._left)) if self._left else b""
        if not chunk:
            raise StopIteration
        self._left -= len(chunk)
        return chunk
