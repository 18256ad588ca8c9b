"""What the page /verify/ says of an export, against verify.py: the same, fault by fault.

All of it in one page, opened from disk and without network, as somebody has it who saved it.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import shutil
import zipfile
import zlib

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import connections
from django.test import Client, override_settings

from audit.evidence import lines as evidence_lines
from audit.evidence import merkle, notes
from audit.evidence.records import RECORD_TYPES
from audit.exports import verify
from tests.exports import forging
from tests.exports.conftest import zip_of
from tests.exports.forging import NAME, OTHER, TRUE
from tests.exports.mutations import MATRIX, link, lying
from tests.exports.test_verify import NOTE, RFC_8032, ROOTS, TYPES, VKEY, WORDS, csv_row_of

pytestmark = pytest.mark.browser

# What a link is in a ZIP file, is told among the archives.
ZIPPED = [each for each in MATRIX if each[0] is not link]
SCRIPTS = """
const key = (text) => landscape.readKeys(text, "given as text");
const file = () => document.querySelector("#given").files[0];
const judged = async (keys, options) => {
  const files = landscape.Archive.open(file(), file().name);
  return (await landscape.verifyBag(files, key(keys), options)).asJson();
};
Object.assign(globalThis, { key, file, judged });
const given = document.createElement("input");
given.type = "file";
given.id = "given";
document.body.append(given);
"""


@pytest.fixture(scope="module")
def saved(chromium, django_db_setup, django_db_blocker, tmp_path_factory):
    """The page as one file on disk."""
    with django_db_blocker.unblock(), override_settings(ALLOWED_HOSTS=["*"]):
        answer = Client().get("/verify/landscape-verify.html")
        connections.close_all()
    path = tmp_path_factory.mktemp("saved") / "landscape-verify.html"
    path.write_bytes(answer.content)
    return path


@pytest.fixture(scope="module")
def opened(chromium, saved):
    """That file in a browser without network; whatever it complains about is a failure."""
    context = chromium.new_context(offline=True, reduced_motion="reduce")
    page = context.new_page()
    complaints = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(saved.as_uri())
    page.evaluate(SCRIPTS)
    yield page
    context.close()
    assert complaints == []


@pytest.fixture
def told(opened):
    """What the page says of a ZIP file, as verify.py --json has it."""

    def told_(path, *, key=VKEY, **options):
        opened.set_input_files("#given", path)
        return opened.evaluate("([keys, options]) => judged(keys, options)", [key, options])

    return told_


def same(ours, path, *, key=VKEY, strict=False):
    """Both say the very same, or the page and verify.py are not the same verifier."""
    theirs = json.loads(json.dumps(verify.verify(str(path), keys=[key], strict=strict).as_json()))
    assert ours == theirs
    return ours


class TestVectors:
    def test_sha256_is_that_of_everybody_at_once_and_in_pieces(self, opened):
        sizes = [0, 1, 55, 56, 63, 64, 65, 119, 120, 127, 128, 1000]
        code = """(sizes) => sizes.map((size) => {
          const bytes = Uint8Array.from({ length: size }, (_, index) => index % 251);
          const pieces = new landscape.Sha256();
          for (let at = 0; at < size; at += 37) pieces.update(bytes.subarray(at, at + 37));
          const crc = landscape.crc32(bytes.subarray(7), landscape.crc32(bytes.subarray(0, 7)));
          return [landscape.hex(landscape.sha256(bytes)), landscape.hex(pieces.digest()), crc];
        })"""
        contents = [bytes(index % 251 for index in range(size)) for size in sizes]
        hashes = [hashlib.sha256(content).hexdigest() for content in contents]

        found = opened.evaluate(code, sizes)

        crcs = [zlib.crc32(content) for content in contents]
        assert found == [list(each) for each in zip(hashes, hashes, crcs, strict=True)]

    def test_trees_have_the_roots_of_the_format(self, opened):
        code = """(sizes) => {
          const [tree, found, leaf] = [new landscape.Tree(), {}, new Uint8Array(32)];
          for (let index = 0; index < 65537; index++) {
            const bytes = landscape.utf8(`{"i":${index}}`);
            landscape.leafHash(bytes, 0, bytes.length, leaf, 0);
            tree.extend(leaf);
            if (sizes.includes(index + 1)) found[index + 1] = landscape.hex(tree.root());
          }
          return found;
        }"""

        found = opened.evaluate(code, list(ROOTS))

        assert {int(size): root for size, root in found.items()} == ROOTS

    def test_proofs_of_inclusion_lead_to_the_root_or_nowhere(self, opened):
        cases, expected = [], []
        leaves = [merkle.leaf_hash(b"%d" % index) for index in range(70)]
        for size in [*range(1, 20), 31, 32, 33, 64, 70]:

            def read(level, start, count):
                assert not level
                return leaves[start : start + count]

            for index in range(size):
                hashes = merkle.prove(merkle.inclusion_path(index, size), read)
                for path in (hashes, hashes[:-1], [*hashes, leaves[0]]):
                    told = {"leaf": leaves[index], "index": index, "size": size}
                    expected.append(verify.root_of_proof(**told, hashes=path).hex())
                    cases.append([leaves[index].hex(), index, size, [each.hex() for each in path]])
        code = """(cases) => {
          const bytes = (hex) => Uint8Array.from(hex.match(/../g), (byte) => parseInt(byte, 16));
          return cases.map(([leaf, index, size, hashes]) => landscape.hex(landscape.rootOfProof(
            bytes(leaf), BigInt(index), BigInt(size), hashes.map(bytes))));
        }"""

        assert opened.evaluate(code, cases) == expected
        assert "" in expected

    def test_signatures_are_those_of_rfc_8032(self, opened):
        code = """(cases) => Promise.all(cases.map(([key, signature, message]) => {
          const bytes = (hex) =>
            Uint8Array.from(hex.match(/../g) ?? [], (each) => parseInt(each, 16));
          return new landscape.Key(bytes(key), null, "").verifies(bytes(signature), bytes(message));
        }))"""
        cases = []
        for secret, message, signature in RFC_8032:
            private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret))
            public = private.public_key().public_bytes_raw().hex()
            cases += [(public, signature, message), (public, signature, message + "78")]

        assert opened.evaluate(code, cases) == [True, False] * 3

    def test_notes_open_with_the_key_of_the_format(self, opened):
        code = """async ([note, given]) => {
          const keys = landscape.readKeys(given, "x");
          const { name, key } = await landscape.openNote(landscape.utf8(note), keys, "note");
          return [name, key.fingerprint];
        }"""
        told = [
            "audit.example.com/landscape",
            "a050837d85070582ccf7394b0988847cc312cb88259b894899f6f239cf1791a5",
        ]

        for given_key in (VKEY, forging.pem(TRUE), f"log {VKEY}\nquorum none\n"):
            assert opened.evaluate(code, [NOTE, given_key]) == told


class TestSameAsVerifyPy:
    @pytest.mark.parametrize(
        ("mutate", "status", "message"),
        ZIPPED,
        ids=[f"{number}-{mutate.__name__}" for number, (mutate, _, _) in enumerate(ZIPPED)],
    )
    def test_each_fault_is_told_with_its_place(self, bag, told, tmp_path, mutate, status, message):
        spoilt = bag()
        mutate(spoilt)
        path = zip_of(spoilt, tmp_path / "made.zip")

        report = told(path)

        assert report["status"] == status
        if mutate.__name__ != "deep_json":  # Python's reader has a depth, the browser's has none
            same(report, path)
            assert re.search(
                message, " | ".join([*report["problems"], report["cannot_tell"] or ""])
            )

    def test_clean_bags(self, kept, told, tmp_path):
        for name in ("small", "zip", "other"):
            path = kept[name]
            if path.is_dir():
                path = zip_of(path, tmp_path / f"{name}.zip")
            for strict in (False, True):
                assert same(told(path, strict=strict), path, strict=strict)["status"] in {0, 3}

    def test_lines_of_another_form(self, bag, told, tmp_path):
        spoilt = bag()

        def change(content):
            content[10] = content[10].replace(b'":"', b'" :"', 1)
            content[11] = content[11].replace(b'"many"', b'"many\xff"', 1)
            content[12] = content[12].replace(b":12,", b':"12",', 1)

        lying(change)(spoilt)
        path = zip_of(spoilt, tmp_path / "made.zip")

        assert same(told(path, strict=True), path, strict=True)["status"] == 1

    def test_an_earlier_checkpoint(self, kept, opened):
        opened.set_input_files("#given", kept["zip"])
        code = """async ([key, text]) => {
          const previous = { name: "old", content: landscape.utf8(text) };
          return judged(key, { previous });
        }"""
        own = (kept["small"] / "tlog" / "checkpoint").read_text()
        other = (kept["other"] / "tlog" / "checkpoint").read_text()
        lie = notes.Checkpoint(own.split("\n")[0], 500, bytes(32))
        forged = notes.sign(lie.text, key=forging.vkey(), signer=TRUE.sign)

        said = [opened.evaluate(code, [VKEY, text]) for text in (own, other, forged)]

        assert "the earlier checkpoint is a beginning of this one" in said[0]["checks"]
        assert said[1]["problems"][0].startswith("old is about another run")
        assert said[2]["problems"] == [
            "the first 500 records are not those of the earlier checkpoint"
        ]

    def test_keys_that_nobody_trusts(self, kept, told):
        report = told(kept["zip"], key=str(forging.vkey(OTHER)))

        same(report, kept["zip"], key=str(forging.vkey(OTHER)))
        assert report["verdict"] == "CANNOT TELL"

    def test_proves_no_more_than_verify_py(self, opened):
        assert opened.evaluate("landscape.NOT_PROVEN") == list(verify.NOT_PROVEN)

    def test_two_segments_and_how_far_it_is(self, bag, opened, tmp_path):
        spoilt = bag()
        bytes_ = many_rows(spoilt, 66_000)
        path = zip_of(spoilt, tmp_path / "large.zip")
        opened.set_input_files("#given", path)
        code = """async (keys) => {
          let [bytes, calls] = [0, 0];
          const progress = async (more) => { bytes += more; calls += 1; };
          const files = await landscape.Archive.open(file(), "large.zip");
          const report = await landscape.verifyBag(files, key(keys), { progress });
          return [report.asJson(), bytes, calls];
        }"""

        report, read, calls = opened.evaluate(code, VKEY)

        assert same(report, path)["findings"].keys() == {"NO_ANCHOR"}
        assert read > bytes_
        assert calls > 20


def many_rows(bag, count):
    """Make the bag one of so many rows, in two segments; say how many bytes they have."""
    shutil.rmtree(bag / "data" / "csv")
    shutil.rmtree(bag / "data" / "payloads")
    content = forging.lines(bag)
    old_id, old_place = b'"row_id":"%032x"' % 1, b'"row_index":"1"'
    assert old_id in content[4]
    assert old_place in content[4]
    rows = [
        content[4]
        .replace(old_id, b'"row_id":"%032x"' % index)
        .replace(old_place, b'"row_index":"%d"' % index)
        for index in range(count)
    ]
    content[0] = content[0].replace(b'\\"row\\":300', b'\\"row\\":%d' % count)
    content[3:303] = rows
    forging.write_lines(bag, content[:65_536])
    forging.write_lines(bag, content[65_536:], "data/records/000001.jsonl")
    forging.reseal(bag)

    def without_payloads(told):
        told["predicate"]["buildDefinition"]["externalParameters"]["include"] = ["records"]

    forging.attest(bag, change=without_payloads)
    return sum(map(len, content))


NAN, INF = float("nan"), float("-inf")
NASTY = {
    "string": [*WORDS, "\uff1d1", "e\u0301", "\x7f", "\u2028", "\U0001f600", "\ufffd", "\x01", "ä"],
    "timestamp": ["2026-01-01T00:00:00.000000Z"],
    "hash": ["0" * 64],
    "integer": [0, -1, 2**31 - 1, -(2**31)],
    "int64": [0, -1, 2**63 - 1, -(2**63), 2**53 + 1],
    "double": [0.0, -0.0, 1e-4, 1e-6, 1e-7, 1e15, 1e20, 1e21, 5e-324, 2.0**53, 0.1, -1.5, NAN, INF],
    "boolean": [True, False],
}
NASTY["json_text"] = NASTY["string"]


def nasty(kind, turn):
    """A record with everything in it that could be read otherwise, something else each turn."""
    found = {}
    for place, (name, form) in enumerate(kind.columns):
        values = [*NASTY[form], None]
        found[name] = values[(turn + place) % len(values)]
    return found


class TestRecords:
    def test_csv_gives_back_the_very_line(self, opened):
        pairs = [
            (kind, evidence_lines.line_of(kind, nasty(kind, turn))[:-1])
            for kind in RECORD_TYPES
            for turn in range(40)
        ]
        told = [
            [kind.name, csv_row_of(kind, line).removesuffix("\r\n"), line.decode()]
            for kind, line in pairs
        ]
        code = """([schema, told]) => {
          const types = new Map(schema.map((each) => [each.name, new landscape.Type(each)]));
          return told.map(([name, row, line]) => {
            const type = types.get(name);
            return [type.lineOf(row), type.problem(line)];
          });
        }"""
        schema = [
            {"name": t.name, "columns": list(t.columns.items()), "key": [k[2] for k in t.key]}
            for t in TYPES.values()
        ]

        found = opened.evaluate(code, [schema, told])

        assert [line for line, _problem in found] == [line for _name, _row, line in told]
        assert [problem for _line, problem in found] == [
            TYPES[name].problem(line.encode()) for name, _row, line in told
        ]

    @pytest.mark.parametrize("cut", [1, 2, 3, 7])
    def test_csv_is_read_in_pieces_of_any_size(self, opened, cut):
        code = """async (pieces) => {
          async function* chunks() {
            for (const each of pieces) yield landscape.utf8(each);
          }
          return new landscape.Rows(chunks()).take(10);
        }"""
        text = 'a,"b\r\n""c"\r\n"d",e\r\n'

        found = opened.evaluate(code, [text[at : at + cut] for at in range(0, len(text), cut)])

        assert found == ['a,"b\r\n""c"', '"d",e']


END = "\n"


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def certificate(change=lambda _statement, _lines: None, private=TRUE):
    """A certificate and its list, signed after a change of them."""
    lines = [
        (f"{pair}{'0' * 62}", size, 3, status)
        for pair, size, status in (("0a", 5, "erased"), ("0b", 7, "erased"), ("f0", 1, "kept"))
    ]
    told = {
        "format": "landscape-purge-certificate/1",
        "authority": NAME,
        "plan": {"number": 7, "payloads": 3, "bytes": "13", "requested_by": 1, "approved_by": 2},
        "outcome": {
            "by_status": {
                "erased": {"payloads": 2, "bytes": "12"},
                "kept": {"payloads": 1, "bytes": "1"},
            },
            "skipped_for": {},
            "deleted_payloads": 2,
            "deleted_bytes": "12",
        },
        "not_erasable_inline_texts": {"rows": 4},
    }
    listed = "".join(f"{ref} {size} {policy} {status}\n" for ref, size, policy, status in lines)
    pairs = [
        f"{ref[:2]} {sha256(f'{ref} {size} {policy}{END}')}\n" for ref, size, policy, _ in lines
    ]
    told["plan"]["digest"] = sha256("".join(pairs))
    told["outcome"]["list_sha256"] = sha256(listed)
    listed = change(told, listed) or listed
    return forging.envelope(
        rfc8785.dumps(told), "application/vnd.landscape.purge-certificate+json", private
    ), listed


class TestCertificates:
    @pytest.fixture
    def judge(self, opened, tmp_path):
        """What the page says of a certificate and its list, and verify.py as well."""
        code = """([key, text, list]) => {
          const given = list && { name: list[0], blob: new Blob([list[1]]) };
          const content = landscape.utf8(text);
          const keys = landscape.readKeys(key, "given as text");
          return landscape.verifyCertificate({ content, list: given }, keys)
            .then((report) => report.asJson());
        }"""

        def judge_(made, key=VKEY, *, with_list=True):
            envelope, listed = made
            path, items = tmp_path / "plan-7.certificate.json", tmp_path / "plan-7.list.txt"
            path.write_bytes(envelope)
            items.write_text(listed)
            theirs = verify.verify(str(path), keys=[key], items=str(items) if with_list else None)
            given = [str(items), listed] if with_list else None
            ours = opened.evaluate(code, [key, envelope.decode(), given])
            assert ours == json.loads(json.dumps(theirs.as_json()))
            return ours

        return judge_

    def test_are_verified_with_their_list(self, judge):
        report = judge(certificate())

        assert report["problems"] == []
        assert report["findings"].keys() == {"LEFT", "INLINE"}
        assert (report["plan"], report["deleted"]) == (7, 2)
        assert "NO_LIST" in judge(certificate(), with_list=False)["findings"]

    @pytest.mark.parametrize(
        ("change", "problem"),
        [
            (lambda told, _: told["plan"].update(approved_by=1), "nobody but who made"),
            (lambda told, _: told["outcome"].update(deleted_bytes="13"), "do not add up"),
            (lambda told, _: told["plan"].update(payloads=4), "do not add up"),
            (lambda told, _: told["plan"].update(digest="0" * 64), "one that was approved"),
            (lambda _, listed: listed.replace(" 5 ", " 6 "), "one that was approved"),
            (lambda _, listed: listed.replace("kept", "erased"), "what became of the list"),
            (lambda _, listed: listed[:-1], "is malformed or not in order"),
            (lambda _, listed: listed + listed[:72], "is malformed or not in order"),
            (lambda told, _: told.pop("outcome"), "malformed"),
        ],
    )
    def test_say_what_is_wrong(self, judge, change, problem):
        def changed(told, listed):
            made = change(told, listed)
            return made if isinstance(made, str) else None

        report = judge(certificate(changed))

        assert report["status"] == 1
        assert problem in " | ".join(report["problems"])

    def test_need_a_trusted_key_and_a_known_format(self, judge):
        newer = certificate(lambda told, _: told.update(format="landscape-purge-certificate/2"))

        assert judge(certificate(private=OTHER))["status"] == 2
        assert judge(newer)["status"] == 2
        envelope, listed = certificate()
        spoilt = envelope.replace(b'"sig":"', b'"sig":"AA')
        assert judge((spoilt, listed))["status"] == 1


class TestHostileArchives:
    @pytest.fixture
    def archive(self, bag, tmp_path):
        """A ZIP with things added to it."""

        def make(*more):
            path = zip_of(bag(), tmp_path / "made.zip")
            with zipfile.ZipFile(path, "a") as file:
                for each, content in more:
                    file.writestr(each, content)
            return path

        return make

    @pytest.mark.filterwarnings("ignore:Duplicate name")
    @pytest.mark.parametrize(
        "name",
        [
            "small/README.txt",
            "small/../evil",
            "/etc/passwd",
            "other/README.txt",
            "small/a b",
            "small/data/records/000001.jsonl",
        ],
    )
    def test_names_that_do_not_belong(self, archive, told, name):
        path = archive((name, "x"))

        assert same(told(path), path)["status"] == 1

    def test_links(self, archive, told):
        info = zipfile.ZipInfo("small/link")
        info.external_attr = 0o120777 << 16
        path = archive((info, "/etc/passwd"))

        assert same(told(path), path)["status"] == 1

    def test_something_before_and_after(self, archive, told):
        path = archive()
        content = path.read_bytes()
        for spoilt, status in (
            (b"MZ" * 50 + content, 1),
            (content + b"MZ", 1),
            (content[:-400], 2),
            (b"", 2),
        ):
            path.write_bytes(spoilt)
            assert told(path)["status"] == status
            assert verify.verify(str(path), keys=[VKEY]).status == status

    def test_damage_anywhere_is_told(self, archive, told):
        path = archive()
        content = path.read_bytes()
        made = random.Random(7)
        for _ in range(12):
            spoilt = bytearray(content)
            spoilt[made.randrange(len(spoilt))] ^= 1 << made.randrange(8)
            path.write_bytes(spoilt)
            assert told(path)["status"] == verify.verify(str(path), keys=[VKEY]).status

    def test_headers_that_contradict_each_other(self, archive, told):
        path = archive()
        content = path.read_bytes()
        end = len(content) - 22
        start = int.from_bytes(content[end + 16 : end + 20], "little")
        made = random.Random(3)
        for _ in range(24):
            spoilt = bytearray(content)
            spoilt[made.randrange(start, len(spoilt))] ^= 1 << made.randrange(8)
            path.write_bytes(spoilt)
            assert told(path)["status"] == verify.verify(str(path), keys=[VKEY]).status

    def test_a_checksum_that_both_headers_tell_wrongly(self, archive, told):
        path = archive()
        with zipfile.ZipFile(path) as file:
            crc = file.getinfo("small/README.txt").CRC
        content = path.read_bytes()
        assert content.count(crc.to_bytes(4, "little")) == 2
        path.write_bytes(
            content.replace(crc.to_bytes(4, "little"), (crc ^ 1).to_bytes(4, "little"))
        )

        assert told(path)["status"] == verify.verify(str(path), keys=[VKEY]).status == 1

    @pytest.mark.parametrize("target", ["data/records/000000.jsonl", "tlog/checkpoint"])
    def test_bombs_cost_little(self, bag, told, tmp_path, target):
        folder = bag()
        (folder / target).unlink()
        path = zip_of(folder, tmp_path / "bomb.zip")
        with (
            zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED, compresslevel=9) as file,
            file.open(f"small/{target}", "w", force_zip64=True) as writer,
        ):
            for _ in range(4):
                writer.write(bytes(1 << 24))
        shutil.rmtree(folder)

        report = told(path)

        assert report["status"] == 1
        assert (
            "longer than 16 MiB" in str(report)
            or "more than it can need" in str(report)
            or ("does not count" in str(report))
        )
