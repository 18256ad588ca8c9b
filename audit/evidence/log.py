"""The seal log: every seal of this deployment in one signed C2SP log. Only writer of `seal_log`.

Its leaves are checkpoint texts of seals, its origin is the authority itself. Whoever holds an
earlier checkpoint of the log can ask for proof that it was only added to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.db import connection, transaction

from audit.errors import CannotBeSealed, NotRecorded
from audit.evidence import merkle, notes, signing
from audit.models import Seal, SealLogEntry

if TYPE_CHECKING:
    from datetime import datetime


def append(*, at: datetime) -> int:
    """Log every seal that is not in the log yet, oldest first; return how many there were.

    One transaction for all of them; doing it again is harmless.

    Raises:
        NoSigningKey: nothing can be signed in this process.
        CannotBeSealed: the log's own tree contradicts what it has signed.
    """
    signer = signing.current(at=at)
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext('landscape seal log'))")
        missing = Seal.objects.filter(log_entries__isnull=True)
        count = 0
        for seal in missing.order_by("sealed_at", "run_id", "epoch"):
            _add(seal, signer, at=at)
            count += 1
    return count


def newest() -> SealLogEntry | None:
    """The last entry, with the checkpoint that covers the whole log."""
    return SealLogEntry.objects.order_by("-leaf_index").first()


def prove_seal(seal: Seal) -> notes.Proof:
    """That a seal is in the log, against the log's newest checkpoint.

    Raises:
        NotRecorded: it has not been logged.
    """
    entry, last = (
        SealLogEntry.objects.filter(run_id=seal.run_id, epoch=seal.epoch).first(),
        newest(),
    )
    if entry is None or last is None:
        raise NotRecorded("entry in the seal log for", str(seal))
    size = last.leaf_index + 1
    hashes = merkle.prove(merkle.inclusion_path(entry.leaf_index, size), _read)
    return notes.Proof(entry.leaf_index, tuple(hashes), str(last.checkpoint))


def prove_as_logged(seal: Seal) -> notes.Proof:
    """The same against the log as it stood when the seal came in: the same for ever.

    Raises:
        NotRecorded: it has not been logged.
    """
    entry = SealLogEntry.objects.filter(run_id=seal.run_id, epoch=seal.epoch).first()
    if entry is None:
        raise NotRecorded("entry in the seal log for", str(seal))
    path = merkle.inclusion_path(entry.leaf_index, entry.leaf_index + 1)
    return notes.Proof(entry.leaf_index, tuple(merkle.prove(path, _read)), str(entry.checkpoint))


def prove_growth(*, old: int, new: int) -> list[bytes]:
    """That the log of size `old` is the beginning of the log of size `new`.

    Raises:
        ValueError: there are no such sizes.
    """
    last = newest()
    if last is None or new > last.leaf_index + 1:
        raise ValueError(f"the log is not as long as {new}")
    return merkle.prove(merkle.consistency_path(old, new), _read)


def faults() -> list[str]:
    """What is wrong with the log, in sentences: its tree, its signatures, seals that it lacks."""
    found, tree, keys = [], merkle.Tree(), signing.trusted()
    for entry in SealLogEntry.objects.select_related("seal").order_by("leaf_index").iterator():
        tree.add(merkle.leaf_hash(str(entry.leaf_text).encode()))
        try:
            signed = notes.open_checkpoint(str(entry.checkpoint), keys=keys)
        except notes.NoteRefused as error:
            found.append(f"{entry}: {error}")
            continue
        if (signed.size, signed.root) != (tree.size, tree.root()):
            found.append(f"{entry}: the log does not lead to the root that was signed")
        if entry.leaf_text != _leaf_text(entry.seal):
            found.append(f"{entry}: the seal has another checkpoint than the log")
    unlogged = Seal.objects.filter(log_entries__isnull=True).order_by("run_id", "epoch")
    found += [f"{seal} is not in the seal log" for seal in unlogged]
    return found


def _leaf_text(seal: Seal) -> str:
    return str(seal.checkpoint).rpartition("\n\n")[0] + "\n"


def _add(seal: Seal, signer: signing.Signer, *, at: datetime) -> None:
    last = newest()
    tree = merkle.Tree()
    if last is not None:
        tree = merkle.Tree.from_edge(bytes(last.edge), size=last.leaf_index + 1)
        # What was signed last decides; an edge that leads elsewhere has been tampered with.
        signed = notes.open_checkpoint(str(last.checkpoint), keys=signing.trusted())
        if (signed.size, signed.root) != (tree.size, tree.root()):
            raise CannotBeSealed(str(seal.run_id), "the seal log is not what was signed last")
    text = _leaf_text(seal)
    leaf = merkle.leaf_hash(text.encode())
    index = tree.size
    tree.add(leaf)
    signed_text = notes.Checkpoint(settings.LANDSCAPE_AUTHORITY, tree.size, tree.root()).text
    SealLogEntry.objects.create(
        leaf_index=index,
        previous_index=index - 1 if index else None,
        run_id=seal.run_id,
        epoch=seal.epoch,
        leaf_text=text,
        leaf_hash=leaf.hex(),
        root=tree.root().hex(),
        edge=tree.edge(),
        checkpoint=signer.sign_note(signed_text),
        key_id=signer.key.key_id.hex(),
        logged_at=at,
    )


def _read(level: int, start: int, count: int) -> list[bytes]:
    """Hashes of the log's tree: leaves from the table, tiles above them made as needed."""
    if level:
        return [
            merkle.block_root(_read(level - 1, each * merkle.WIDTH, merkle.WIDTH))
            for each in range(start, start + count)
        ]
    found = SealLogEntry.objects.filter(leaf_index__gte=start, leaf_index__lt=start + count)
    return [
        bytes.fromhex(each)
        for each in found.order_by("leaf_index").values_list("leaf_hash", flat=True)
    ]
