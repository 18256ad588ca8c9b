"""A file to take home: in parts if asked for, under a strong tag, kept by nobody on the way."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from django.http import HttpResponse, StreamingHttpResponse
from django.utils.cache import patch_cache_control
from django.utils.http import content_disposition_header, parse_etags

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.core.files.base import File
    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

_CHUNK = 1 << 18
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


def send(
    request: HttpRequest, *, file: File[Any], name: str, sha256: str, size: int
) -> HttpResponseBase:
    """The answer with a file, or with the one part of it that `Range` asks for (RFC 9110, 14).

    Several parts at once are answered with the whole, as the standard allows.
    """
    tag = f'"{sha256}"'
    answer = _answer(request, file, tag=tag, size=size)
    answer["ETag"] = tag
    answer["Accept-Ranges"] = "bytes"
    answer["X-Content-Type-Options"] = "nosniff"
    patch_cache_control(answer, no_store=True, private=True)
    if answer.status_code in {200, 206}:
        answer["Content-Type"] = "application/zip"
        named = content_disposition_header(as_attachment=True, filename=name)
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
