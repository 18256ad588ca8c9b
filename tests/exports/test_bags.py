"""Bags: everything that was recorded is in them, and strangers' tools accept them."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from django.core.files.storage import storages
from django.core.management import CommandError, call_command
from django.db import connection

from audit import imports, recorder
from audit.errors import CannotBeExported, NotRecorded
from audit.evidence import records, seals, signing
from audit.models import Row, Run
from tests.builders import NOON, after_noon, make_world
from tests.exports.conftest import REAL, bare, unpacked
from tests.recorder import world as told
from tests.retention.worlds import LATER, make_policy, make_two, purge, record_run

pytestmark = pytest.mark.django_db(databases=["default", "owner"], transaction=True)


def counted(run_id):
    with connection.cursor() as cursor:
        found = {}
        for kind in records.RECORD_TYPES:
            cursor.execute(f'SELECT count(*) FROM "{kind.table}" WHERE run_id = %s', [run_id])
            found[kind.name] = cursor.fetchone()[0]
    return found


def contents(folder, *below):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for part in below
        for path in sorted((folder / part).rglob("*"))
        if path.is_file()
    }


class TestRealDatabases:
    @pytest.mark.parametrize(
        "path", REAL, ids=["-".join(path.parts[-3:]).removesuffix(".db") for path in REAL]
    )
    def test_are_exported_whole_and_verified_by_a_bare_python(
        self, path, export, the_key, tmp_path
    ):
        store = path.parent / "payloads"
        imports.import_file(
            unpacked(path, tmp_path),
            at=NOON,
            payload_folder=store if store.is_dir() else None,
            progress=lambda *_told: None,
        )

        assert Run.objects.exists()
        for run in Run.objects.exclude(status="running"):
            folder = export(run.run_id, csv=True, with_payloads=True).path
            archive = export(run.run_id, zipped=True).path
            for bag in (folder, archive):
                report = bare(bag, "--key", the_key(), "--strict")
                assert not report["problems"]
                assert report["verdict"] in {"VERIFIED", "VERIFIED WITH FINDINGS"}
                assert set(report["findings"]) <= {"MISSING"}
                counts = report["counts"]
                assert counts.pop("seal") == 1
                assert counts == counted(run.run_id)
            check_with_sha256sum(folder)

    def test_there_are_some(self):
        assert len(REAL) > 15 or not REAL


def check_with_sha256sum(folder):
    for manifest in ("manifest-sha256.txt", "tagmanifest-sha256.txt"):
        subprocess.run(["sha256sum", "--quiet", "--strict", "-c", manifest], cwd=folder, check=True)


class TestExportRun:
    def test_is_the_same_twice_save_for_who_asked_when(self, export):
        world = make_world(rows=3)

        first = export(world.run.run_id, csv=True, at=after_noon(100))
        second = export(world.run.run_id, csv=True, at=after_noon(99_000))
        packed = export(world.run.run_id, csv=True, zipped=True, at=after_noon(100_000))

        assert first.manifest_sha256 == second.manifest_sha256 == packed.manifest_sha256
        assert contents(first.path, "data", "tlog") == contents(second.path, "data", "tlog")
        assert contents(first.path, ".") != contents(second.path, ".")

    def test_is_the_same_after_other_runs_were_sealed(self, export):
        world, other = make_world(rows=3), make_world(rows=2)
        first = export(world.run.run_id)
        export(other.run.run_id)

        again = export(world.run.run_id)

        assert contents(first.path, "tlog") == contents(again.path, "tlog")
        assert "tlog/seal.tlog-proof" in contents(again.path, "tlog")

    def test_says_of_a_run_that_goes_on_that_it_is_provisional(self, export, the_key):
        told.make_run("r")
        told.make_token("t", "r")

        found = export("r", csv=True)
        report = bare(found.path, "--key", the_key(), "--strict")

        assert found.provisional
        assert report["verdict"] == "VERIFIED WITH FINDINGS"
        assert "still going" in report["findings"]["PROVISIONAL"]
        assert "/provisional/" in report["origin"]
        assert "PROVISIONAL" in (found.path / "README.txt").read_text()
        assert "PROVISIONAL" in (found.path / "bag-info.txt").read_text()
        assert "provisional" in found.path.name

    def test_ships_every_epoch_of_a_run_that_was_resumed(self, export, the_key, tmp_path):
        told.make_run("r")
        told.make_token("t", "r")
        told.make_state("t", run_id="r")
        recorder.complete_run(run_id="r", status="failed", at=NOON)
        first = export("r")
        recorder.resume_run(run_id="r", at=after_noon(200))
        told.end_state("t@model", run_id="r")
        told.end_token("t", run_id="r")
        recorder.complete_run(run_id="r", status="completed", at=after_noon(210))

        second = export("r", csv=True)
        earlier = str(first.path / "tlog" / "checkpoint")
        report = bare(second.path, "--key", the_key(), "--strict", "--previous", earlier)

        assert (first.epoch, second.epoch) == (1, 2)
        assert report["verdict"] == "VERIFIED"
        assert report["epochs"] == 2
        assert "the earlier checkpoint is a beginning of this one" in report["checks"]
        # What another epoch's export was signed with does not fit this one.
        for name in ("tlog/checkpoint", "attestation.dsse.json"):
            spoilt = shutil.copytree(second.path, tmp_path / name.replace("/", "-"))
            shutil.copy(first.path / name, spoilt / name)
            judged = bare(spoilt, "--key", the_key())
            assert judged["status"] == 1
            assert re.search("epoch|root|manifest", " ".join(judged["problems"]))
        # And the other way round there is nothing to compare.
        back = bare(first.path, "--key", the_key(), "--previous", second.path / "tlog/checkpoint")
        assert back["verdict"] == "FAILED"

    def test_lists_the_payloads_that_are_not_there(self, export, the_key):
        told.make_run("r")
        told.make_token("t", "r")
        recorder.complete_run(run_id="r", status="failed", at=NOON)
        whole = export("r", with_payloads=True)
        refs = sorted((whole.path / "data" / "payloads").glob("??/*"))
        assert refs
        storages["payloads"].delete(f"{refs[0].name[:2]}/{refs[0].name}")

        found = export("r", with_payloads=True)

        assert bare(whole.path, "--key", the_key())["verdict"] == "VERIFIED"
        report = bare(found.path, "--key", the_key())
        assert found.missing_payloads == 1
        assert "1 payloads are missing" in report["findings"]["MISSING"]

    def test_says_of_what_was_purged_when_by_which_policy_and_under_which_plan(
        self, export, the_key, settings
    ):
        settings.LANDSCAPE_PURGE_WAIT = 0
        planner, approver = make_two()
        record_run("r", rows=2, call=True)
        whole = export("r", with_payloads=True, at=LATER)
        make_policy(planner)
        plan = purge(planner, approver)

        found = export("r", with_payloads=True, at=LATER)

        assert bare(whole.path, "--key", the_key())["verdict"] == "VERIFIED"
        report = bare(found.path, "--key", the_key(), "--previous", whole.path / "tlog/checkpoint")
        assert (report["status"], set(report["findings"])) == (3, {"PURGED"})
        assert found.missing_payloads == plan.purged_items == 4
        absent = (found.path / "data/payloads/absent.txt").read_text().splitlines()
        lines = (found.path / "data/records/000000.jsonl").read_text().splitlines()
        told = [line for line in map(json.loads, lines) if line["record_type"] == "payload_purge"]
        assert absent == sorted(f"{line['payload_sha256']} purged" for line in told)
        assert {
            (line["purged_at"][:19], line["policy"], line["reason"], line["plan_id"])
            for line in told
        } == {
            (f"{LATER:%Y-%m-%dT%H:%M:%S}", "claims v1", "the contract says so", str(plan.plan_id))
        }

    def test_leaves_nothing_behind_when_the_sealed_text_is_damaged(self, export, settings):
        world = make_world(rows=3)
        export(world.run.run_id)
        for segment in (settings.LANDSCAPE_VAR / "seals" / "segments").rglob("*"):
            if segment.is_file():
                content = bytearray(segment.read_bytes())
                content[len(content) // 2] ^= 1
                segment.write_bytes(content)

        for zipped in (True, False):
            folder = settings.LANDSCAPE_VAR / f"out{zipped}"
            with pytest.raises(CannotBeExported):
                export(world.run.run_id, folder=folder, zipped=zipped)
            assert list(folder.iterdir()) == []

    def test_tells_how_far_it_is_and_can_be_stopped(self, export, tmp_path):
        world = make_world(rows=3)
        told = []
        found = export(world.run.run_id, progress=lambda *far: told.append(far))
        assert told[-1] == (found.checkpoint.size, found.checkpoint.size)

        def stop(_written, _of):
            raise KeyboardInterrupt

        for zipped in (True, False):
            folder = tmp_path / f"stopped{zipped}"
            with pytest.raises(KeyboardInterrupt):
                export(world.run.run_id, folder=folder, zipped=zipped, progress=stop)
            assert list(folder.iterdir()) == []

    def test_is_verified_after_a_change_of_keys_with_both(self, export, the_key):
        world = make_world(rows=1)
        export(world.run.run_id)
        old = the_key()
        signing.rotate(at=after_noon(2000), reason="test")

        bag = export(world.run.run_id, at=after_noon(3000)).path

        assert the_key() != old
        text = (bag / "README.txt").read_text()
        assert all(f"    # {key}\n" in text for key in (old, the_key()))
        assert bare(bag, "--key", old, "--key", the_key())["verdict"] == "VERIFIED"
        for only in (old, the_key()):
            assert bare(bag, "--key", only)["verdict"] == "CANNOT TELL"

    def test_never_replaces_a_bag(self, export, tmp_path):
        world = make_world(rows=1)
        export(world.run.run_id, folder=tmp_path / "out")

        with pytest.raises(CannotBeExported, match="is there already"):
            export(world.run.run_id, folder=tmp_path / "out")

    def test_knows_no_other_run(self, export):
        with pytest.raises(NotRecorded):
            export("nobody")


class TestReadme:
    @pytest.mark.parametrize("provisional", [True, False])
    def test_its_commands_accept_the_bag_and_nothing_else(self, export, tmp_path, provisional):
        told.make_run("r")
        told.make_token("t", "r")
        if not provisional:
            recorder.complete_run(run_id="r", status="failed", at=NOON)
        bag = export("r", csv=True).path
        pem = tmp_path / "key.pem"
        pem.write_text(signing.known_keys()[-1].pem)
        text = (bag / "README.txt").read_text()
        python, *foreign = [
            line[4:]
            for line in text.splitlines()
            if line.startswith("    ") and not line.startswith("    # ")
        ]
        path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"  # noqa: PTH120

        def run(commands, cwd=bag):
            return subprocess.run(
                ["sh", "-eu", "-c", "\n".join(commands)],
                cwd=cwd,
                env={"KEY": str(pem), "PEM": str(pem), "PATH": path, "TMPDIR": str(tmp_path)},
                capture_output=True,
                text=True,
                check=False,
            )

        verdict, by_hand = run([python]), run(foreign)
        assert verdict.returncode == (3 if provisional else 0), verdict.stdout
        assert by_hand.returncode == 0, by_hand.stderr
        assert by_hand.stdout.count("Signature Verified Successfully") == 2
        assert len(re.findall("^[0-9a-f]{64}$", by_hand.stdout, re.MULTILINE)) == 2
        checkpoint = bag / "tlog" / "checkpoint"
        checkpoint.write_text(checkpoint.read_text().replace("landscape", "landscapf", 1))
        assert run(foreign[:2]).returncode != 0
        assert run(foreign[2:6]).returncode != 0


class TestCommands:
    def test_export_verify_and_prove(self, tmp_path, capsys):
        world = make_world(rows=3)
        run_id = world.run.run_id

        call_command("export_run", run_id, "--out", str(tmp_path / "a"), "--csv", "--zip")
        (bag,) = (tmp_path / "a").iterdir()
        with pytest.raises(SystemExit) as ended:
            call_command("verify_export", str(bag))
        assert ended.value.code == 0
        assert "VERIFIED" in capsys.readouterr().out
        with pytest.raises(CommandError, match="nobody"):
            call_command("export_run", "nobody", "--out", str(tmp_path))

    def test_prove_writes_two_files_that_verify(self, tmp_path, the_key, export):
        world = make_world(rows=3)
        run_id = world.run.run_id
        bag = export(run_id).path
        lines = (bag / "data" / "records" / "000000.jsonl").read_bytes().splitlines()

        for index, line in enumerate(lines):
            record = json.loads(line)
            kind = records.BY_NAME[record["record_type"]]
            key = "/".join(str(record[name]) for name in kind.key)
            out = tmp_path / str(index)
            call_command("prove", run_id, kind.name, key, "--out", str(out))
            (path,) = out.glob("*.json")
            assert path.read_bytes() == line
            report = bare(path, "--key", the_key())
            assert report["verdict"] == "VERIFIED"
            assert report["record"] == index
            path.write_bytes(line.replace(b'"', b"'", 1))
            assert bare(path, "--key", the_key())["status"] == 1

    def test_prove_knows_rows_by_their_id(self, tmp_path):
        world = make_world(rows=3)
        row = Row.objects.filter(run_id=world.run.run_id).order_by("row_index").last()
        seals.seal_run(run_id=world.run.run_id, at=after_noon(100))

        call_command("prove", world.run.run_id, "row", row.row_id, "--out", str(tmp_path / "p"))

        (path,) = (tmp_path / "p").glob("*.json")
        assert json.loads(path.read_bytes())["row_id"] == row.row_id
        with pytest.raises(CommandError):
            call_command("prove", world.run.run_id, "row", "none", "--out", str(tmp_path / "q"))


class TestCsv:
    def test_is_read_by_any_reader_of_csv(self, export):
        world = make_world(rows=3)
        bag = export(world.run.run_id, csv=True).path

        found = {path.stem for path in (bag / "data" / "csv").iterdir()}
        assert found == set(records.BY_NAME)
        with (bag / "data" / "csv" / "row.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert [row["row_index"] for row in rows] == ["0", "1", "2"]
        with (bag / "data" / "csv" / "transform_error.csv").open("rb") as file:
            assert file.read().count(b"\r\n") == 1

    def test_manifest_is_what_the_attestation_names(self, export):
        world = make_world(rows=1)
        found = export(world.run.run_id)

        text = (found.path / "manifest-sha256.txt").read_bytes()

        assert hashlib.sha256(text).hexdigest() == found.manifest_sha256


class TestCost:
    def test_a_second_export_sends_the_same_statements_whatever_the_size(
        self, export, count_queries
    ):
        costs = set()
        # The proof in the log of seals costs what the length of the log asks for.
        export(make_world(rows=1).run.run_id)
        for rows in (2, 12):
            world = make_world(rows=rows)
            export(world.run.run_id)
            costs.add(count_queries(lambda run=world.run.run_id: export(run, csv=True)))

        assert len(costs) == 1
