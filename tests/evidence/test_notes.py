"""Signed notes against the vectors of the format and of the C2SP specification."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.evidence import merkle, notes
from audit.evidence.notes import NoteRefused
from tests.evidence.test_merkle import ROOTS

NAME = "audit.example.com/landscape"
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = notes.VerifierKey(NAME, PRIVATE.public_key().public_bytes_raw())
VKEY = f"{NAME}+c5f4b3ab+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"
CHECKPOINT = notes.Checkpoint(f"{NAME}/run/run-0001", 7, bytes.fromhex(ROOTS[7]))
SIGNATURE = (
    "xfSzq0BxAMUREhoahQz6+r5x1L/JKwEKfsnF3gsA1uo2FkA4SANhIhwYQGjZ7qSWKfZPyTmA+gZsNwYLuq7tL138ggI="
)
NOTE = f"{CHECKPOINT.text}\n— {NAME} {SIGNATURE}\n"


def signed(text=CHECKPOINT.text):
    return notes.sign(text, key=KEY, signer=PRIVATE.sign)


class TestKeys:
    def test_are_written_as_the_format_says(self):
        assert str(KEY) == VKEY
        assert notes.parse_key(VKEY) == KEY

    @pytest.mark.parametrize(
        "line",
        [
            "",
            NAME,
            VKEY.replace("c5f4b3ab", "c5f4b3ac"),
            VKEY.replace("+AQOh", "+AgOh"),
            VKEY[:-4],
            VKEY.replace("audit", "au dit"),
        ],
    )
    def test_of_other_shapes_are_refused(self, line):
        with pytest.raises(NoteRefused):
            notes.parse_key(line)

    @pytest.mark.parametrize("name", ["", "a b", "a+b", "DSSEv1/x", "a\u2028b", "a\nb"])
    def test_have_names_without_spaces(self, name):
        with pytest.raises(ValueError, match="name for a key"):
            notes.VerifierKey(name, KEY.public)


class TestSign:
    def test_gives_the_note_of_the_format(self):
        assert signed() == NOTE

    @pytest.mark.parametrize("text", ["no end", "a\tb\n", "a\r\n"])
    def test_refuses_what_is_no_text_of_a_note(self, text):
        with pytest.raises(ValueError, match="lines of text"):
            signed(text)


class TestVerify:
    def test_gives_the_checkpoint(self):
        assert notes.open_checkpoint(NOTE, keys=[KEY]) == CHECKPOINT

    def test_accepts_the_example_of_the_specification(self):
        """The note of Go's sumdb, signed by the key of its documentation."""
        key = notes.parse_key("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
        text = (
            "If you think cryptography is the answer to your problem,\n"
            "then you don't know what your problem is.\n"
        )
        note = (
            f"{text}\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC"
            "2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
        )

        assert notes.verify(note, keys=[key]) == (text, [key])

    def test_passes_over_signatures_of_others(self):
        other = Ed25519PrivateKey.generate()
        stranger = notes.VerifierKey("else.example", other.public_key().public_bytes_raw())
        line = notes.signature_line(key=stranger, signature=other.sign(CHECKPOINT.text.encode()))
        cosignature = "— witness.example AAAAAAQAAAAA\n"

        assert notes.verify(NOTE + line + cosignature, keys=[KEY])[1] == [KEY]

    @pytest.mark.parametrize(
        ("change", "why"),
        [
            (lambda note: note.replace("\n7\n", "\n8\n"), "wrong"),
            (lambda note: note.replace("run-0001", "run-0002"), "wrong"),
            (lambda note: note.replace("xfSzq0Bx", "xfSzq0By"), "wrong"),
            (lambda note: note.replace("xfSz", "xfSa"), "no known key"),
            (lambda note: note.replace(f"— {NAME}", "— else.example"), "no known key"),
            (lambda note: note.replace("— ", "- "), "signature line"),
            (lambda note: note.replace("\n\n", "\n"), "blank line"),
            (lambda note: note[:-1], "blank line"),
            (lambda note: note.replace("\n", "\r\n"), "control characters"),
            (lambda note: note.replace("ggI=", "ggJ="), "base64"),
            (lambda note: note + "— x AAAA\n", "signature line"),
            (lambda note: note + "— x.example AAAAAAAA\n" * 65, "at most"),
        ],
    )
    def test_refuses(self, change, why):
        with pytest.raises(NoteRefused, match=why):
            notes.verify(change(NOTE), keys=[KEY])

    def test_refuses_a_note_of_which_one_of_two_signatures_is_wrong(self):
        line = NOTE.splitlines(keepends=True)[-1]

        with pytest.raises(NoteRefused, match="wrong"):
            notes.verify(NOTE + line.replace("xfSzq0Bx", "xfSzq0By"), keys=[KEY])


class TestCheckpoints:
    @pytest.mark.parametrize(
        "text",
        [
            "o\n1\n",
            f"o\n01\n{SIGNATURE}\n",
            "o\n-1\nAAAA\n",
            f"o\n7\n{CHECKPOINT.text.splitlines()[2]}\nextension\n",
            "o\n7\nAAAA\n",
            f"\n7\n{CHECKPOINT.text.splitlines()[2]}\n",
        ],
    )
    def test_of_other_shapes_are_refused(self, text):
        with pytest.raises(NoteRefused):
            notes.parse_checkpoint(text)


class TestProofs:
    def test_are_read_as_they_are_written(self):
        proof = notes.Proof(4, (merkle.leaf_hash(b"a"), merkle.leaf_hash(b"b")), NOTE)

        assert notes.parse_proof(proof.text) == proof
        assert proof.text.startswith("c2sp.org/tlog-proof@v1\nindex 4\n")

    def test_may_carry_more(self):
        text = notes.Proof(0, (), NOTE).text.replace("index 0", "extra AAAA\nindex 0")

        assert notes.parse_proof(text) == notes.Proof(0, (), NOTE)

    @pytest.mark.parametrize(
        "change",
        [
            lambda text: text.replace("@v1", "@v2"),
            lambda text: text.replace("index 4", "index 04"),
            lambda text: text.replace("index 4\n", ""),
            lambda text: text.replace("index 4\n", "index 4\nAAAA\n"),
            lambda text: text.replace("index 4\n", "index 4\n!\n"),
            lambda text: text.replace("index 4\n", "index 4\n" + SIGNATURE + "\n"),
            lambda text: text.replace("\n\n", "\n"),
        ],
    )
    def test_of_other_shapes_are_refused(self, change):
        with pytest.raises(NoteRefused):
            notes.parse_proof(change(notes.Proof(4, (), NOTE).text))
