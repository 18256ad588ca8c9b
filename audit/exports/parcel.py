"""One record with its proof as a small ZIP, to be sent by mail and checked by anyone."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING, NamedTuple

from audit.evidence import notes, signing

if TYPE_CHECKING:
    from audit.exports.proofs import Proven

_EPOCH = (1980, 1, 1, 0, 0, 0)
_UNIX = 3
_PLAIN_FILE = 0o100644 << 16

_README = """\
One record of a pipeline run, with the proof that it was sealed (landscape-export/1)

Record:   {name}, a {record_type}
Place:    leaf {index} of {size}, counted from 0, sealed in epoch {epoch}
Tree:     {origin}
Root:     {root}
Signed by {authority}

Before all: get the public key and verify.py from where {authority} publishes them, not from
whoever sent you this. It is said to be signed by

    # {keys}

HOW TO VERIFY

With Python 3.9 or later and nothing else (KEY is a file with the key, or the key itself):

    python3 verify.py {name} --key "$KEY"

HOW TO VERIFY WITHOUT OUR PROGRAMS

With openssl 3, sed and base64, in this folder. PEM is the public key as a PEM file. The root is
signed:

    work=$(mktemp -d)
    sed '1,/^$/d' {name}.tlog-proof > "$work/checkpoint"
    sed -n '1,3p' "$work/checkpoint" > "$work/note"
    sed -n 3p "$work/checkpoint" > "$work/root"
    sed -n '5s/.* //p' "$work/checkpoint" | base64 -d | tail -c 64 > "$work/note.sig"
    openssl pkeyutl -verify -pubin -inkey "$PEM" -rawin -in "$work/note" -sigfile "$work/note.sig"

The record leads to this root, by RFC 9162, section 2.1.3.2:

    index=$(sed -n '2s/index //p' {name}.tlog-proof)
    last=$(($(sed -n 2p "$work/note") - 1))
    (printf '\\000'; cat {name}) | openssl dgst -sha256 -binary > "$work/hash"
    for beside in $(sed -n '3,/^$/p' {name}.tlog-proof); do
      printf %s "$beside" | base64 -d > "$work/beside"
      set -- "$work/hash" "$work/beside"
      if [ $((index % 2)) = 1 ] || [ "$index" = "$last" ]; then
        set -- "$work/beside" "$work/hash"
        while [ "$index" != 0 ] && [ $((index % 2)) = 0 ]; do
          index=$((index / 2)) last=$((last / 2))
        done
      fi
      (printf '\\001'; cat "$@") | openssl dgst -sha256 -binary > "$work/above"
      mv "$work/above" "$work/hash"
      index=$((index / 2)) last=$((last / 2))
    done
    base64 < "$work/hash" | cmp - "$work/root" && echo "The record leads to the signed root"

WHAT THIS DOES NOT PROVE

That what the pipeline recorded is true, or that it recorded everything. That nothing was changed
before the run was sealed. That no later epoch has this record otherwise.
"""


class Parcel(NamedTuple):
    """A file to take home."""

    name: str
    content: bytes


def parcel(proven: Proven) -> Parcel:
    """The line, its proof and a README in one folder; names are made here, never taken."""
    top = f"landscape_{proven.record_type}_{proven.proof.index}_{proven.checkpoint.root.hex()[:8]}"
    name = f"{proven.record_type}_{proven.proof.index}.json"
    files = {
        name: proven.line,
        f"{name}.tlog-proof": proven.proof.text.encode(),
        "README.txt": _readme(proven, name).encode(),
    }
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as file:
        for each, content in files.items():
            info = zipfile.ZipInfo(f"{top}/{each}", _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system, info.external_attr = _UNIX, _PLAIN_FILE
            file.writestr(info, content)
    return Parcel(f"{top}.zip", made.getvalue())


def _readme(proven: Proven, name: str) -> str:
    signers = notes.verify(proven.proof.note, keys=signing.trusted())[1]
    return _README.format(
        name=name,
        record_type=proven.record_type,
        index=proven.proof.index,
        size=proven.checkpoint.size,
        epoch=proven.epoch,
        origin=proven.checkpoint.origin,
        root=proven.checkpoint.root.hex(),
        authority=proven.authority,
        keys="\n    # ".join(str(key) for key in signers),
    )
