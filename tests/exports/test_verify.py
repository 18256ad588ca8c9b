"""verify.py against vectors, against other implementations, and against everybody."""

from __future__ import annotations

import ast
import base64
import json
import random
import re
import resource
import shutil
import subprocess
import sys
import threading
import zipfile

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given, settings, strategies

from audit.evidence import lines as evidence_lines
from audit.evidence import merkle, notes
from audit.evidence.records import RECORD_TYPES, schema_bytes
from audit.exports import sheets, verify
from tests.exports import forging
from tests.exports.conftest import VERIFIER, bare, zip_of
from tests.exports.forging import NAME, OTHER, TRUE
from tests.exports.mutations import MATRIX, edit, lying

SIGNATURE = (
    "xfSzq0BxAMUREhoahQz6+r5x1L/JKwEKfsnF3gsA1uo2FkA4SANhIhwYQGjZ7qSWKfZPyTmA+gZsNwYLuq7tL138ggI="
)
VKEY = f"{NAME}+c5f4b3ab+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"
ROOTS = {
    1: "d829edd0713a1bb05e3cd0616924a4c5bde21e36e537149a20239edafa8825f1",
    2: "8d797bb58d61f678047fdf92a390117b16d8718b957303a9231a36cf6e0c5f75",
    3: "00a70ab1951b3920e93bb731381741971d0960c1ae41ce64cb6d5fa330bffcc6",
    7: "e9c6d5ed5127b01b79401e3c23dc61236402fbff7ab25aaedf8180865da94acd",
    255: "f87f4c856274911fc8fdeef2e774a5d5332ac80b75b076fb110667115c3b9b05",
    256: "7ef0de1496341fac3fe8bdfa1cb4f4d63c91f142744b35376e9265b6af758610",
    257: "0e8fc2091cbee27032d5518617b3598799129470d5a620b39ac1af4f9c867464",
    65536: "aa1d71dbd31ad4da83db0a038fd1261b5ea1a4abdac4952a9bbff65f6e1fba4b",
    65537: "b18500d853f144f2a2a5a2ab9362bfd33ffccbe1d790f26c2ea3a1ab57047715",
}
NOTE = (
    f"{NAME}/run/run-0001\n7\n{base64.b64encode(bytes.fromhex(ROOTS[7])).decode()}\n\n"
    f"\u2014 {NAME} {SIGNATURE}\n"
)
# RFC 8032, 7.1: secret key, message, signature.
RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
            "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
            "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
        ),
    ),
]


def test_python_3_9_can_read_it():
    assert ast.parse(VERIFIER.read_text(), feature_version=(3, 9))


class TestEd25519:
    @pytest.mark.parametrize(("secret", "message", "signature"), RFC_8032)
    def test_verifies_the_vectors(self, secret, message, signature):
        public = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret)).public_key()
        told = {
            "public": public.public_bytes_raw(),
            "signature": bytes.fromhex(signature),
            "message": bytes.fromhex(message),
        }

        assert verify.ed25519_verifies(**told)
        assert not verify.ed25519_verifies(**told | {"message": told["message"] + b"x"})

    def test_agrees_with_the_cryptography_package(self):
        made = random.Random(5)
        for _ in range(60):
            private = Ed25519PrivateKey.from_private_bytes(made.randbytes(32))
            message = made.randbytes(made.randrange(80))
            public, signature = private.public_key().public_bytes_raw(), private.sign(message)
            assert self.both(public, signature, message)
            spoilt = bytearray(signature)
            spoilt[made.randrange(64)] ^= 1 << made.randrange(8)
            assert not self.both(public, bytes(spoilt), message)
            other = bytearray(public)
            other[made.randrange(32)] ^= 1 << made.randrange(8)
            assert not self.both(bytes(other), signature, message)

    def test_refuses_a_number_beyond_the_order_of_the_group(self):
        signature = TRUE.sign(b"m")
        number = int.from_bytes(signature[32:], "little") + verify._L
        twin = signature[:32] + number.to_bytes(32, "little")

        assert not self.both(TRUE.public_key().public_bytes_raw(), twin, b"m")

    def both(self, public, signature, message):
        ours = verify.ed25519_verifies(public=public, signature=signature, message=message)
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
        except InvalidSignature:
            assert not ours
        else:
            assert ours
        return ours


class TestTree:
    @pytest.mark.parametrize(("size", "root"), ROOTS.items())
    def test_has_the_roots_of_the_format(self, size, root):
        tree = verify.Tree(lambda _level, _root: None)
        for index in range(size):
            tree.extend([merkle.leaf_hash(b'{"i":%d}' % index)])

        assert tree.root().hex() == root

    def test_agrees_with_the_tree_that_seals(self):
        leaves = [merkle.leaf_hash(b"%d" % index) for index in range(1100)]
        for size in [*range(1, 70), 255, 256, 257, 511, 512, 513, 1024, 1100]:
            ours, theirs = verify.Tree(lambda _level, _root: None), merkle.Tree()
            theirs.extend(leaves[:size])
            for leaf in leaves[:size]:
                ours.extend([leaf])
            assert ours.root() == theirs.root()
            full = theirs.root()
            for index in {0, size // 2, size - 1}:

                def read(level, start, count):
                    assert not level or level == 1
                    width = 256**level
                    return [
                        verify.block_root(leaves[at * width : (at + 1) * width])
                        for at in range(start, start + count)
                    ]

                hashes = merkle.prove(merkle.inclusion_path(index, size), read)
                told = {"leaf": leaves[index], "index": index, "size": size}
                assert verify.root_of_proof(**told, hashes=hashes) == full
                assert verify.root_of_proof(**told, hashes=[*hashes, full]) != full
                if hashes:
                    assert verify.root_of_proof(**told, hashes=hashes[:-1]) != full


class TestNotes:
    def test_open_with_the_key_of_the_format(self):
        keys = verify.read_keys(VKEY, "/nowhere")

        text, name, key = verify.open_note(NOTE.encode(), keys, "note")

        assert name == NAME
        assert key.fingerprint == "a050837d85070582ccf7394b0988847cc312cb88259b894899f6f239cf1791a5"
        assert verify.checkpoint(text, "note")[1:] == (7, bytes.fromhex(ROOTS[7]))

    def test_open_with_a_pem_file_and_a_policy_file(self, tmp_path):
        (tmp_path / "a.pem").write_text(forging.pem(TRUE))
        (tmp_path / "policy.txt").write_text(f"log {VKEY}\nquorum none\n")

        for name in ("a.pem", "policy.txt"):
            keys = verify.read_keys(str(tmp_path / name), "/nowhere")
            assert verify.open_note(NOTE.encode(), keys, "note")

    def test_need_a_key_that_is_trusted(self):
        keys = verify.read_keys(str(forging.vkey(OTHER)), "/nowhere")

        with pytest.raises(verify.Unsure, match="no key that you trust"):
            verify.open_note(NOTE.encode(), keys, "note")


WORDS = ["", " ", "=1+1", "+1", "-1", "@a", "\t", "\r\n", "\n", "'", "''=", '"', '""', ",", "\\N"]
TEXT = strategies.text(max_size=8) | strategies.sampled_from([*WORDS, "\uff1d1", "e\u0301", "\x7f"])
FORMS = {
    "string": TEXT,
    "json_text": TEXT,
    "timestamp": strategies.just("2026-01-01T00:00:00.000000Z"),
    "hash": strategies.just("0" * 64),
    "integer": strategies.integers(-(2**31), 2**31 - 1),
    "int64": strategies.integers(-(2**63), 2**63 - 1),
    "double": strategies.floats() | strategies.sampled_from([-0.0, 1e-7, 1e21, 5e-324, 2.0**53]),
    "boolean": strategies.booleans(),
}
TYPES = {told["name"]: verify.Type(told) for told in json.loads(schema_bytes())["types"]}


@strategies.composite
def records(draw):
    """A type and a line of it, with everything in it that could be read otherwise."""
    kind = draw(strategies.sampled_from(RECORD_TYPES))
    record = {name: draw(FORMS[form] | strategies.none()) for name, form in kind.columns}
    return kind, evidence_lines.line_of(kind, record)[:-1]


def csv_row_of(kind, line):
    return sheets.row_of(json.loads(line, parse_float=str, parse_int=str), kind.columns)


class TestCsv:
    @settings(max_examples=400, deadline=None)
    @given(told=records())
    def test_gives_back_the_very_line(self, told):
        kind, line = told

        row = csv_row_of(kind, line)
        (again,) = verify.csv_rows(iter([row.encode()]))

        assert TYPES[kind.name].line_of(again) == line
        if not TYPES[kind.name].problem(line).startswith(kind.key):
            assert TYPES[kind.name].problem(line) == ""
        for field in row.removesuffix("\r\n").split(","):
            assert field[:2] not in {'"=', '"+', '"-', '"@', '"\t', '"\r', '"\n', '"\uff1d'}

    @pytest.mark.parametrize("cut", [1, 2, 3, 7])
    def test_is_read_in_pieces_of_any_size(self, cut):
        text = b'a,"b\r\n""c"\r\n"d",e\r\n'

        found = verify.csv_rows(text[at : at + cut] for at in range(0, len(text), cut))

        assert list(found) == ['a,"b\r\n""c"', '"d",e']


class TestFirstLook:
    """Lines that are in order at first sight are not looked at one by one."""

    @pytest.mark.parametrize("name", ["token", "token_parent", "row"])
    @pytest.mark.parametrize(
        ("old", "new"),
        [
            (b"", b""),
            (b'"record_type":"', b'"record_type":"x'),
            (b'"run_id":"r"', b'"run_id":"s"'),
            (b'"run_id":"r"', b'"run_id":"r" '),
            (b'"token_id":"3"', b'"token_id":"2"'),
            (b'"token_id":"3"', b'"token_id":3'),
            (b'"token_id":"3"', b'"token_id":"3'),
            (b'"token_id":"3"', b'"token_id":"\\u0033"'),
            (b'"row_index":"3"', b'"row_index":"x"'),
            (b'"row_index":"3"', b'"row_index":3'),
            (b'"ordinal":0', b'"ordinal":null'),
            (b"{", b'{"token_id":null,"row_index":null,'),
            (b"{", b'{"token_id":"9","row_index":"9",'),
        ],
    )
    def test_finds_no_line_good_that_a_closer_look_does_not(self, name, old, new):
        kind, values = TYPES[name], {"run_id": "r", "record_type": name, "ordinal": 0}
        lines = [
            json.dumps(
                dict.fromkeys(kind.in_line)
                | {each: str(at) for each in kind.in_line if each[-3:] == "_id" or "index" in each}
                | {each: value for each, value in values.items() if each in kind.in_line},
                separators=(",", ":"),
            ).encode()
            for at in range(8)
        ]
        clean = kind.last_key(lines, b'"run_id":"r"', ())
        assert clean == kind.key_of(lines[-1])
        lines[3] = lines[3].replace(old, new, 1)

        try:
            keys = [kind.key_of(line) for line in lines]
            good = all(kind.mark in line and b'"run_id":"r"' in line for line in lines)
            good = good and keys == sorted(set(keys))
        except ValueError:
            good = False
        found = kind.last_key(lines, b'"run_id":"r"', ())

        assert found in ({clean, None} if good else {None})
        assert kind.last_key(lines, b'"run_id":"r"', clean) is None


class TestReadingAhead:
    def test_gives_the_same_pieces_and_then_the_same_failure(self):
        def pieces():
            yield from map(str.encode, "abcdefgh")
            raise verify.Failed("cut off")

        found = []
        with pytest.raises(verify.Failed, match="cut off"):
            found.extend(verify.ahead(pieces()))

        assert b"".join(found) == b"abcdefgh"

    def test_leaves_nothing_behind_when_nobody_wants_the_rest(self):
        before = threading.active_count(), sys.getswitchinterval()
        pieces = verify.ahead(iter([b"x"] * 50))
        assert next(pieces) == b"x"
        assert threading.active_count() == before[0] + 1

        pieces.close()

        assert (threading.active_count(), sys.getswitchinterval()) == before


def judged(path, *arguments):
    report = bare(path, *arguments or ("--key", str(forging.vkey())))
    return report["status"], " | ".join([*report["problems"], report["cannot_tell"] or ""])


class TestMutations:
    def test_a_clean_bag_is_accepted(self, kept, large):
        for name, path in (kept | {"large": large}).items():
            report = bare(path, "--key", str(forging.vkey()), "--strict")
            told = {"MISSING"} if name == "small" else set()
            assert (report["problems"], set(report["findings"])) == ([], told)

    @pytest.mark.parametrize(
        ("mutate", "status", "message"),
        MATRIX,
        ids=[f"{number}-{mutate.__name__}" for number, (mutate, _, _) in enumerate(MATRIX)],
    )
    def test_each_fault_is_told_with_its_place(self, bag, mutate, status, message):
        spoilt = bag()
        mutate(spoilt)

        found, text = judged(spoilt)

        assert found == status, text
        assert re.search(message, text), text

    @pytest.mark.parametrize("name", ["delete", "swap"])
    def test_whole_segments(self, bag, name):
        spoilt = bag("large")
        first, second = sorted((spoilt / "data" / "records").iterdir())
        if name == "delete":
            second.unlink()
            assert judged(spoilt)[1].startswith("data/records/000001.jsonl is missing")
        else:
            first.rename(first.with_suffix(".x"))
            second.rename(first)
            first.with_suffix(".x").rename(second)
            assert "000000.jsonl is not what the manifest says" in judged(spoilt)[1]
        assert judged(spoilt)[0] == 1

    def test_an_attestation_of_another_run(self, bag, kept):
        spoilt = bag()
        shutil.copy(kept["other"] / "attestation.dsse.json", spoilt)
        assert judged(spoilt)[0] == 1
        assert "about another run" in judged(spoilt)[1]

    def test_a_checkpoint_of_another_run(self, bag, kept):
        spoilt = bag()
        shutil.copy(kept["other"] / "tlog" / "checkpoint", spoilt / "tlog")
        assert judged(spoilt)[0] == 1

    def test_another_seals_place_in_the_log(self, bag, kept):
        spoilt = bag()
        shutil.copy(kept["other"] / "tlog" / "seal.tlog-proof", spoilt / "tlog")
        forging.rebuild_manifests(spoilt)
        forging.attest(spoilt)
        assert "seal.tlog-proof does not lead" in judged(spoilt)[1]

    def test_lines_of_another_form_are_told_when_asked(self, bag):
        spoilt = bag()
        lying(lambda content: content.__setitem__(10, content[10].replace(b'":"', b'" :"', 1)))(
            spoilt
        )

        assert judged(spoilt)[0] == 3  # it has no place in the log of seals
        status, text = judged(spoilt, "--key", str(forging.vkey()), "--strict")
        assert status == 1
        assert "record 10 (data/records/000000.jsonl, line 11) is not in canonical form" in text

    def test_a_signature_of_somebody_unknown_does_no_harm(self, bag):
        """A witness signs too: whoever does not know it, ignores it."""
        spoilt = bag()
        path = spoilt / "tlog" / "checkpoint"
        text = path.read_text()
        note = text.partition("\n\n")[0] + "\n"
        other = notes.sign(note, key=forging.vkey(OTHER, "witness.example.com"), signer=OTHER.sign)
        path.write_text(text + other.rpartition("\n\n")[2])
        forging.rebuild_manifests(spoilt)
        forging.attest(spoilt)

        assert judged(spoilt) == (3, "")  # for its missing payload

    def test_withheld_records_are_counted(self, bag):
        spoilt = bag()
        shutil.rmtree(spoilt / "data" / "csv")
        content = forging.lines(spoilt)
        leaf = base64.b64encode(merkle.leaf_hash(content[20][:-1]))
        content[20] = b'{"$leaf":"%s"}\n' % leaf
        assert len(content[20]) == 57
        forging.write_lines(spoilt, content)
        forging.rebuild_manifests(spoilt)
        forging.attest(spoilt)

        report = bare(spoilt, "--key", str(forging.vkey()))

        assert report["status"] == 3
        assert report["findings"]["WITHHELD"].startswith("1 records")

    def test_without_its_place_in_the_log_time_rests_on_the_authority(self, bag):
        spoilt = bag("large")
        forging.reseal(spoilt)

        report = bare(spoilt, "--key", str(forging.vkey()))

        assert report["status"] == 3
        assert list(report["findings"]) == ["NO_ANCHOR"]


class TestTrust:
    def test_needs_a_key(self, bag):
        assert judged(bag(), "--strict") == (2, " no key was given: --key says whom you trust")[
            :0
        ] or (judged(bag("other"), "--strict")[0] == 2)

    def test_never_takes_a_key_out_of_the_bag(self, bag, tmp_path):
        spoilt = bag()
        (spoilt / "key.pem").write_text(forging.pem(TRUE))
        (tmp_path / "link.pem").symlink_to(spoilt / "key.pem")

        for name in (spoilt / "key.pem", tmp_path / "link.pem"):
            status, text = judged(spoilt, "--key", name)
            assert status == 2
            assert "never trusted" in text

    def test_cannot_tell_under_another_key(self, bag):
        assert judged(bag(), "--key", str(forging.vkey(OTHER)))[0] == 2
        assert judged(bag("other"), "--key", "nonsense")[0] == 2

    def test_cannot_tell_what_is_not_there(self, tmp_path):
        (tmp_path / "text").write_text("x")
        assert judged(tmp_path / "none")[0] == 2
        assert judged(tmp_path / "text")[0] == 2

    def test_wrong_usage(self):
        done = subprocess.run([sys.executable, VERIFIER], capture_output=True, check=False)
        assert done.returncode == 64

    def test_prints_no_control_characters(self, bag):
        spoilt = bag()
        edit(spoilt / "data" / "schema.json", b"landscape-export/1", b"\x1b]0;evil\x07")
        done = subprocess.run(
            [sys.executable, VERIFIER, spoilt, "--key", VKEY], capture_output=True, check=False
        )
        assert done.returncode == 2
        assert b"\x1b" not in done.stdout


class TestSingleRecord:
    def test_record_500_without_those_before_it(self, kept, tmp_path):
        content = forging.lines(kept["small"])
        leaves = [merkle.leaf_hash(line[:-1]) for line in content]

        def read(level, start, count):
            width = 256**level
            return [
                verify.block_root(leaves[at * width : (at + 1) * width])
                for at in range(start, start + count)
            ]

        hashes = merkle.prove(merkle.inclusion_path(500, len(leaves)), read)
        note = (kept["small"] / "tlog" / "checkpoint").read_text()
        record = tmp_path / "record.json"
        record.write_bytes(content[500][:-1])
        proof = tmp_path / "record.json.tlog-proof"
        proof.write_text(notes.Proof(500, tuple(hashes), note).text)

        report = bare(record, "--key", VKEY)
        assert (report["verdict"], report["record"]) == ("VERIFIED", 500)
        for old, new in (("index 500", "index 501"), ("\n603\n", "\n604\n")):
            text = proof.read_text()
            proof.write_text(text.replace(old, new))
            assert bare(record, "--key", VKEY)["status"] == 1
            proof.write_text(text)
        record.write_bytes(content[499][:-1])
        assert bare(record, "--key", VKEY)["status"] == 1


class TestHostileArchives:
    @pytest.fixture
    def archive(self, bag, tmp_path):
        """A ZIP with things added to it."""

        def make(*more, name="small", mode="w"):
            folder = bag(name)
            path = zip_of(folder, tmp_path / "made.zip")
            with zipfile.ZipFile(path, "a") as file:
                for each, content in more:
                    file.writestr(each, content)
            return path

        return make

    def test_one_that_anybody_packed_is_accepted(self, archive):
        assert judged(archive())[0] == 3  # for its missing payload

    @pytest.mark.filterwarnings("ignore:Duplicate name")
    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("small/README.txt", "two files"),
            ("small/../evil", "forbidden name"),
            ("/etc/passwd", "more than one folder|beside the bag"),
            ("other/README.txt", "more than one folder|two files"),
            ("small/a b", "forbidden name"),
            ("small/data/records/000001.jsonl", "in no manifest"),
        ],
    )
    def test_names_that_do_not_belong(self, archive, name, message):
        status, text = judged(archive((name, "x")))
        assert status == 1
        assert re.search(message, text), text

    def test_links(self, archive):
        info = zipfile.ZipInfo("small/link")
        info.external_attr = 0o120777 << 16
        status, text = judged(archive((info, "/etc/passwd")))
        assert status == 1
        assert "link" in text

    def test_a_local_header_that_says_something_else(self, archive):
        path = archive()
        content = bytearray(path.read_bytes())
        at = content.index(b"small/README.txt")
        content[at : at + 16] = b"small/READYE.txt"
        path.write_bytes(content)
        assert judged(path)[0] == 1

    def test_something_before_and_after(self, archive):
        path = archive()
        content = path.read_bytes()
        for spoilt in (b"MZ" * 50 + content, content + b"MZ"):
            path.write_bytes(spoilt)
            assert judged(path)[0] == 1
        path.write_bytes(content[:-400])
        assert judged(path)[0] == 2

    def test_damage_anywhere_is_told(self, archive):
        path = archive()
        content = path.read_bytes()
        made = random.Random(7)
        for _ in range(25):
            spoilt = bytearray(content)
            spoilt[made.randrange(len(spoilt))] ^= 1 << made.randrange(8)
            path.write_bytes(spoilt)
            report = verify.verify(str(path), keys=[VKEY])
            # Dates and the like in the container prove nothing and change nothing.
            if report.status == 3:
                assert report.findings.keys() == {"MISSING"}
                assert not report.problems

    def test_bombs_cost_little(self, bag, tmp_path):
        big = 512 << 20
        for target in (
            "data/records/000000.jsonl",
            "tlog/checkpoint",
            "manifest-sha256.txt",
            "attestation.dsse.json",
            "data/payloads/absent.txt",
            "data/schema.json",
        ):
            folder = bag()
            (folder / target).unlink()
            path = zip_of(folder, tmp_path / "bomb.zip")
            with (
                zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED, compresslevel=9) as file,
                file.open(f"small/{target}", "w", force_zip64=True) as writer,
            ):
                for _ in range(big >> 24):
                    writer.write(bytes(1 << 24))
            shutil.rmtree(folder)
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            code = (
                "import runpy,sys\n"
                "sys.argv=sys.argv[1:]\n"
                "try: runpy.run_path(sys.argv[0],run_name='__main__')\n"
                "except SystemExit as e: status=e.code\n"
                "told=dict(line.split(':') for line in open('/proc/self/status'))\n"
                "print(status, told['VmHWM'].split()[0])\n"
            )
            done = subprocess.run(
                [sys.executable, "-c", code, VERIFIER, path, "--key", VKEY],
                capture_output=True,
                text=True,
                check=True,
                timeout=60,
            )
            status, memory = done.stdout.split("\n")[-2].split()
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            assert status == "1", done.stdout
            assert int(memory) < 60 << 10
            assert after.ru_utime - before.ru_utime < 10


class TestDeterminism:
    def test_the_report_does_not_depend_on_the_place_it_is_made_at(self, kept):
        reports = {
            json.dumps(
                bare(
                    kept["small"],
                    "--key",
                    VKEY,
                    PYTHONHASHSEED=seed,
                    TZ=zone,
                    LC_ALL=locale,
                )
            )
            for seed, zone, locale in (
                ("0", "UTC", "C"),
                ("1", "Asia/Kathmandu", "C.UTF-8"),
                ("77", "America/St_Johns", "POSIX"),
            )
        }

        assert len(reports) == 1
