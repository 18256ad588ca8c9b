#!/usr/bin/env python3
"""Verify a Landscape export, or one record with its proof, without Landscape.

    python3 verify.py BAG --key KEY [--strict] [--previous CHECKPOINT] [--json]

BAG is an export as a folder or ZIP file, or a record `NAME.json` beside its
`NAME.json.tlog-proof`. KEY is what you trust, from anywhere but the export itself: a verifier key
(`name+id+key`), or a file with verifier keys or a PEM public key. Needs Python 3.9 and nothing
else. The copy inside an export proves nothing: whoever forges the export forges the copy. Fetch
this file, and the key, from where they are published.

Exit status: 0 verified, 1 failed, 2 cannot tell, 3 verified with findings, 64 wrong usage.
The format is `landscape-export/1` (docs/export-format.md).
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import json
import operator
import os
import re
import stat
import struct
import sys
import threading
import zipfile
import zlib
from queue import SimpleQueue
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

FORMAT = "landscape-export/1"
BUILD_TYPE = "https://landscape.dev/landscape-export/v1"
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
CERTIFICATE = "landscape-purge-certificate/1"
CERTIFICATE_TYPE = "application/vnd.landscape.purge-certificate+json"
BAGIT = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
VERIFIED, FAILED, CANNOT_TELL, WITH_FINDINGS, USAGE = 0, 1, 2, 3, 64
VERDICTS = ("VERIFIED", "FAILED", "CANNOT TELL", "VERIFIED WITH FINDINGS")
NOT_PROVEN = (
    "that what the pipeline recorded is true, or that it recorded everything",
    "that nothing was changed before the run was sealed",
    (
        "when the seal was made, and that no other was shown to somebody else: compare with an "
        "earlier export, a witness or a time stamp"
    ),
)

WIDTH, HASH, SEGMENT = 256, 32, 65_536
_CHUNK, _MAX_LINE, _MAX_MEAN, _MAX_SMALL, _MAX_TOLD = 1 << 18, 16 << 20, 1 << 16, 1 << 20, 20
_LARGE, _AHEAD, _PATIENCE = 1 << 22, 3, 0.0001  # bytes, pieces, seconds
_PATH = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*")
_MANIFEST_LINE = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9._/-]+)\n")
_REF = re.compile(rb'_ref":"([0-9a-f]{64})"')
_PURGED = re.compile(rb'"payload_sha256":"([0-9a-f]{64})"')
_DIGITS = re.compile(rb"-?[0-9]{1,20}")
_FIELD = re.compile(r'(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\Z)')
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")
_GUARDED = re.compile("[=+\\-@\t\r\n'\uff1d\uff0b\uff0d\uff20]")
_sha256 = hashlib.sha256
_leaf, _node = _sha256(b"\x00").copy, _sha256(b"\x01").copy  # a copy costs less than a new one


class Failed(Exception):
    """It is malformed or was tampered with; what follows cannot be looked at."""


class Unsure(Exception):
    """Nothing can be said: no trusted key, another version, not an export."""


# -- Ed25519, RFC 8032 --

_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, _P - 2, _P) % _P
_ROOT = pow(2, (_P - 1) // 4, _P)
_Point = tuple[int, int, int, int]  # x, y, z, t in extended coordinates


def _add(a: _Point, b: _Point) -> _Point:
    e, f = (a[1] - a[0]) * (b[1] - b[0]) % _P, (a[1] + a[0]) * (b[1] + b[0]) % _P
    g, h = 2 * a[3] * b[3] * _D % _P, 2 * a[2] * b[2] % _P
    e, f, g, h = f - e, h - g, h + g, f + e
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _times(number: int, point: _Point) -> _Point:
    found: _Point = (0, 1, 1, 0)
    while number:
        if number & 1:
            found = _add(found, point)
        point = _add(point, point)
        number >>= 1
    return found


def _point(encoded: bytes) -> _Point | None:
    y = int.from_bytes(encoded, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    square = (y * y - 1) * pow(_D * y * y + 1, _P - 2, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _ROOT % _P
    if y >= _P or (x * x - square) % _P or (not x and sign):
        return None
    x = _P - x if x & 1 != sign else x
    return x, y, 1, x * y % _P


_BASE = _point((4 * pow(5, _P - 2, _P) % _P).to_bytes(32, "little")) or (0, 1, 1, 0)


def ed25519_verifies(*, public: bytes, signature: bytes, message: bytes) -> bool:
    """Whether the key made this signature over the message."""
    key = _point(public) if len(public) == HASH and len(signature) == 2 * HASH else None
    number = int.from_bytes(signature[HASH:], "little")
    if key is None or number >= _L:
        return False
    digest = hashlib.sha512(signature[:HASH] + public + message).digest()
    minus = (_P - key[0], key[1], key[2], _P - key[3])
    x, y, z, _ = _add(_times(number, _BASE), _times(int.from_bytes(digest, "little") % _L, minus))
    inverse = pow(z, _P - 2, _P)
    found = (y * inverse % _P) | ((x * inverse % _P & 1) << 255)
    return found.to_bytes(HASH, "little") == signature[:HASH]


# -- The tree, RFC 9162 --


def block_root(hashes: Sequence[bytes]) -> bytes:
    """The root over hashes of which only the last may stand for less than the others."""
    row = list(hashes)
    while len(row) > 1:
        each = iter(row)
        odd, row = row[-1:] if len(row) % 2 else [], []
        for left, right in zip(each, each):
            node = _node()
            node.update(left)
            node.update(right)
            row.append(node.digest())
        row += odd
    return row[0]


def leaf_hashes(lines: Sequence[bytes]) -> list[bytes]:
    """The leaf hash of each line."""
    found = []
    for line in lines:
        leaf = _leaf()
        leaf.update(line)
        found.append(leaf.digest())
    return found


class Tree:
    """A tree that grows; the root of each complete block of 256^k leaves is told with its k."""

    def __init__(self, completed: Callable[[int, bytes], None]) -> None:
        self.size = 0
        self._rows: list[list[bytes]] = [[]]
        self._completed = completed

    @property
    def room(self) -> int:
        """How many leaves the block has room for."""
        return WIDTH - len(self._rows[0])

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Take at most as many leaf hashes as there is room for."""
        self.size += len(leaves)
        self._rows[0].extend(leaves)
        level = 0
        while len(self._rows[level]) == WIDTH:
            root = block_root(self._rows[level])
            self._rows[level].clear()
            level += 1
            if len(self._rows) == level:
                self._rows.append([])
            self._rows[level].append(root)
            self._completed(level, root)

    def root(self, more: Sequence[bytes] = ()) -> bytes:
        """The root over all leaves so far, and over some more that fit into the block."""
        found: list[bytes] = list(more)
        for row in self._rows:
            found = [block_root(row + found)] if row or found else []
        return found[0] if found else b""


def root_of_proof(*, leaf: bytes, index: int, size: int, hashes: Sequence[bytes]) -> bytes:
    """The root that a proof of inclusion leads to; empty if it has not the shape of one."""
    node, last, found = index, size - 1, leaf
    for other in hashes:
        if not last:
            return b""
        if node & 1 or node == last:
            found = _sha256(b"\x01" + other + found).digest()
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            found = _sha256(b"\x01" + found + other).digest()
        node, last = node >> 1, last >> 1
    return b"" if last or not 0 <= index < size else found


# -- Keys and notes, c2sp.org --


class Key:
    """A trusted Ed25519 key; one from a PEM file goes by whatever name it signs with."""

    def __init__(self, public: bytes, name: str | None, source: str) -> None:
        self.public, self.name, self.source = public, name, source
        der = bytes.fromhex("302a300506032b6570032100") + public
        self.fingerprint = _sha256(der).hexdigest()

    def key_id(self, name: str) -> bytes:
        """The id under a name."""
        return _sha256(name.encode() + b"\n\x01" + self.public).digest()[:4]


def read_keys(given: str, bag: str) -> list[Key]:
    """The keys that an argument names: itself, or in a file outside of the bag."""
    text, source = given, "given as text"
    if os.path.exists(given):
        inside = os.path.join(os.path.realpath(bag), "")
        if os.path.realpath(given).startswith(inside):
            raise Unsure("a key that comes with the export is never trusted: " + given)
        with open(given, encoding="utf-8", errors="replace") as file:
            text, source = file.read(_MAX_SMALL), "read from " + given
    keys = []
    for body in re.findall("-----BEGIN PUBLIC KEY-----(.*?)-----END", text, re.DOTALL):
        der = _base64("".join(body.split()))
        if der[:-HASH] == bytes.fromhex("302a300506032b6570032100"):
            keys.append(Key(der[-HASH:], None, source))
    for name, told, encoded in re.findall(r"([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)", text):
        material = _base64(encoded)
        key = Key(material[1:], name, source)
        if material[:1] == b"\x01" and len(material) == 1 + HASH and key.key_id(name).hex() == told:
            keys.append(key)
    if not keys:
        raise Unsure("there is no Ed25519 key in " + given)
    return keys


def open_note(content: bytes, keys: Sequence[Key], what: str) -> tuple[str, str, Key]:
    """Text, name and key of a note that a trusted key has signed."""
    text, blank, below = _text(content, what).rpartition("\n\n")
    if not blank or not below.endswith("\n"):
        raise Failed(what + " is not a signed note")
    text, names, good = text + "\n", [], None
    for line in below[:-1].split("\n"):
        dash, _, rest = line.partition(" ")
        name, _, encoded = rest.partition(" ")
        material = _base64(encoded)
        if dash != "\u2014" or not name or len(material) <= 4:  # noqa: PLR2004  # the key's id
            raise Failed(what + " has a malformed signature line")
        names.append(name + "+" + material[:4].hex())
        for key in keys:
            if key.name not in {None, name} or key.key_id(name) != material[:4]:
                continue
            signature = material[4:]
            if not ed25519_verifies(public=key.public, signature=signature, message=text.encode()):
                raise Failed(what + ": the signature of " + name + " is wrong")
            good = good or (text, name, key)
    if good is None:
        raise Unsure(what + " is signed by no key that you trust, but by " + ", ".join(names))
    return good


def checkpoint(text: str, what: str) -> tuple[str, int, bytes]:
    """Origin, size and root."""
    lines = text.split("\n")
    if len(lines) != 4 or lines[3] or not re.fullmatch("[1-9][0-9]{0,18}", lines[1]):  # noqa: PLR2004
        raise Failed(what + " is not a checkpoint of origin, size and root")
    root = _base64(lines[2])
    if len(root) != HASH:
        raise Failed(what + " has a root that is no SHA-256")
    return lines[0], int(lines[1]), root


def open_proof(content: bytes, keys: Sequence[Key], leaf: bytes, what: str) -> dict[str, Any]:
    """Check a .tlog-proof for a leaf; say where the leaf is, of what, and who signed it."""
    head, _, note = content.partition(b"\n\n")
    lines = _text(head, what).split("\n")
    if lines[0] != "c2sp.org/tlog-proof@v1":
        raise Failed(what + " is not a proof")
    lines = [line for line in lines[1:] if not line.startswith("extra ")]
    index = re.fullmatch("index (0|[1-9][0-9]{0,18})", lines[0] if lines else "")
    text, name, key = open_note(note, keys, what)
    origin, size, root = checkpoint(text, what)
    hashes = [_base64(line) for line in lines[1:]]
    if index is None or root != root_of_proof(
        leaf=_sha256(b"\x00" + leaf).digest(), index=int(index[1]), size=size, hashes=hashes
    ):
        raise Failed(what + " does not lead from the record to the signed root")
    return {"index": int(index[1]), "origin": origin, "size": size, "name": name, "key": key}


def _base64(text: str) -> bytes:
    try:
        content = base64.b64decode(text, validate=True)
    except ValueError:
        return b""
    return content if base64.b64encode(content).decode() == text else b""


def _text(content: bytes, what: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise Failed(what + " is not UTF-8") from None


# -- The container


class Folder:
    """A bag as a folder; links and anything else that is no file are refused."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.sizes: dict[str, int] = {}
        for folder, folders, files in os.walk(path):
            for each in [os.path.join(folder, name) for name in folders + files]:
                told, name = os.lstat(each), os.path.relpath(each, path).replace(os.sep, "/")
                if stat.S_ISREG(told.st_mode):
                    self.sizes[name] = told.st_size
                elif not stat.S_ISDIR(told.st_mode):
                    raise Failed(name + " is a link or no ordinary file")

    def open(self, name: str) -> IO[bytes]:
        """The file of this name."""
        return open(os.path.join(self._path, *name.split("/")), "rb")


class Archive:
    """A bag as a ZIP file, which is read but never unpacked to disk."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        try:
            self._zip = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, ValueError, OverflowError, struct.error) as error:
            raise Failed("the ZIP file is malformed: " + str(error)) from error
        self._entries: dict[str, zipfile.ZipInfo] = {}
        self.sizes: dict[str, int] = {}
        end, slack, tops = 0, 0, set()
        for entry in sorted(self._zip.infolist(), key=lambda each: each.header_offset):
            top, slash, name = entry.filename.partition("/")
            if not 0 <= entry.header_offset - end <= slack:
                raise Failed("the ZIP file has overlapping or hidden parts at " + repr(name))
            end = self._end_of(entry)
            # Sizes may follow the content, in up to 24 bytes.
            slack = 24 if entry.flag_bits & 8 else 0
            tops.add(top)
            if slash and (not name or name.endswith("/")) and not entry.file_size:
                continue  # a folder
            if not slash or name in self.sizes:
                raise Failed(
                    "the ZIP file has two files of one name, or one beside the bag: " + name
                )
            self._entries[name], self.sizes[name] = entry, entry.file_size
        file.seek(-22, os.SEEK_END)
        tail = file.read()
        if tail[:4] != b"PK\x05\x06" or tail[20:] != b"\0\0":
            raise Failed("the ZIP file has something behind its end")
        if len(tops) != 1 or not 0 <= self._zip.start_dir - end <= slack:
            raise Failed("the ZIP file holds more than one folder of files")

    def _end_of(self, entry: zipfile.ZipInfo) -> int:
        """Where an entry's content ends; its local header must say what the directory says."""
        self._file.seek(entry.header_offset)
        head = self._file.read(30)
        if len(head) < 30 or head[:4] != b"PK\x03\x04":  # noqa: PLR2004  # a local header
            raise Failed("the ZIP file is malformed at " + repr(entry.filename))
        flags, method, crc, packed, size, name, extra = struct.unpack("<6xHH4xIIIHH", head)
        told, more = self._file.read(name), self._file.read(extra)
        if more[:4] == b"\x01\x00\x10\x00":  # ZIP64
            size, packed = struct.unpack("<QQ", more[4:20])
        sizes = (entry.CRC, entry.compress_size, entry.file_size)
        if (
            told != entry.filename.encode()
            or flags & ~(0x0800 | 8 | 6)  # UTF-8 names, sizes that follow, how well it is packed
            or (flags, method) != (entry.flag_bits, entry.compress_type)
            or method not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
            or (not flags & 8 and (crc, packed, size) != sizes)
            or stat.S_ISLNK(entry.external_attr >> 16)
        ):
            raise Failed("the ZIP file contradicts itself or holds a link: " + entry.filename)
        return int(entry.header_offset + 30 + name + extra + entry.compress_size)

    def open(self, name: str) -> IO[bytes]:
        """The file of this name, unpacked while it is read, never beyond its stated size."""
        return self._zip.open(self._entries[name])


# -- Records


class Type:
    """A record type as schema.json has it."""

    def __init__(self, told: Any) -> None:
        self.name: str = told["name"]
        self.columns: dict[str, str] = dict(told["columns"])
        self.in_line = sorted([*self.columns, "record_type"])
        self.key = [
            (b'"' + name.encode() + b'":', self.columns[name] in {"integer", "int64"}, name)
            for name in told["key"]
        ]
        self.mark = b'"record_type":' + _quoted(self.name).encode()

    def last_key(self, lines: list[bytes], run: bytes, last: tuple[Any, ...]) -> Any:
        """The last line's key where all are in order at first sight; else each is looked at."""
        if not _all_have(lines, self.mark, run):
            return None
        try:
            keys = list(zip(*[_plain_values(lines, mark, number) for mark, number, _ in self.key]))
        except ValueError:
            return None
        good = keys and keys[0] > last and all(map(operator.lt, keys, keys[1:]))
        return keys[-1] if good else None

    def key_of(self, line: bytes) -> tuple[Any, ...]:
        """What orders a record; only a name has an unescaped quote before it and a colon after."""
        found: list[Any] = []
        for mark, number, name in self.key:
            start = line.index(mark) + len(mark)
            if line[start] == 34:  # noqa: PLR2004  # a quote
                start += 1
                value = line[start : line.index(b'"', start)]
                if b"\\" in value:
                    value = json.loads(line)[name].encode()
            elif number and (digits := _DIGITS.match(line, start)):
                value = digits[0]
            else:
                raise ValueError(name)
            found.append(int(value) if number else value)
        return tuple(found)

    def line_of(self, row: str) -> bytes:
        """The JSON line that a CSV row stands for."""
        values: dict[str, str] = {"record_type": _quoted(self.name)}
        end, names = 0, list(self.columns)
        for name in names:
            field = _FIELD.match(row, end)
            if field is None:
                raise ValueError(row)
            end = field.end()
            text, bare, comma = field.groups()
            if bool(comma) != (name != names[-1]):
                raise ValueError(row)
            if text is not None:
                plain = text.replace('""', '"')[text[:1] == "'" :]
                if bool(_GUARDED.match(plain)) != (text[:1] == "'"):
                    raise ValueError(row)
                values[name] = _quoted(plain)
            elif self.columns[name] == "int64" or bare in {"NaN", "Infinity", "-Infinity"}:
                values[name] = '"' + bare + '"' if bare else "null"
            else:
                values[name] = bare or "null"
        return ("{" + ",".join(_quoted(n) + ":" + values[n] for n in self.in_line) + "}").encode()

    def problem(self, line: bytes) -> str:
        """What makes a line other than the canonical form of a record of this type; or nothing."""
        record = json.loads(line)
        if not isinstance(record, dict) or sorted(record) != self.in_line:
            return "has other columns than the schema"
        for name, kind in self.columns.items():
            if record[name] is not None and not _fits(record[name], kind):
                return name + " is no " + kind
        told = ",".join(_quoted(name) + ":" + _canonical(record[name]) for name in self.in_line)
        return "" if ("{" + told + "}").encode() == line else "is not in canonical form"


def _all_have(lines: list[bytes], one: bytes, two: bytes) -> bool:
    """Whether both are somewhere in each line; most have them as far from the end as the first."""
    first = lines[0]
    one_start, two_start = first.find(one) - len(first), first.find(two) - len(first)
    one_end, two_end = one_start + len(one), two_start + len(two)
    for line in lines:
        if line[one_start:one_end] != one and one not in line:
            return False
        if line[two_start:two_end] != two and two not in line:
            return False
    return True


def _plain_values(lines: list[bytes], mark: bytes, number: bool) -> list[Any]:  # noqa: FBT001
    """What `key_of` finds behind a name in each line, where none is escaped."""
    values: list[Any] = []
    for line in lines:
        bare, value, _rest = line.partition(mark)[2].split(b'"', 2)
        if bare:
            digits = _DIGITS.match(bare)
            if not number or not digits:
                raise ValueError(line)
            value = digits[0]
        values.append(value)
    if number:
        return [int(value) for value in values]
    if b"\\" in b"".join(values):
        raise ValueError(mark)
    return values


def read_types(schema: bytes) -> list[Type]:
    """The record types of a schema, in leaf order."""
    try:
        types = [Type(each) for each in json.loads(schema)["types"]]
        known = len({each.name for each in types}) == len(types) and types[0].name == "seal"
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        known = False
    if not known:
        raise Failed("data/schema.json is malformed")
    return types


def _fits(value: object, kind: str) -> bool:
    if kind == "boolean":
        return isinstance(value, bool)
    if kind == "integer":
        return type(value) is int and -(2**31) <= value < 2**31
    if kind == "double" and type(value) in {int, float}:
        return True
    if not isinstance(value, str):
        return False
    shapes = {"timestamp": _TIME.pattern, "hash": "[0-9a-f]{64}", "int64": "0|-?[1-9][0-9]{0,18}"}
    shapes["double"] = "NaN|-?Infinity"
    return kind not in shapes or bool(re.fullmatch(shapes[kind], value))


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _canonical(value: Any) -> str:
    """As RFC 8785 writes a value that is no list and no object; numbers as ECMAScript does."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return json.dumps(value, ensure_ascii=False)
    if not value:
        return "0"
    sign, text = "-" * (value < 0), repr(abs(float(value)))
    mantissa, _, power = text.partition("e")
    whole, _, part = mantissa.partition(".")
    part = "" if part == "0" else part
    digits = (whole + part).lstrip("0")
    point = len(whole) + int(power or 0) - (len(whole + part) - len(digits))
    digits = digits.rstrip("0")
    if len(digits) <= point <= 21:  # noqa: PLR2004  # ECMA-262, Number::toString
        return sign + digits + "0" * (point - len(digits))
    if 0 < point <= 21:  # noqa: PLR2004
        return sign + digits[:point] + "." + digits[point:]
    if -6 < point <= 0:  # noqa: PLR2004
        return sign + "0." + "0" * -point + digits
    more = "." + digits[1:] if len(digits) > 1 else ""
    return sign + digits[0] + more + "e" + "+" * (point > 0) + str(point - 1)


def csv_rows(stream: Iterator[bytes]) -> Iterator[str]:
    """The rows of a CSV file; a row ends at the first CR LF outside of quotes."""
    rest = b""
    for data in stream:
        *parts, rest = (rest + data).split(b"\r\n")
        held = b""
        for part in parts:
            held += part
            if held.count(b'"') % 2:
                held += b"\r\n"
                continue
            yield held.decode("utf-8", "replace")
            held = b""
        rest = held + rest
        if len(rest) > 3 * _MAX_LINE:
            raise Failed("a CSV row is longer than any record")
    if rest:
        raise Failed("a CSV file does not end with CR LF")


class Records:
    """All lines in leaf order: the tree over them, and whether they come as the seals say."""

    def __init__(self, report: Report, types: Sequence[Type], size: int, *, strict: bool) -> None:
        self.report, self.strict = report, strict
        self.types = {each.name: each for each in types}
        self.order = [each.name for each in types]
        self.size, self.schema_hash, self.run_id = size, "", ""
        self.levels: dict[int, bytes] = {}
        self.csv: dict[str, Iterator[str]] = {}
        self.tree = Tree(self._completed)
        self.counts: dict[str, int] = {}
        self.withheld = 0
        self.epoch = 0
        self.roots: dict[int, bytes] = {}  # of the sizes that an earlier checkpoint names
        self.payloads: set[str] | None = None  # what may be referenced; None: not in scope
        self.said_purged: set[str] = set()  # of those that are absent; a record has to say so too
        self.bad_blocks: list[int] = []
        self._done: dict[int, int] = {}
        self._left: list[tuple[str, int]] = []
        self._last: tuple[Any, ...] = ()
        self._seal_schema = ""
        self._confused = False

    def feed(self, lines: list[bytes]) -> None:
        """Take the next lines, without their ends."""
        start = 0
        while start < len(lines):
            part = lines[start : start + self.tree.room]
            # No line that is withheld comes after this, and nearly all others do.
            if min(part) > b'{"%':
                leaves = leaf_hashes(part)
            else:
                leaves = [
                    self._kept(line) if line[:8] == b'{"$leaf"' else leaf_hashes([line])[0]
                    for line in part
                ]
            if not self._confused:
                self._read(part, leaves)
            for at in self.roots:
                if self.tree.size < at <= self.tree.size + len(part):
                    self.roots[at] = self.tree.root(leaves[: at - self.tree.size])
            self.tree.extend(leaves)
            start += len(part)

    def _kept(self, line: bytes) -> bytes:
        leaf = _base64(line[10:-2].decode("ascii", "replace"))
        if len(leaf) != HASH or line != b'{"$leaf":"' + base64.b64encode(leaf) + b'"}':
            raise Failed(self._place(self.tree.size) + " is a malformed withheld line")
        self.withheld += 1
        return leaf

    def _completed(self, level: int, root: bytes) -> None:
        """Compare the root of a complete block with the one in the bag."""
        index = self._done.get(level, 0)
        self._done[level] = index + 1
        if self.levels.get(level, b"")[index * HASH : (index + 1) * HASH] != root:
            if level == 1:
                self.bad_blocks.append(index)
            elif not self.bad_blocks:
                self.report.fail(f"tlog/{level}.hashes: entry {index} is not the root of its block")

    def _read(self, lines: list[bytes], leaves: list[bytes]) -> None:
        """Go through some lines: which type is due, are the keys in order, does the CSV agree."""
        done, first = 0, self.tree.size
        while done < len(lines):
            if not self._left:
                before = self.tree.root(leaves[:done]) if first + done else b""
                self._seal(lines[done], first + done, before)
                done += 1
            elif not self._left[0][1]:
                self._left.pop(0)
                self._last = ()
            else:
                name, left = self._left[0]
                part = lines[done : done + left]
                self._left[0] = (name, left - len(part))
                self._records(self.types[name], part, first + done)
                done += len(part)
            if self._confused:
                return

    def _seal(self, line: bytes, leaf: int, root: bytes) -> None:
        """Read the record that begins an epoch and says what follows."""
        self.epoch += 1
        try:
            seal = json.loads(line)
            counts = json.loads(seal["counts_json"])
            told = (
                seal["record_type"],
                seal["epoch"],
                int(seal["first_leaf"]),
                int(seal["prev_size"]),
            )
            known = all(type(each) is int and each >= 0 for each in counts.values())
            known = known and set(counts) <= set(self.order[1:])
            run, before, schema = seal["run_id"], seal["prev_root"] or "", seal["schema_sha256"]
            provisional = seal["reason"] == "provisional"
        except (ValueError, KeyError, TypeError, AttributeError):
            self._lost(leaf, "is not the seal of an epoch, which is due here")
            return
        if told != ("seal", self.epoch, leaf, leaf) or run != self.run_id:
            self._lost(leaf, f"is not the seal of epoch {self.epoch} of this run")
        elif before != root.hex():
            self._lost(leaf, "names another root than that of the epoch before it")
        elif not known or leaf + 1 + sum(counts.values()) > self.size:
            self._lost(leaf, "counts record types that are unknown, or more records than there are")
        else:
            self._seal_schema = schema
            if provisional:
                self.report.find("PROVISIONAL", "the run was still going: this is not its end")
            self._left = [("seal", 1), *((name, counts.get(name, 0)) for name in self.order[1:])]
            self._last = ()
            self._records(self.types["seal"], [line], leaf)
            self._left[0] = ("seal", 0)

    def _records(self, kind: Type, lines: list[bytes], first: int) -> None:
        self.counts[kind.name] = self.counts.get(kind.name, 0) + len(lines)
        run = b'"run_id":' + _quoted(self.run_id).encode()
        if kind.name not in self.csv and not self.strict:
            last = kind.last_key(lines, run, self._last)
            if last is not None:
                self._last = last
                for index, line in enumerate(lines, first) if self.payloads is not None else ():
                    self._refs(line, index)
                return
        for index, line in enumerate(lines, first):
            if line[:8] == b'{"$leaf"':
                if kind.name in self.csv:
                    self.report.fail(self._place(index) + " is withheld, but there is CSV")
            elif kind.mark not in line or run not in line:
                self._lost(index, f"is no {kind.name} of this run, which is due here")
                return
            else:
                self._record(kind, line, index)

    def _record(self, kind: Type, line: bytes, index: int) -> None:
        """Look at one record: its key, its form, its CSV row and its payloads."""
        try:
            key = kind.key_of(line)
            problem = kind.problem(line) if self.strict else ""
        except (ValueError, KeyError, TypeError, AttributeError):
            key, problem = (), "is not a record"
        if problem or not key > self._last:
            self.report.fail(f"{self._place(index)} {problem or 'is not in order of its key'}")
        self._last = key
        rows = self.csv.get(kind.name)
        if rows is not None and self._row(kind, rows) != line:
            self.report.fail(
                f"data/csv/{kind.name}.csv does not say what {self._place(index)} says"
            )
            del self.csv[kind.name]
        if self.payloads is not None:
            self._refs(line, index)

    def _refs(self, line: bytes, index: int) -> None:
        for ref in _PURGED.findall(line) if self.said_purged else ():
            self.said_purged.discard(ref.decode())
        for ref in _REF.findall(line):
            if ref.decode() not in (self.payloads or ()):
                self.report.fail(
                    f"PAYLOAD_MISSING: {ref.decode()}, to which {self._place(index)} refers"
                )

    def _row(self, kind: Type, rows: Iterator[str]) -> bytes:
        try:
            return kind.line_of(next(rows, ""))
        except ValueError:
            return b""

    def _lost(self, leaf: int, problem: str) -> None:
        self.report.fail(self._place(leaf) + " " + problem)
        self._confused = True

    def _place(self, leaf: int) -> str:
        return f"record {leaf} (data/records/{leaf // SEGMENT:06}.jsonl, line {leaf % SEGMENT + 1})"

    def close(self, root: bytes) -> None:
        """Say what all lines together came to."""
        for block in self.bad_blocks[:_MAX_TOLD]:
            self.report.fail(
                f"records {block * WIDTH} to {block * WIDTH + WIDTH - 1} (block {block}) are not "
                "what was sealed, or tlog/1.hashes is not"
            )
        if self.tree.size != self.size:
            self.report.fail(f"there are {self.tree.size} records, but {self.size} were sealed")
        elif self.tree.root() != root:
            whole = self.size // WIDTH * WIDTH
            self.report.fail(
                "the records do not lead to the signed root"
                + ("" if self.bad_blocks else f": one of {whole} to {self.size - 1} was changed")
            )
        if not self._confused and any(left for _name, left in self._left):
            self.report.fail("the last epoch is not whole")
        if not self._confused and self._seal_schema != self.schema_hash:
            self.report.fail("data/schema.json is not the schema that was sealed")
        for ref in sorted(self.said_purged)[:_MAX_TOLD] if not self._confused else ():
            self.report.fail(f"PAYLOAD_MISSING: {ref} is said to be purged, and no record says so")
        for name, rows in self.csv.items():
            if not self._confused and next(rows, None) is not None:
                self.report.fail(f"data/csv/{name}.csv has more rows than there are records")
        if self.withheld:
            self.report.find("WITHHELD", f"{self.withheld} records are withheld, by their hashes")


class Report:
    """What was found; `told` is what a reader should know about this very export."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.more = 0
        self.findings: dict[str, str] = {}
        self.checks: list[str] = []
        self.told: dict[str, Any] = {}
        self.unsure = ""

    def fail(self, problem: str) -> None:
        """Note a fault; after some, only count."""
        if len(self.problems) < _MAX_TOLD:
            self.problems.append(problem)
        else:
            self.more += 1

    def find(self, code: str, text: str) -> None:
        """Note what is no fault but must be said."""
        self.findings.setdefault(code, text)

    @property
    def status(self) -> int:
        """The exit status."""
        if self.problems:
            return FAILED
        return CANNOT_TELL if self.unsure else WITH_FINDINGS if self.findings else VERIFIED

    def as_json(self) -> dict[str, Any]:
        """The whole, for programs."""
        return {
            "verdict": VERDICTS[self.status],
            "status": self.status,
            "problems": self.problems,
            "more_problems": self.more,
            "cannot_tell": self.unsure or None,
            "findings": self.findings,
            "checks": self.checks,
            "not_proven": list(NOT_PROVEN),
            **self.told,
        }

    def as_text(self) -> str:
        """The whole, for people."""
        lines = [VERDICTS[self.status]]
        lines += ["  FAILED: " + each for each in self.problems]
        lines += [f"  and {self.more} more"] * bool(self.more)
        lines += ["  CANNOT TELL: " + self.unsure] * bool(self.unsure)
        lines += [f"  {code}: {text}" for code, text in self.findings.items()]
        lines += ["  ok: " + each for each in self.checks]
        lines += [f"  {name}: {value}" for name, value in self.told.items()]
        lines += ["Not proven:"] + ["  " + each for each in NOT_PROVEN]
        # The export is hostile: no control characters to anybody's terminal.
        return "\n".join("".join(c if c.isprintable() else "?" for c in each) for each in lines)


# -- A bag


def ahead(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same pieces, and the same failure; a thread makes the next ones meanwhile."""
    made: SimpleQueue[bytes | BaseException | None] = SimpleQueue()
    room, given_up = threading.Semaphore(_AHEAD), threading.Event()

    def make() -> None:
        try:
            for piece in pieces:
                room.acquire()
                if given_up.is_set():
                    return
                made.put(piece)
            made.put(None)
        except BaseException as error:  # noqa: BLE001  # it is raised by whoever takes
            made.put(error)

    thread, patience = threading.Thread(target=make, daemon=True), sys.getswitchinterval()
    try:
        thread.start()
    except RuntimeError:  # here is no other thread to be had
        yield from pieces
        return
    sys.setswitchinterval(_PATIENCE)
    try:
        while (piece := made.get()) is not None:
            if isinstance(piece, BaseException):
                raise piece
            yield piece
            room.release()
    finally:
        given_up.set()
        room.release()
        thread.join()
        sys.setswitchinterval(patience)


class Bag:
    """One bag while it is checked, step by step; each step may end it."""

    def __init__(
        self, path: str, file: IO[bytes] | None, keys: Sequence[Key], report: Report
    ) -> None:
        self.report, self.keys = report, keys
        self.listed: dict[str, str] = {}
        if file is None:
            self.files: Folder | Archive = Folder(path)
        elif zipfile.is_zipfile(file):
            self.files = Archive(file)
        else:
            raise Unsure(path + " is neither a folder nor a ZIP file")
        for name in self.files.sizes:
            if not _PATH.fullmatch(name) or {".", ".."} & set(name.split("/")):
                raise Failed("the export has a file with a forbidden name: " + repr(name))
        schema = re.search(rb'"format":"([^"]{1,100})"', self.small("data/schema.json"))
        told = schema[1].decode("utf-8", "replace") if schema else "nothing"
        if told != FORMAT:
            raise Unsure(f"its format is {told}, and this program knows {FORMAT} only")

    def small(self, name: str, limit: int = _MAX_SMALL) -> bytes:
        """A file that is held in memory."""
        if name not in self.files.sizes:
            raise Failed(name + " is missing")
        if self.files.sizes[name] > limit:
            raise Failed(f"{name} has {self.files.sizes[name]} bytes, more than it can need")
        content = b"".join(self.stream(name))
        if _sha256(content).hexdigest() != self.listed.get(name, _sha256(content).hexdigest()):
            raise Failed(name + " is not what the manifest says")
        return content

    def stream(self, name: str) -> Iterator[bytes]:
        """A file in pieces, no more of it than the container says."""
        left = self.files.sizes[name]
        try:
            with self.files.open(name) as file:
                while chunk := file.read(_CHUNK):
                    left -= len(chunk)
                    if left < 0:
                        raise Failed(name + " is longer than it says")
                    yield chunk
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise Failed(f"{name} cannot be unpacked: {error}") from error
        if left:
            raise Failed(name + " is shorter than it says")

    def hashed(self, name: str, expected: str) -> Iterator[bytes]:
        """The same, and a fault where the manifest has another hash."""
        digest = _sha256()

        def pieces() -> Iterator[bytes]:
            for chunk in self.stream(name):
                digest.update(chunk)
                yield chunk

        # Unpacking and hashing need no Python: for a large file, they go on beside all the rest.
        large = self.files.sizes[name] > _LARGE and name.startswith("data/records/")
        yield from ahead(pieces()) if large else pieces()
        if expected and digest.hexdigest() != expected:
            self.report.fail(name + " is not what the manifest says")

    def check(self, *, previous: str | None, strict: bool) -> None:
        """All steps, in order."""
        text, name, key = open_note(self.small("tlog/checkpoint"), self.keys, "tlog/checkpoint")
        origin, size, root = checkpoint(text, "tlog/checkpoint")
        kind, _, run = origin[len(name) :].lstrip("/").partition("/")
        if not origin.startswith(name + "/") or kind not in {"run", "provisional"} or not run:
            raise Failed(f"{name} signed a tree of another origin: {origin}")
        if kind == "provisional":
            self.report.find("PROVISIONAL", "the run was still going: this is not its end")
        self.report.told.update(
            origin=origin,
            size=size,
            root=root.hex(),
            signed_by=name,
            key=key.fingerprint,
            key_trusted_because=key.source,
        )
        self.report.checks.append("the checkpoint is signed by a key that you trust")
        attested = self._attestation(origin, size, root)
        self.report.checks.append("the attestation is signed and is about this checkpoint")
        try:
            self.listed = self._manifests(attested["subjects"])
            self.report.checks.append("the files are those of the attested manifests")
        except Failed as error:
            # Nothing else counts any more, but which records were changed can still be told.
            self.report.fail(str(error))
            self.listed = {
                path: "" for path in sorted(self.files.sizes) if path[:13] == "data/records/"
            }
            if sum(self.files.sizes[path] for path in self.listed) > size * _MAX_MEAN:
                return
        listed = self.listed
        schema = self.small("data/schema.json")
        records = Records(self.report, read_types(schema), size, strict=strict)
        records.run_id = attested["run_id"] if kind == "provisional" else unquote(run)
        records.schema_hash = _sha256(schema).hexdigest()
        old = self._previous(previous, origin, size, records)
        self._levels(records, size)
        if not self.report.problems:
            self._csv(records, listed)
            self._payloads(records, listed, attested)
        self._files(records, listed)
        records.close(root)
        if old is not None and records.roots[old[0]] != old[1]:
            self.report.fail(f"the first {old[0]} records are not those of the earlier checkpoint")
        if attested["epoch"] != records.epoch and not self.report.problems:
            self.report.fail("the attestation is about another epoch")
        self.report.told["epochs"] = records.epoch
        self.report.told["counts"] = {name: records.counts.get(name, 0) for name in records.order}
        self._anchor(text)
        if not self.report.problems:
            self.report.checks += [
                f"all {size} records lead to the signed root, each type counted and in order",
                *["every line is canonical and fits the schema"] * strict,
                *["the CSV files say what the records say"]
                * any("csv/" in each for each in listed),
                *["the earlier checkpoint is a beginning of this one"] * (old is not None),
            ]

    def _attestation(self, origin: str, size: int, root: bytes) -> dict[str, Any]:
        what = "attestation.dsse.json"
        try:
            envelope = json.loads(self.small(what))
            kind, body = envelope["payloadType"], _base64(envelope["payload"])
            message = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(body), body)
            known = {each.fingerprint: each for each in self.keys}
            signatures = [(known.get(each["keyid"]), each) for each in envelope["signatures"]]
            good = [
                ed25519_verifies(public=by.public, signature=_base64(each["sig"]), message=message)
                for by, each in signatures
                if by
            ]
            if not good:
                raise Unsure(what + " is signed by no key that you trust")
            if kind != PAYLOAD_TYPE or not all(good):
                raise Failed("the signature of " + what + " is wrong")
            statement = json.loads(body)
            predicate = statement["predicate"]
            build = predicate["buildDefinition"]
            given, about = build["externalParameters"], build["resolvedDependencies"][0]
            subjects = {each["name"]: each["digest"]["sha256"] for each in statement["subject"]}
            kinds = (statement["_type"], statement["predicateType"], build["buildType"])
            told = (about["name"], about["digest"]["sha256"], about["annotations"]["tree_size"])
            attested = {"run_id": given["run_id"], "epoch": given["epoch"]}
            attested |= {"include": list(given["include"]), "subjects": subjects}
            finished = predicate["runDetails"]["metadata"]["finishedOn"]
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            raise Failed(what + " is malformed") from None
        if kinds != (STATEMENT, PREDICATE, BUILD_TYPE):
            raise Unsure(what + " is of a kind that this program does not know")
        if told != (origin, root.hex(), size):
            raise Failed(what + " is about another run, epoch or root than the checkpoint")
        if set(subjects) != {"manifest-sha256.txt", "tagmanifest-sha256.txt"}:
            raise Failed(what + " is about other files than the two manifests")
        self.report.told["exported"] = finished
        return attested

    def _manifests(self, subjects: dict[str, str]) -> dict[str, str]:
        listed: dict[str, str] = {}
        for name, attested in sorted(subjects.items()):
            # One line for each file that there is, and no more.
            raw = self.small(name, 4096 + sum(len(each) + 70 for each in self.files.sizes))
            if _sha256(raw).hexdigest() != attested:
                raise Failed(name + " is not the attested one")
            content, end, last = raw.decode("ascii", "replace"), 0, ""
            for match in _MANIFEST_LINE.finditer(content):
                digest, path = match.groups()
                payload = path.startswith("data/")
                if match.start() != end or path <= last or payload != (name[0] == "m"):
                    break
                listed[path], last, end = digest, path, match.end()
            if end != len(content):
                raise Failed(f"{name} is malformed at byte {end}")
        exempt = {"tagmanifest-sha256.txt", "attestation.dsse.json"}
        missing = sorted(set(listed) - set(self.files.sizes))
        unlisted = sorted(set(self.files.sizes) - set(listed) - exempt)
        if missing or unlisted:
            raise Failed(
                "; ".join(
                    [f"{name} is missing" for name in missing[:5]]
                    + [f"{name} is in no manifest" for name in unlisted[:5]]
                )
            )
        self.listed = listed  # from here on, a small file is what the manifest says
        if self.small("bagit.txt") != BAGIT:
            raise Failed("bagit.txt is not that of BagIt 1.0")
        data = [size for name, size in self.files.sizes.items() if name.startswith("data/")]
        oxum = f"Payload-Oxum: {sum(data)}.{len(data)}"
        if oxum not in _text(self.small("bag-info.txt"), "bag-info.txt").split("\n"):
            raise Failed("bag-info.txt does not count the files that there are: " + oxum)
        return listed

    def _previous(
        self, previous: str | None, origin: str, size: int, records: Records
    ) -> tuple[int, bytes] | None:
        if previous is None:
            return None
        with open(previous, "rb") as file:
            text = open_note(file.read(_MAX_SMALL), self.keys, previous)[0]
        old_origin, old_size, old_root = checkpoint(text, previous)
        if old_origin != origin:
            raise Failed(f"{previous} is about another run: {old_origin}")
        if old_size > size:
            raise Failed(f"{previous} is about {old_size} records, and here are {size}")
        records.roots[old_size] = b""
        return old_size, old_root

    def _levels(self, records: Records, size: int) -> None:
        for level in range(1, 8):
            name, length = f"tlog/{level}.hashes", size // WIDTH**level * HASH
            if self.files.sizes.get(name, 0) != length:
                raise Failed(f"{name} has not the length that {size} records give it")
            records.levels[level] = b"".join(self.stream(name)) if length else b""

    def _csv(self, records: Records, listed: dict[str, str]) -> None:
        found = {p[9:-4]: d for p, d in listed.items() if re.fullmatch(r"data/csv/[^/]+\.csv", p)}
        if found and set(found) != set(records.types):
            raise Failed("data/csv does not have one file for each record type")
        for name, digest in found.items():
            kind, rows = records.types[name], csv_rows(self.hashed(f"data/csv/{name}.csv", digest))
            if next(rows, "") != ",".join(kind.columns):
                raise Failed(f"data/csv/{name}.csv has not the header that the schema gives it")
            records.csv[name] = rows

    def _payloads(self, records: Records, listed: dict[str, str], attested: dict[str, Any]) -> None:
        if "payloads" not in attested["include"]:
            self.report.told["payloads"] = "not in this export"
            return
        states: dict[str, int] = {}
        records.payloads = {
            path[17:] for path in listed if re.fullmatch("data/payloads/../[0-9a-f]{64}", path)
        }
        if any(listed[f"data/payloads/{each[:2]}/{each}"] != each for each in records.payloads):
            raise Failed("a payload has another hash than its name")
        absent = "data/payloads/absent.txt"
        if absent not in listed:
            raise Failed(absent + " is missing, though payloads were asked for")
        for _chunk in self.hashed(absent, listed[absent]):
            pass  # proven to be what was attested before it is held in memory
        if self.report.problems:
            return
        for line in b"".join(self.stream(absent)).decode().splitlines():
            ref, _, state = line.partition(" ")
            records.payloads.add(ref)
            if state == "purged":
                records.said_purged.add(ref)
            states[state] = states.get(state, 0) + 1
        for state, count in sorted(states.items()):
            self.report.find(
                state.upper(), f"{count} payloads are {state} and could not be exported"
            )

    def _files(self, records: Records, listed: dict[str, str]) -> None:
        segments = [path for path in listed if path.startswith("data/records/")]
        if segments != [f"data/records/{index:06}.jsonl" for index in range(len(segments))]:
            raise Failed("data/records has files that do not follow each other")
        for path in segments:
            before, rest = records.tree.size, b""
            for chunk in self.hashed(path, listed[path]):
                *lines, rest = (rest + chunk).split(b"\n")
                if len(rest) > _MAX_LINE:
                    raise Failed(path + " has a line that is longer than 16 MiB")
                records.feed(lines)
            if rest:
                raise Failed(path + " does not end with a line end")
            count = records.tree.size - before
            if count != SEGMENT and (path != segments[-1] or not 0 < count < SEGMENT):
                self.report.fail(f"{path} has {count} lines")
        for path, digest in listed.items():
            # Those with CSV were read beside the records, if these came to their end.
            if path not in segments and not (path[9:-4] in records.csv and "data/csv/" in path):
                for _chunk in self.hashed(path, digest):
                    pass

    def _anchor(self, text: str) -> None:
        """The place of this seal in the log of all seals."""
        what = "tlog/seal.tlog-proof"
        if what not in self.files.sizes:
            self.report.find(
                "NO_ANCHOR",
                "time and uniqueness rest on the authority alone: there is no proof "
                "that the seal is in its log of seals",
            )
            return
        found = open_proof(self.small(what), self.keys, text.encode(), what)
        if found["origin"] != found["name"]:
            raise Failed(what + " is about no log of seals")
        self.report.told["seal_log"] = f"entry {found['index']} of {found['size']}"
        self.report.checks.append("the seal is in the signed log of seals")


def check_record(path: str, proof: str, keys: Sequence[Key], report: Report) -> None:
    """Check one record that came with its proof."""
    with open(path, "rb") as file, open(proof, "rb") as other:
        line, content = file.read(_MAX_LINE + 1), other.read(_MAX_SMALL)
    found = open_proof(content, keys, line, proof)
    name, origin = found["name"], found["origin"]
    if not origin.startswith((name + "/run/", name + "/provisional/")):
        raise Failed(f"{name} signed a tree of another origin: {origin}")
    if origin.startswith(name + "/provisional/"):
        report.find("PROVISIONAL", "the run was still going: this is not its end")
    report.told.update(
        origin=origin,
        record=found["index"],
        size=found["size"],
        signed_by=name,
        key=found["key"].fingerprint,
        key_trusted_because=found["key"].source,
    )
    report.checks.append(f"this is record {found['index']} of {found['size']} under a signed root")


# -- A certificate of a purge


def check_certificate(path: str, keys: Sequence[Key], items: str | None, report: Report) -> None:
    """A signed certificate, and where it is given the list of payloads that it is about."""
    try:
        with open(path, "rb") as file:
            told, key = _certified(json.loads(file.read(_MAX_LINE)), keys)
        plan, outcome = told["plan"], told["outcome"]
        counts = {name: each["payloads"] for name, each in outcome["by_status"].items()}
        right = _adds_up(plan, outcome, counts)
        texts = sum(told["not_erasable_inline_texts"].values())
        report.told.update(
            authority=told["authority"],
            plan=plan["number"],
            list_digest=plan["digest"],
            requested_by=plan["requested_by"],
            approved_by=plan["approved_by"],
            deleted=outcome["deleted_payloads"],
            deleted_bytes=outcome["deleted_bytes"],
            key=key.fingerprint,
            key_trusted_because=key.source,
        )
        left = plan["payloads"] - outcome["deleted_payloads"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Failed("the certificate is malformed") from None
    report.checks.append("the certificate is signed by a key that you trust")
    if plan["approved_by"] in {None, plan["requested_by"]}:
        report.fail("nobody but who made the plan has approved it")
    if not right:
        report.fail("the counts of the certificate do not add up")
    if left:
        report.find("LEFT", f"{left} payloads of the list were not deleted")
    if texts:
        report.find("INLINE", f"{texts} texts in the records themselves cannot be erased")
    if items is None:
        report.find("NO_LIST", "the list was not given: its digest was not compared")
    else:
        _check_items(items, plan["digest"], outcome["list_sha256"], counts, report)


def _certified(envelope: dict[str, Any], keys: Sequence[Key]) -> tuple[dict[str, Any], Key]:
    """What an envelope holds, and the trusted key that signed it."""
    kind, body = envelope["payloadType"], _base64(envelope["payload"])
    message = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(body), body)
    known = {each.fingerprint: each for each in keys}
    found = [
        (known[each["keyid"]], each["sig"])
        for each in envelope["signatures"]
        if each["keyid"] in known
    ]
    if not found:
        raise Unsure("the certificate is signed by no key that you trust")
    for key, signature in found:
        if not ed25519_verifies(public=key.public, signature=_base64(signature), message=message):
            raise Failed("the signature of the certificate is wrong")
    told: dict[str, Any] = json.loads(body)
    if kind != CERTIFICATE_TYPE or told["format"] != CERTIFICATE:
        raise Unsure("this is no certificate of a purge that this program knows")
    return told, found[0][0]


def _adds_up(plan: dict[str, Any], outcome: dict[str, Any], counts: dict[str, int]) -> bool:
    sizes = {name: int(each["bytes"]) for name, each in outcome["by_status"].items()}
    gone = [name for name in ("erased", "recorded_again") if name in counts]
    return (
        sum(counts.values()) == plan["payloads"]
        and sum(sizes.values()) == int(plan["bytes"])
        and sum(counts[name] for name in gone) == outcome["deleted_payloads"]
        and sum(sizes[name] for name in gone) == int(outcome["deleted_bytes"])
        and sum(outcome["skipped_for"].values()) == counts.get("skipped", 0)
    )


def _check_items(
    items: str, digest: str, outcome: str, counts: dict[str, int], report: Report
) -> None:
    """The list with what became of each payload, against both hashes and the counts."""
    whole, last = _sha256(), ""
    buckets: list[tuple[str, str]] = []
    found: dict[str, int] = {}
    name, bucket = "", _sha256()
    with open(items, "rb") as file:
        for number, line in enumerate(file, 1):
            whole.update(line)
            parts = _text(line, items).split(" ")
            if not parts[3:] or not parts[0] > last or not line.endswith(b"\n"):
                report.fail(f"line {number} of {items} is malformed or not in order")
                return
            last, status = parts[0], parts[3].strip()
            found[status] = found.get(status, 0) + 1
            if last[:2] != name:
                buckets += [(name, bucket.hexdigest())] * bool(name)
                name, bucket = last[:2], _sha256()
            bucket.update((" ".join(parts[:3]) + "\n").encode())
    buckets += [(name, bucket.hexdigest())] * bool(name)
    told = _sha256("".join(f"{each} {of}\n" for each, of in buckets).encode()).hexdigest()
    if told != digest:
        report.fail("the list is not the one that was approved")
    if whole.hexdigest() != outcome or found != counts:
        report.fail("what became of the list is not what was certified")
    if not report.problems:
        report.checks.append("the list is the one that was approved, with the certified outcome")


def verify(
    path: str,
    *,
    keys: Sequence[str],
    previous: str | None = None,
    strict: bool = False,
    items: str | None = None,
) -> Report:
    """Verify a bag, a record or a certificate of a purge; what came out is in the report."""
    report = Report()
    try:
        if not os.path.exists(path):
            raise Unsure(path + " is not there")
        trusted = [key for given in keys for key in read_keys(given, path)]
        if not trusted:
            raise Unsure("no key was given: --key says whom you trust")
        if os.path.isfile(path) and os.path.isfile(path + ".tlog-proof"):
            check_record(path, path + ".tlog-proof", trusted, report)
        elif items is not None or path.endswith(".certificate.json"):
            check_certificate(path, trusted, items, report)
        else:
            with contextlib.nullcontext() if os.path.isdir(path) else open(path, "rb") as file:
                Bag(path, file, trusted, report).check(previous=previous, strict=strict)
    except Failed as error:
        report.fail(str(error))
    except Unsure as error:
        report.unsure = str(error)
    except RecursionError:
        report.fail("it has JSON that is nested deeper than any export's")
    except OSError as error:
        report.unsure = f"it cannot be read: {error}"
    return report


def main() -> int:
    """Verify what the command line names."""
    parser = argparse.ArgumentParser(description="Verify a Landscape export.")
    parser.error = lambda message: parser.exit(USAGE, f"{parser.format_usage()}{message}\n")  # type: ignore[method-assign]
    parser.add_argument("path", metavar="BAG", help="the export, or a record beside its proof")
    parser.add_argument("--key", action="append", default=[], help="a key that you trust")
    parser.add_argument("--previous", metavar="CHECKPOINT", help="an earlier one of the same run")
    parser.add_argument("--strict", action="store_true", help="also check each line's form")
    parser.add_argument("--list", metavar="FILE", help="the list of a purge certificate")
    parser.add_argument("--json", action="store_true", help="print one report object")
    given = parser.parse_args()
    report = verify(
        given.path, keys=given.key, previous=given.previous, strict=given.strict, items=given.list
    )
    text = json.dumps(report.as_json(), indent=2) if given.json else report.as_text()
    sys.stdout.write(text + "\n")
    return report.status


if __name__ == "__main__":
    sys.exit(main())
