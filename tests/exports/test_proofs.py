"""One record of many: found without reading the others, and proven without them."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile

import pytest

from audit import exports, recorder
from audit.errors import CannotBeExported, NotRecorded
from audit.evidence import comparing, lines, places, records, seals, sharing, signing, store
from tests.builders import NOON, after_noon, make_world
from tests.exports.conftest import bare
from tests.exports.conftest import world as many_rows
from tests.recorder import world as told

pytestmark = pytest.mark.django_db(databases=["default", "owner"], transaction=True)


def unpack(made, folder):
    """The record of a parcel, its proof beside it."""
    with zipfile.ZipFile(io.BytesIO(made.content)) as file:
        assert file.testzip() is None
        file.extractall(folder)
    (record,) = folder.glob("*/*.json")
    return record


class TestRecord500:
    """Without 1 to 499."""

    @pytest.fixture
    def proven(self):
        run_id = many_rows(300)
        seals.seal_run(run_id=run_id, at=after_noon(1000))
        found = exports.prove_record(run_id=run_id, record_type="token", key=f"{197:032x}")
        assert (found.proof.index, found.checkpoint.size) == (500, 603)
        return found

    def test_is_verified_by_a_bare_python(self, proven, the_key, tmp_path):
        record = unpack(exports.parcel(proven), tmp_path)

        report = bare(record, "--key", the_key())

        assert (report["verdict"], report["record"]) == ("VERIFIED", 500)
        assert record.read_bytes() == proven.line
        assert {path.name for path in record.parent.iterdir()} == {
            "token_500.json",
            "token_500.json.tlog-proof",
            "README.txt",
        }
        record.write_bytes(proven.line.replace(b'"token"', b'"tokem"'))
        assert bare(record, "--key", the_key())["status"] == 1

    def test_is_verified_by_hand_as_its_readme_says(self, proven, tmp_path):
        record = unpack(exports.parcel(proven), tmp_path)
        pem = tmp_path / "key.pem"
        pem.write_text(signing.known_keys()[-1].pem)
        text = (record.parent / "README.txt").read_text()
        commands = [
            line[4:]
            for line in text.splitlines()
            if line.startswith("    ") and not line.startswith("    # ")
        ]

        def run(these):
            path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"  # noqa: PTH120
            return subprocess.run(
                ["sh", "-eu", "-c", "\n".join(these)],
                cwd=record.parent,
                env={"KEY": str(pem), "PEM": str(pem), "PATH": path, "TMPDIR": str(tmp_path)},
                capture_output=True,
                text=True,
                check=False,
            )

        assert commands[0].startswith("python3 verify.py token_500.json")
        by_hand = run(commands[1:])
        assert by_hand.returncode == 0, by_hand.stderr
        assert "Signature Verified Successfully" in by_hand.stdout
        assert "leads to the signed root" in by_hand.stdout
        record.write_bytes(proven.line + b" ")
        assert run(commands[1:]).returncode != 0
        assert "leads to" not in run(commands[1:]).stdout

    def test_is_the_same_parcel_each_time(self, proven):
        again = exports.prove_record(run_id="many", record_type="token", key=f"{197:032x}")

        assert exports.parcel(proven) == exports.parcel(again)


class TestPlaces:
    def test_are_those_of_the_text(self, monkeypatch):
        monkeypatch.setattr(store, "SEGMENT", 256)
        monkeypatch.setattr(sharing, "SHARED_FROM", 1000)
        run_id = many_rows(400)
        sealed = [seals.seal_run(run_id=run_id, at=after_noon(1000))]
        segments = comparing.segments_of(sealed[0])
        every = [line[:-1] for line in store.read_lines(segments)]
        opened = []
        real = store.open_packed
        monkeypatch.setattr(
            store, "open_packed", lambda segment: (opened.append(segment), real(segment))[1]
        )

        for index in (0, 1, 2, 3, 255, 256, 257, 401, 402, 511, 512, 513, 600, len(every) - 1):
            record = json.loads(every[index])
            kind = records.BY_NAME[record["record_type"]]
            opened.clear()
            found = places.place_of(sealed, record_type=kind.name, key=lines.key_text(kind, record))
            assert found == places.Place(index, 1, every[index])
            assert len(opened) <= 3

        assert len(segments) == 3

    @pytest.mark.parametrize(
        ("record_type", "key"),
        [
            ("row", "none"),
            ("row", "1/none"),
            ("row", "01/x"),
            ("row", "1"),
            ("row", "/"),
            ("token", ""),
            ("token_parent", "a"),
            ("token_parent", "a/b/c"),
            ("seal", "2"),
            ("artifact_member", "/" * 400),
        ],
    )
    def test_of_what_was_not_sealed_there_are_none(self, record_type, key):
        run = make_world(rows=2).run
        seals.seal_run(run_id=run.run_id, at=after_noon(100))

        with pytest.raises(NotRecorded):
            exports.prove_record(run_id=run.run_id, record_type=record_type, key=key)

    def test_of_ids_with_slashes_and_quotes(self):
        told.make_run("r")
        for name in ('a/"b', 'a\\/"b/1', "é\u2028/2"):
            told.make_token(name, "r", index=len(name))
        recorder.complete_run(run_id="r", status="failed", at=NOON)
        seals.seal_run(run_id="r", at=after_noon(100))

        for name in ('a/"b', 'a\\/"b/1', "é\u2028/2"):
            found = exports.prove_record(run_id="r", record_type="token", key=name)
            assert json.loads(found.line)["token_id"] == name

    def test_are_those_of_the_last_epoch_with_the_record(self, the_key, tmp_path):
        told.make_run("r")
        told.make_token("t", "r")
        told.make_state("t", run_id="r")
        recorder.complete_run(run_id="r", status="failed", at=NOON)
        seals.seal_run(run_id="r", at=after_noon(100))
        recorder.resume_run(run_id="r", at=after_noon(200))
        told.end_state("t@model", run_id="r")
        recorder.complete_run(run_id="r", status="failed", at=after_noon(210))
        seals.seal_run(run_id="r", at=after_noon(300))

        state = exports.prove_record(run_id="r", record_type="node_state", key="t@model")
        node = exports.prove_record(run_id="r", record_type="node", key="model")

        assert (state.epoch, node.epoch) == (2, 1)
        assert json.loads(state.line)["status"] == "completed"
        for number, found in enumerate((state, node)):
            record = unpack(exports.parcel(found), tmp_path / str(number))
            assert bare(record, "--key", the_key())["verdict"] == "VERIFIED"

    @pytest.mark.parametrize("damage", ["segments", "leaves"])
    def test_of_damaged_text_nothing_is_proven(self, damage, settings):
        run = make_world(rows=2).run
        seals.seal_run(run_id=run.run_id, at=after_noon(100))
        (path,) = (settings.LANDSCAPE_VAR / "seals" / damage).glob("*/*")
        path.write_bytes(bytes(200) if damage == "leaves" else path.read_bytes()[:20])

        with pytest.raises(CannotBeExported):
            exports.prove_record(run_id=run.run_id, record_type="run", key=run.run_id)
