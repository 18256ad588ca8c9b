"""The keys of this deployment: who signs, which keys ever did, and what became of them.

The private key comes from the environment or from one file that only its user can read. Public
keys and their history are in `key_events`, where processes that never sign find them.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import os
import tempfile
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from django.conf import settings
from django.db import connection, transaction

from audit.errors import NoSigningKey
from audit.evidence import notes
from audit.models import KeyEvent
from audit.vocabulary import KeyEventKind

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

_SEED_BYTES = 32
_HISTORY_HEAD = "landscape-keys/1"


@dataclass(frozen=True)
class Signer:
    """A private key in use, and the public key under which it is known."""

    key: notes.VerifierKey
    _private: Ed25519PrivateKey

    def sign_note(self, text: str) -> str:
        """The note over a text."""
        return notes.sign(text, key=self.key, signer=self._private.sign)

    def sign_pae(self, message: bytes) -> bytes:
        """The signature over a DSSE message, which no note can be mistaken for.

        Raises:
            ValueError: this is no such message.
        """
        if not message.startswith(b"DSSEv1 "):
            raise ValueError("only DSSE messages are signed here")
        return self._private.sign(message)


@dataclass(frozen=True)
class KnownKey:
    """A public key and what became of it."""

    key: notes.VerifierKey
    introduced_at: datetime
    retired_at: datetime | None = None
    compromised_since: datetime | None = None

    @property
    def status(self) -> str:
        """In one word."""
        if self.compromised_since:
            return "compromised"
        return "retired" if self.retired_at else "active"

    @property
    def pem(self) -> str:
        """The public key as openssl reads it."""
        return (
            _public(self.key)
            .public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            .decode()
        )

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the DER form: what to compare over the telephone."""
        return fingerprint(self.key)


def fingerprint(key: notes.VerifierKey) -> str:
    """SHA-256 of a public key's DER form: by this envelopes name who signed them."""
    der = _public(key).public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(der).hexdigest()


def current(*, at: datetime) -> Signer:
    """The signer of this deployment; its key is introduced on its first use.

    Raises:
        NoSigningKey: this process has none, or it is not the key that was last introduced.
    """
    signer = _signer(_private_key())
    keys = known_keys()
    if any(each.key == signer.key and each.status == "active" for each in keys):
        return signer
    if keys:
        message = (
            f"the key {signer.key.key_id.hex()} of {signer.key.name} is not the one in use: "
            "manage.py rotate_key introduces another one"
        )
        raise NoSigningKey(message)
    _note(KeyEventKind.INTRODUCED, signer.key, at=at, reason="first use", signers=[signer])
    return signer


def rotate(*, at: datetime, reason: str, compromised_since: datetime | None = None) -> Signer:
    """Put a new key in the place of the one in use; the old file is kept under its id.

    What the old key has signed stays good, unless it is compromised: then only what was proven
    to exist before. Both keys sign the history.

    Raises:
        NoSigningKey: the key is not a file of ours.
    """
    if settings.LANDSCAPE_SIGNING_KEY:
        raise NoSigningKey("the key comes from the environment: it cannot be replaced from here")
    old = current(at=at)
    path = _key_file()
    private = Ed25519PrivateKey.generate()
    new = _signer(private)
    ended = KeyEventKind.COMPROMISED if compromised_since else KeyEventKind.RETIRED
    with transaction.atomic():
        _note(ended, old.key, at=compromised_since or at, reason=reason, signers=[old, new])
        _note(KeyEventKind.INTRODUCED, new.key, at=at, reason=reason, signers=[old, new])
        kept = path.with_name(f"{path.stem}.{old.key.key_id.hex()}{path.suffix}")
        with contextlib.suppress(FileExistsError):
            os.link(path, kept)
        _write_key(path, private, replace=True)
    return new


def known_keys() -> list[KnownKey]:
    """Every key that was ever introduced, oldest first; one query."""
    found: dict[tuple[str, str], dict[str, KeyEvent]] = {}
    for event in KeyEvent.objects.order_by("event_id"):
        found.setdefault((event.key_name, event.public_key), {})[event.kind] = event
    keys = []
    for (name, public), events in found.items():
        # No key is called so, or nobody introduced it: written by somebody else, and not trusted.
        if KeyEventKind.INTRODUCED not in events or not notes.is_key_name(name):
            continue
        ended, given_up = events.get(KeyEventKind.RETIRED), events.get(KeyEventKind.COMPROMISED)
        keys.append(
            KnownKey(
                notes.VerifierKey(name, bytes.fromhex(public)),
                events[KeyEventKind.INTRODUCED].happened_at,
                ended.happened_at if ended else None,
                given_up.happened_at if given_up else None,
            )
        )
    return keys


def trusted() -> list[notes.VerifierKey]:
    """The keys whose signatures count: all that were introduced, rotated ones included."""
    return [each.key for each in known_keys()]


def history() -> str:
    """What happened to the keys, as a signed note; empty before the first use."""
    newest = KeyEvent.objects.order_by("-event_id").first()
    return newest.history if newest else ""


def _note(
    kind: KeyEventKind,
    key: notes.VerifierKey,
    *,
    at: datetime,
    reason: str,
    signers: Iterable[Signer],
) -> None:
    """Write down an event, with the history up to it signed by those concerned."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            # Two first uses at once: one introduces, the other finds it introduced.
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext('landscape keys'))")
        held = KeyEvent.objects.filter(kind=kind, key_name=key.name, public_key=key.public.hex())
        if held.exists():
            return
        lines = [
            _told(each.kind, each.happened_at, str(each.reason), each.key_id, each.public_key)
            for each in KeyEvent.objects.order_by("event_id")
        ]
        lines.append(_told(kind, at, reason, key.key_id.hex(), key.public.hex()))
        text = f"{_HISTORY_HEAD}\n" + "".join(lines)
        first, *others = signers
        signed = first.sign_note(text) + "".join(
            each.sign_note(text).removeprefix(f"{text}\n") for each in others
        )
        KeyEvent.objects.create(
            kind=kind,
            key_name=key.name,
            key_id=key.key_id.hex(),
            public_key=key.public.hex(),
            happened_at=at,
            reason=reason,
            history=signed,
        )


def _told(kind: str, at: datetime, reason: str, key_id: str, public: str) -> str:
    moment = at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds")
    words = " ".join(reason.split())
    return f"{moment}Z {kind} {key_id} {public} {words}\n"


def _private_key() -> Ed25519PrivateKey:
    if settings.LANDSCAPE_SIGNING_KEY:
        try:
            seed = base64.b64decode(settings.LANDSCAPE_SIGNING_KEY, validate=True)
        except binascii.Error:
            seed = b""
        if len(seed) != _SEED_BYTES:
            raise NoSigningKey("LANDSCAPE_SIGNING_KEY is not 32 bytes in base64")
        return Ed25519PrivateKey.from_private_bytes(seed)
    path = _key_file()
    if not path.exists():
        if not settings.MAY_INVENT_SIGNING_KEY:
            raise NoSigningKey(f"LANDSCAPE_SIGNING_KEY is not set, and there is no {path}")
        _write_key(path, Ed25519PrivateKey.generate(), replace=False)
    found = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(found, Ed25519PrivateKey):
        raise NoSigningKey(f"{path} holds no Ed25519 key")
    return found


def _key_file() -> Path:
    if settings.SIGNING_KEY_FILE is None:
        raise NoSigningKey("the web server does not sign: workers and commands do")
    return Path(settings.SIGNING_KEY_FILE)


def _write_key(path: Path, private: Ed25519PrivateKey, *, replace: bool) -> None:
    """Write a key whole or not at all, for its user only; without `replace` the first one stays."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    content = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    handle, temporary = tempfile.mkstemp(dir=path.parent)  # mode 0600
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    if replace:
        Path(temporary).replace(path)
        return
    # A link never replaces: of two inventors, the first one counts.
    with contextlib.suppress(FileExistsError):
        os.link(temporary, path)
    Path(temporary).unlink()


def _signer(private: Ed25519PrivateKey) -> Signer:
    public = private.public_key().public_bytes_raw()
    return Signer(notes.VerifierKey(settings.LANDSCAPE_AUTHORITY, public), private)


def _public(key: notes.VerifierKey) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(key.public)
