"""What somebody can do to a bag: with no key, with a key of their own, and with the true one."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import rfc8785
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.evidence import merkle, notes

NAME = "audit.example.com/landscape"
SEED = bytes(range(32))
TRUE = Ed25519PrivateKey.from_private_bytes(SEED)
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
DATA = "data/records/000000.jsonl"


def vkey(private=TRUE, name=NAME):
    return notes.VerifierKey(name, private.public_key().public_bytes_raw())


def pem(private):
    return (
        private.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def lines(bag, path=DATA):
    return (bag / path).read_bytes().splitlines(keepends=True)


def write_lines(bag, content, path=DATA):
    (bag / path).write_bytes(b"".join(content))


def rebuild_manifests(bag):
    """Without any key."""
    files = {str(path.relative_to(bag)): path for path in sorted(bag.rglob("*")) if path.is_file()}
    exempt = {"tagmanifest-sha256.txt", "attestation.dsse.json"}
    data = {name: path for name, path in files.items() if name.startswith("data/")}
    size = sum(path.stat().st_size for path in data.values())
    info = bag / "bag-info.txt"
    text = [
        f"Payload-Oxum: {size}.{len(data)}" if line.startswith("Payload-Oxum") else line
        for line in info.read_text().split("\n")
    ]
    info.write_text("\n".join(text))
    write_manifest(bag / "manifest-sha256.txt", data)
    tags = {n: path for n, path in files.items() if n not in data and n not in exempt}
    write_manifest(bag / "tagmanifest-sha256.txt", tags)


def write_manifest(target: Path, files):
    target.write_text(
        "".join(
            f"{hashlib.sha256(files[name].read_bytes()).hexdigest()}  {name}\n"
            for name in sorted(files)
        )
    )


def statement(bag):
    envelope = json.loads((bag / "attestation.dsse.json").read_bytes())
    return json.loads(base64.b64decode(envelope["payload"]))


def attest(bag, private=TRUE, change=lambda _statement: None):
    """Sign the manifests as they are now."""
    told = statement(bag)
    for subject in told["subject"]:
        content = (bag / subject["name"]).read_bytes()
        subject["digest"]["sha256"] = hashlib.sha256(content).hexdigest()
    text = (bag / "tlog" / "checkpoint").read_text().rpartition("\n\n")[0] + "\n"
    checkpoint = notes.parse_checkpoint(text)
    about = told["predicate"]["buildDefinition"]["resolvedDependencies"][0]
    about["name"], about["digest"]["sha256"] = checkpoint.origin, checkpoint.root.hex()
    about["annotations"]["tree_size"] = checkpoint.size
    change(told)
    kind = "application/vnd.in-toto+json"
    (bag / "attestation.dsse.json").write_bytes(envelope(rfc8785.dumps(told), kind, private))


def envelope(body, kind, private=TRUE):
    """A DSSE envelope."""
    message = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(body), body)
    der = private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    told = {
        "payload": base64.b64encode(body).decode(),
        "payloadType": kind,
        "signatures": [
            {
                "keyid": hashlib.sha256(der).hexdigest(),
                "sig": base64.b64encode(private.sign(message)).decode(),
            }
        ],
    }
    return rfc8785.dumps(told)


def reseal(bag, private=TRUE, name=NAME, origin=None):
    """A new tree over the records as they are now, signed; with the true key, a lying producer."""
    levels: dict[int, bytearray] = {}
    tree = merkle.Tree(sink=lambda level, root: levels.setdefault(level, bytearray()).extend(root))
    for path in sorted((bag / "data" / "records").iterdir()):
        tree.extend([merkle.leaf_hash(line) for line in path.read_bytes().split(b"\n")[:-1]])
    for level, hashes in levels.items():
        (bag / "tlog" / f"{level}.hashes").write_bytes(hashes)
    note = (bag / "tlog" / "checkpoint").read_text()
    checkpoint = notes.Checkpoint(origin or note.split("\n")[0], tree.size, tree.root())
    key = vkey(private, name)
    (bag / "tlog" / "checkpoint").write_text(
        notes.sign(checkpoint.text, key=key, signer=private.sign)
    )
    # The proof in the log of seals is about the old root.
    (bag / "tlog" / "seal.tlog-proof").unlink(missing_ok=True)
    rebuild_manifests(bag)
    attest(bag, private)
