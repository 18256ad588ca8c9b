"""Files in an S3-compatible store, for installations whose machines share no disk.

What is written is there whole or not at all: one PUT, or a multipart upload that is completed at
its end. What is read comes as it is asked for, never whole into memory or onto the disk. Nothing
has a public address; everything goes through pages that ask who is there. The rest of the house
knows Django's storage only, so faults are told as those of a disk.
"""

from __future__ import annotations

import io
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from django.core.files.base import File
from storages.backends.s3 import S3Storage

if TYPE_CHECKING:
    from collections.abc import Iterator

# Bigger files go up in parts: two at a time, each held in memory.
_PART = 16 << 20
_AT_ONCE = 2
# An upload that nobody completed in this time never will be.
_FORGOTTEN = timedelta(hours=6)
_NOT_FOUND = {"404", "NoSuchKey", "NotFound"}


class StoreUnavailable(OSError):
    """The store is not there, has no room, or does not let us in; its own words say which."""


class Bucket(S3Storage):  # type: ignore[misc]  # django-storages has no types
    """A folder of a bucket, as a Django storage. Equal names are equal contents."""

    def __init__(self, **given: Any) -> None:
        super().__init__(
            **given,
            file_overwrite=True,
            client_config=Config(
                signature_version="s3v4",
                s3={"addressing_style": "path"},
                connect_timeout=5,
                read_timeout=60,
                retries={"max_attempts": 3, "mode": "standard"},
                # Stores that are not Amazon's may not know its newer checksums.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
            transfer_config=TransferConfig(
                multipart_threshold=_PART, multipart_chunksize=_PART, max_concurrency=_AT_ONCE
            ),
        )

    def _open(self, name: str, mode: str = "rb") -> File[bytes]:
        if mode != "rb":
            raise ValueError("what is kept here is read, or put in place whole")
        return File(io.BufferedReader(_Object(self, name), 1 << 18), name)

    def _save(self, name: str, content: File[Any]) -> str:
        with _told(name):
            return str(super()._save(name, content))

    def delete(self, name: str) -> None:
        """Remove a file; one that is not there is no mistake."""
        with _told(name):
            super().delete(name)

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        with _told(name):
            return bool(super().exists(name))

    def size(self, name: str) -> int:
        """How many bytes it has."""
        with _told(name):
            return int(super().size(name))

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        """Folders and files in a folder."""
        with _told(path):
            return tuple(super().listdir(path))

    def url(self, name: str, *_args: Any, **_more: Any) -> NoReturn:
        """There is none: what is kept here is given to people by pages only."""
        raise ValueError(f"{name} has no address")

    def tidy(self) -> int:
        """End uploads that somebody left half-way long ago; return how many."""
        client, ended = self.connection.meta.client, 0
        before = datetime.now(UTC) - _FORGOTTEN
        with _told(self.location):
            pages = client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self.bucket_name, Prefix=self.location
            )
            for each in (upload for page in pages for upload in page.get("Uploads", ())):
                if each["Initiated"] < before:
                    client.abort_multipart_upload(
                        Bucket=self.bucket_name, Key=each["Key"], UploadId=each["UploadId"]
                    )
                    ended += 1
        return ended


class _Object(io.RawIOBase):
    """A file of a bucket, read from wherever it is asked for; a cut line is an error."""

    def __init__(self, bucket: Bucket, name: str) -> None:
        self._client = bucket.connection.meta.client
        self._name = name
        self._where = {"Bucket": bucket.bucket_name, "Key": f"{bucket.location}/{name}"}
        with _told(name):
            self._size = int(self._client.head_object(**self._where)["ContentLength"])
        self._at = 0
        self._body: Any = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if base + offset != self._at:
            self._hang_up()
            self._at = base + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        if self._at >= self._size:
            return 0
        with _told(self._name):
            if self._body is None:
                wanted = f"bytes={self._at}-{self._size - 1}"
                self._body = self._client.get_object(**self._where, Range=wanted)["Body"]
            content = self._body.read(min(len(buffer), self._size - self._at))
        if not content:
            raise StoreUnavailable(f"{self._name} ended at byte {self._at} of {self._size}")
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)

    def close(self) -> None:
        self._hang_up()
        super().close()

    def _hang_up(self) -> None:
        body, self._body = getattr(self, "_body", None), None
        if body is not None:
            with suppress(Exception):
                body.close()


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Tell what a store refuses in the words that a disk has for it."""
    try:
        yield
    except ClientError as error:
        told = error.response.get("Error", {})
        if str(told.get("Code")) in _NOT_FOUND:
            raise FileNotFoundError(name) from error
        raise StoreUnavailable(f"{name}: {error}") from error
    except (BotoCoreError, Boto3Error, HTTPClientError) as error:
        raise StoreUnavailable(f"{name}: {error}") from error
