"""Writing a bag: a run's sealed records as they were signed, with all that it takes to check them.

What is sealed is shipped as it lies. On its way every line is hashed again, and the bag appears
only if these hashes lead to the signed root. A run that is still going has no seal: its bag is
made from one snapshot, carries a root of its own, and calls itself provisional everywhere.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import rfc8785
from django.conf import settings

from audit import payloads
from audit.errors import CannotBeExported, NotRecorded
from audit.evidence import (
    comparing,
    lines,
    log,
    merkle,
    notes,
    records,
    seals,
    sharing,
    signing,
    store,
)
from audit.exports import attestation, texts
from audit.exports.archive import Archive, Folder, Kept
from audit.exports.sheets import Sheets
from audit.models import Payload, Run, Seal
from audit.vocabulary import PayloadState, RunStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from audit.evidence.sharing import Call, Progress

    Sink = Archive | Folder

_CHUNK = 1 << 18
_BATCH = 500
_REF = re.compile(rb'_ref":"([0-9a-f]{64})"')
_PURGED = re.compile(rb'"payload_sha256":"([0-9a-f]{64})"')
_VERIFIER = Path(__file__).with_name("verify.py")
PROVISIONAL = "provisional"


@dataclass(frozen=True)
class Exported:
    """A bag that was written."""

    path: Path
    run_id: str
    epoch: int
    checkpoint: notes.Checkpoint
    provisional: bool
    # SHA-256 of manifest-sha256.txt: equal for every export of one seal with the same contents.
    manifest_sha256: str
    missing_payloads: int


@dataclass
class _Bag:
    """A bag on its way: what goes by is hashed, counted and, if asked for, written as CSV."""

    sink: Sink
    sheets: Sheets | None
    with_payloads: bool
    progress: Callable[[int, int], None]
    levels: dict[int, bytearray] = field(default_factory=dict)
    refs: set[bytes] = field(default_factory=set)
    # What the run's own records say was purged.
    purged: set[bytes] = field(default_factory=set)
    total: int = 0
    missing: int = 0
    rest: bytes = b""

    def __post_init__(self) -> None:
        self.tree = merkle.Tree(
            sink=lambda level, root: self.levels.setdefault(level, bytearray()).extend(root)
        )

    def take(self, text: bytes) -> None:
        """Look at the next piece of all records."""
        *found, self.rest = (self.rest + text).split(b"\n")
        self.tree.extend(store.leaf_hashes(found))
        if self.sheets:
            self.sheets.take(found)
        self.tell()
        if self.with_payloads:
            for line in found:
                self.refs.update(bytes.fromhex(ref.decode()) for ref in _REF.findall(line))
                self.purged.update(bytes.fromhex(ref.decode()) for ref in _PURGED.findall(line))

    @property
    def plain(self) -> bool:
        """Whether nobody but the tree has to see the records themselves."""
        return self.sheets is None and not self.with_payloads

    def trust(self, segment: store.Segment) -> None:
        """Count a segment in that somebody else has proven."""
        tiles = store.read_hashes(segment, level=1, start=0, count=merkle.WIDTH)
        self.tree.add_block(merkle.block_root(tiles), tiles)
        self.tell()

    def tell(self) -> None:
        """Say how far it is."""
        self.progress(self.tree.size, self.total)

    def watch(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Pass text on and look at it."""
        for chunk in chunks:
            self.take(chunk)
            yield chunk


def export_run(  # noqa: PLR0913  # what may be asked for
    *,
    run_id: str,
    folder: Path,
    at: datetime,
    csv: bool = False,
    with_payloads: bool = False,
    zipped: bool = False,
    clock: Callable[[], datetime] | None = None,
    export_id: str | None = None,
    progress: Progress = sharing.tell_nobody,
    sealing: Progress = sharing.tell_nobody,
    call: Call = sharing.call_nobody,
) -> Exported:
    """Write a bag of a run into a folder, whole or not at all; an ended run is sealed first.

    `progress` hears how many records are written and how many there are, every quarter of
    a megabyte, `sealing` before that how many are sealed; what they raise ends the export, and
    nothing is left of it. `call` asks other workers to help with a big run. With the same `at`
    and `export_id`, and without a clock, the same seal gives the same bytes, whoever helped.

    Memory does not grow with the run, save by 32 bytes for each payload that goes with it.

    Raises:
        NotRecorded: there is no such run.
        CannotBeExported: what was sealed is damaged, or such a bag is there already.
        CannotBeSealed: the run has ended and cannot be sealed.
        NoSigningKey: nothing can be signed in this process.
    """
    run = Run.objects.filter(run_id=run_id).first()
    if run is None:
        raise NotRecorded("run", run_id)
    signer = signing.current(at=at)
    order = _Order(
        run_id,
        csv,
        with_payloads,
        zipped,
        folder,
        signer,
        at,
        clock or (lambda: at),
        export_id or str(uuid.uuid4()),
        progress,
        sealing,
        call,
    )
    if run.status == RunStatus.RUNNING:
        return _provisional(order)
    sealed = _sealed(order)
    try:
        return _ship(order, sealed)
    except (store.SealedTextDamaged, notes.NoteRefused) as error:
        raise CannotBeExported(run_id, str(error)) from error


@dataclass(frozen=True)
class _Order:
    """What was asked for."""

    run_id: str
    csv: bool
    with_payloads: bool
    zipped: bool
    folder: Path
    signer: signing.Signer
    at: datetime
    clock: Callable[[], datetime]
    export_id: str
    progress: Progress
    sealing: Progress
    call: Call

    @property
    def include(self) -> list[str]:
        return ["records", *["csv"] * self.csv, *["payloads"] * self.with_payloads]


def _sealed(order: _Order) -> Seal:
    """The newest seal of an ended run, made now if there is none or if the run went on since."""
    run_id = order.run_id
    found = seals.seals_of(run_id)
    if not found or seals.growth(found):
        seals.seal_run(run_id=run_id, at=order.at, call=order.call, progress=order.sealing)
        found = seals.seals_of(run_id)
    return found[-1]


def _ship(order: _Order, seal: Seal) -> Exported:
    """A bag of what was sealed."""
    checkpoint = seals.verified(seal)
    name = f"landscape_{_safe(order.run_id)}_e{seal.epoch}_{checkpoint.root.hex()[:8]}"
    kinds = [records.SEAL, *comparing.sealed_types(seal)]
    with ExitStack() as stack:
        bag, target = _begin(order, name, kinds, stack)
        bag.total = checkpoint.size
        segments = comparing.segments_of(seal)
        proving = stack.enter_context(
            sharing.Proving(
                f"export {order.export_id}",
                segments if bag.plain and order.zipped else [],
                call=order.call,
                wait=bag.tell,
            )
        )
        for index, segment in enumerate(segments):
            path = f"data/records/{index:06}.jsonl"
            if isinstance(bag.sink, Archive):
                kept = Kept(segment.sha256, segment.size)
                proven = proving.by_another(index)
                packed = _copied(segment, bag, proven) if proven else _proven(segment, bag)
                bag.sink.add_packed(path, packed, crc32=segment.crc32, kept=kept)
            else:
                bag.sink.add(path, bag.watch(store.read_text(segment)))
        if bag.rest or (bag.tree.size, bag.tree.root()) != (checkpoint.size, checkpoint.root):
            raise CannotBeExported(
                order.run_id, "the sealed text does not lead to the root that was signed"
            )
        note = str(seal.checkpoint)
        proof = _log_proof(seal)
        if proof:
            bag.sink.add("tlog/seal.tlog-proof", [proof.text.encode()])
        return _finish(
            order,
            bag,
            target,
            checkpoint,
            note=note,
            schema=str(seal.schema_json).encode(),
            epoch=seal.epoch,
        )


def _provisional(order: _Order) -> Exported:
    """A bag of a run that is still going, from one snapshot, with a root of its own."""
    name = f"landscape_{_safe(order.run_id)}_provisional_{order.export_id[:8]}"
    with ExitStack() as stack:
        bag, target = _begin(order, name, [records.SEAL, *records.RECORD_TYPES], stack)
        stack.enter_context(lines.snapshot())
        counts = lines.count_records(order.run_id)
        bag.total = 1 + sum(counts.values())
        first = {
            **dict.fromkeys(name for name, _form in records.SEAL.columns),
            "run_id": order.run_id,
            "epoch": 1,
            "reason": PROVISIONAL,
            "sealed_at": order.at,
            "first_leaf": 0,
            "counts_json": rfc8785.dumps(dict(counts)).decode(),
            "schema_sha256": records.schema_sha256(),
            "prev_size": 0,
        }
        every = chain(
            [lines.line_of(records.SEAL, first)],
            *(lines.lines(kind, order.run_id, strict=True) for kind in records.RECORD_TYPES),
        )
        for index, line in enumerate(every):
            segment = chain([line], islice(every, store.SEGMENT - 1))
            bag.sink.add(f"data/records/{index:06}.jsonl", bag.watch(segment))
        origin = f"{settings.LANDSCAPE_AUTHORITY}/provisional/{order.export_id}"
        checkpoint = notes.Checkpoint(origin, bag.tree.size, bag.tree.root())
        note = order.signer.sign_note(checkpoint.text)
        schema = records.schema_bytes()
        return _finish(order, bag, target, checkpoint, note=note, schema=schema, epoch=1)


def _begin(
    order: _Order, name: str, kinds: list[records.RecordType], stack: ExitStack
) -> tuple[_Bag, Path]:
    target = order.folder / (f"{name}.zip" if order.zipped else name)
    if target.exists():
        raise CannotBeExported(order.run_id, f"{target} is there already")
    order.folder.mkdir(parents=True, exist_ok=True)
    sheets = stack.enter_context(Sheets(kinds)) if order.csv else None
    sink: Sink = Archive(target, folder=name) if order.zipped else Folder(target)
    stack.enter_context(sink)
    return _Bag(sink, sheets, order.with_payloads, order.progress), target


def _finish(  # noqa: PLR0913  # everything beside the records
    order: _Order,
    bag: _Bag,
    target: Path,
    checkpoint: notes.Checkpoint,
    *,
    note: str,
    schema: bytes,
    epoch: int,
) -> Exported:
    """Everything that follows the records; the attestation last."""
    sink, provisional = bag.sink, "/provisional/" in checkpoint.origin
    sink.add("tlog/checkpoint", [note.encode()])
    sink.add("data/schema.json", [schema])
    if bag.sheets:
        for name, chunks in bag.sheets.contents():
            sink.add(f"data/csv/{name}.csv", chunks)
    if bag.with_payloads:
        _add_payloads(bag)
    for level, hashes in bag.levels.items():
        sink.add(f"tlog/{level}.hashes", [bytes(hashes)])
    data = {name: kept for name, kept in sink.files.items() if name.startswith("data/")}
    started = attestation.instant(order.at)
    told = texts.Told(
        origin=checkpoint.origin,
        run_id=order.run_id,
        epoch=epoch,
        size=checkpoint.size,
        root=checkpoint.root.hex(),
        authority=settings.LANDSCAPE_AUTHORITY,
        # Of the root and of the attestation: not the same after a change of keys.
        keys=list(dict.fromkeys([*_signers(note), str(order.signer.key)])),
        provisional=provisional,
        oxum=f"{sum(kept.size for kept in data.values())}.{len(data)}",
        date=started[:10],
    )
    manifest = sink.add("manifest-sha256.txt", [texts.manifest(data)])
    sink.add("bagit.txt", [texts.BAGIT])
    sink.add("bag-info.txt", [texts.bag_info(told)])
    sink.add("README.txt", [texts.readme(told)])
    sink.add("verify.py", [_VERIFIER.read_bytes()])
    tags = {name: kept for name, kept in sink.files.items() if not name.startswith("data/")}
    tagmanifest = sink.add("tagmanifest-sha256.txt", [texts.manifest(tags)])
    parameters: dict[str, Any] = {
        "run_id": order.run_id,
        "epoch": epoch,
        "profile": PROVISIONAL if provisional else "full",
        "include": order.include,
    }
    payload = attestation.statement(
        checkpoint=checkpoint,
        parameters=parameters,
        subjects={
            "manifest-sha256.txt": manifest.sha256,
            "tagmanifest-sha256.txt": tagmanifest.sha256,
        },
        builder={"id": settings.LANDSCAPE_AUTHORITY, "version": texts.VERSION},
        export_id=order.export_id,
        started_at=order.at,
        finished_at=order.clock(),
    )
    sink.add("attestation.dsse.json", [attestation.envelope(payload, signers=[order.signer])])
    return Exported(
        target, order.run_id, epoch, checkpoint, provisional, manifest.sha256, bag.missing
    )


def _proven(segment: store.Segment, bag: _Bag) -> Iterator[bytes]:
    """A segment as it lies, while what it holds is unpacked, proven and looked at.

    Raises:
        SealedTextDamaged: it does not hold what its name says.
    """
    for chunk, text in store.read_packed(segment):
        bag.take(text)
        yield chunk


def _copied(segment: store.Segment, bag: _Bag, proven: sharing.Proven) -> Iterator[bytes]:
    """A segment as it lies, which must be as it lay when another worker proved it.

    Raises:
        SealedTextDamaged: it is not.
    """
    digest = hashlib.sha256()
    with store.open_packed(segment) as file:
        for chunk in file.chunks(_CHUNK):
            digest.update(chunk)
            yield chunk
    if digest.hexdigest() != proven.packed_sha256:
        message = f"the file of segment {segment.sha256} changed while it was copied"
        raise store.SealedTextDamaged(message)
    bag.trust(segment)


def _log_proof(seal: Seal) -> notes.Proof | None:
    """That the seal is in the seal log, in the log as it stood when it came in.

    Not the newest log: two exports of one seal are to be the same.
    """
    try:
        return log.prove_as_logged(seal)
    except NotRecorded:
        return None


def _add_payloads(bag: _Bag) -> None:
    """The bytes behind every reference, and a list of those that are not there."""
    absent = []
    every = iter(sorted(bag.refs))
    while batch := [ref.hex() for ref in islice(every, _BATCH)]:
        known = dict(
            Payload.objects.filter(content_hash__in=batch).values_list("content_hash", "state")
        )
        bag.tell()
        for ref in batch:
            if known.get(ref) == PayloadState.PURGED and bytes.fromhex(ref) in bag.purged:
                absent.append((ref, str(PayloadState.PURGED)))
                continue
            try:
                bag.sink.add(f"data/payloads/{payloads.place(ref)}", [payloads.read(ref)])
            except payloads.PayloadMissing:
                absent.append((ref, str(PayloadState.MISSING)))
            except payloads.PayloadCorrupted:
                absent.append((ref, str(PayloadState.CORRUPTED)))
    bag.missing = len(absent)
    text = "".join(f"{ref} {state}\n" for ref, state in absent)
    bag.sink.add("data/payloads/absent.txt", [text.encode()])


def _signers(note: str) -> list[str]:
    return [str(key) for key in notes.verify(note, keys=signing.trusted())[1]]


def _safe(run_id: str) -> str:
    """A run's id as a part of a file's name."""
    return quote(run_id, safe="-_~.").replace("%", "_").replace("~", "_")[:80]
