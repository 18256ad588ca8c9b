"""The texts of a bag: manifests, bag-info, and the README with commands that were tried."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from audit.exports.verify import BAGIT, FORMAT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from audit.exports.archive import Kept

__all__ = ["BAGIT", "VERSION", "Told", "bag_info", "manifest", "readme"]

VERSION = "0.1.0"

_README = """\
{title}

Run:      {run_id}
Tree:     {origin}
Epoch:    {epoch}, {size} records
Root:     {root}
Signed by {authority}

data/records/   the records, one JSON object a line, 65,536 lines a file
data/schema.json   their columns; data/csv/ and data/payloads/ are there if they were asked for
tlog/           the signed root, and the hashes of the tree that leads to it
manifest-sha256.txt, tagmanifest-sha256.txt   the hash of every file
attestation.dsse.json   signed: which manifests, of which root, were exported when

Before all: get the public key and verify.py from where {authority} publishes them, not from
here. Whoever forges an export forges the verify.py and the key in it as well. This export is
said to be signed by

    # {keys}

HOW TO VERIFY

With Python 3.9 or later and nothing else (KEY is a file with the key, or the key itself):

    python3 verify.py . --key "$KEY"

HOW TO VERIFY WITHOUT OUR PROGRAMS

With sha256sum, openssl 3 and sed, in this folder. PEM is the public key as a PEM file. Every
file is what the manifests say:

    sha256sum --quiet --strict --check manifest-sha256.txt
    sha256sum --quiet --strict --check tagmanifest-sha256.txt

The root is signed:

    work=$(mktemp -d)
    sed -n '1,3p' tlog/checkpoint > "$work/note"
    sed -n '5s/.* //p' tlog/checkpoint | base64 -d | tail -c 64 > "$work/note.sig"
    openssl pkeyutl -verify -pubin -inkey "$PEM" -rawin -in "$work/note" -sigfile "$work/note.sig"

The manifests are signed (the two hashes printed last are those in the statement):

    sed 's/.*"payload":"\\([^"]*\\)".*/\\1/' attestation.dsse.json | base64 -d > "$work/statement"
    printf 'DSSEv1 28 application/vnd.in-toto+json %s ' "$(wc -c < "$work/statement" | tr -d ' ')" > "$work/pae"
    cat "$work/statement" >> "$work/pae"
    sed 's/.*"sig":"\\([^"]*\\)".*/\\1/' attestation.dsse.json | base64 -d > "$work/pae.sig"
    openssl pkeyutl -verify -pubin -inkey "$PEM" -rawin -in "$work/pae" -sigfile "$work/pae.sig"
    sha256sum manifest-sha256.txt tagmanifest-sha256.txt | cut -c1-64 | while read -r hash; do grep -q "$hash" "$work/statement" && echo "$hash"; done

That the records lead to the root is RFC 9162, section 2.1.1, over the lines without their ends:
verify.py does it, and so does any implementation of Certificate Transparency.

SPREADSHEETS

Open data/csv/ as UTF-8 with comma as separator. A text that could be taken for a formula begins
with one apostrophe more than it has.

WHAT THIS DOES NOT PROVE

That what the pipeline recorded is true, or that it recorded everything. That nothing was changed
before the run was sealed. That no other seal was shown to somebody else: compare with an earlier
export, a witness or a time stamp.
"""
_TITLE = "Records of a pipeline run, sealed and signed (landscape-export/1)"
_PROVISIONAL = (
    "PROVISIONAL records of a pipeline run THAT WAS STILL GOING (landscape-export/1)\n\n"
    "This is what was recorded at one moment. It is not the run's seal: there will be more\n"
    "records, and open ones will change."
)


@dataclass(frozen=True)
class Told:
    """What the texts say of a bag."""

    origin: str
    run_id: str
    epoch: int
    size: int
    root: str
    authority: str
    keys: list[str]
    provisional: bool
    oxum: str
    date: str


def manifest(files: Mapping[str, Kept]) -> bytes:
    """Hash and name of each file, in the order of their bytes."""
    return "".join(f"{files[name].sha256}  {name}\n" for name in sorted(files)).encode()


def bag_info(told: Told) -> bytes:
    """What the bag is, for any BagIt tool."""
    lines = {
        "Source-Organization": told.authority,
        "External-Identifier": told.origin,
        "External-Description": (
            "PROVISIONAL: the run was still going" if told.provisional else "A sealed run"
        ),
        "Bagging-Date": told.date,
        "Payload-Oxum": told.oxum,
        "Bag-Software-Agent": f"Landscape {VERSION}, {FORMAT}",
    }
    return "".join(f"{name}: {value}\n" for name, value in lines.items()).encode()


def readme(told: Told) -> bytes:
    """What is here and how to check it, with and without our programs."""
    return _README.format(
        title=_PROVISIONAL if told.provisional else _TITLE,
        run_id=told.run_id.encode("unicode_escape").decode(),
        origin=told.origin,
        epoch=told.epoch,
        size=f"{told.size:,}",
        root=told.root,
        authority=told.authority,
        keys="\n    # ".join(told.keys),
    ).encode()
