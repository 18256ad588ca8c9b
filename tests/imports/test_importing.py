"""What gets in: everything, byte for byte, once; and a run that was still going when last seen."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import threading
from collections import Counter
from datetime import UTC, datetime

import pytest
import zstandard
from django.core.management import call_command
from django.db import connection, transaction

from audit import summaries
from audit.imports import loading
from audit.imports.mapping import tables_of
from audit.imports.reading import opened
from audit.models import (
    AUDIT_MODELS,
    ArtifactMember,
    Finding,
    Import,
    NodeState,
    Payload,
    Row,
    Run,
    RunSummary,
)
from tests import audit_files
from tests.imports.conftest import stored

REAL = sorted(audit_files.DATA.glob("era-[ab]/**/*.db*")) if audit_files.DATA.is_dir() else []


def unpacked(path, tmp_path):
    if path.suffix != ".zst":
        return path
    target = tmp_path / path.stem
    with path.open("rb") as reader, target.open("wb") as writer:
        zstandard.ZstdDecompressor().copy_stream(reader, writer)
    return target


def counts_in(path) -> dict[str, dict[str, int]]:
    """Records by run and table, counted in the file by the importer's own idea of a run."""
    with opened(path) as source:
        return {
            run_id: {
                table.name: count
                for table in tables_of(source)
                if (
                    count := source.query(
                        f'SELECT count(*) FROM "{table.name}" WHERE {table.of_run()}', run=run_id
                    ).fetchone()[0]
                )
            }
            for run_id in source.run_ids
        }


@pytest.mark.django_db
class TestFigures:
    def test_of_a_big_run_are_left_to_the_worker(self, do_import, monkeypatch, tmp_path):
        monkeypatch.setattr(loading, "COUNTED_AT_ONCE", 10)
        path = unpacked(audit_files.DATA / "era-a" / "calls" / "audit.db", tmp_path)

        (run,) = do_import(path).runs

        assert not RunSummary.objects.exists()
        assert summaries.due(limit=None) == [run.run_id]


@pytest.mark.django_db
class TestRealDatabases:
    @pytest.mark.parametrize(
        "path", REAL, ids=["-".join(path.parts[-3:]).removesuffix(".db") for path in REAL]
    )
    def test_come_in_whole_and_only_once(self, path, tmp_path, do_import):
        path = unpacked(path, tmp_path)
        with contextlib.closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as plain:
            totals = {
                model._meta.db_table: plain.execute(
                    f'SELECT count(*) FROM "{model._meta.db_table}"'
                ).fetchone()[0]
                for model in AUDIT_MODELS
                if plain.execute(
                    "SELECT 1 FROM sqlite_master WHERE name = ?", (model._meta.db_table,)
                ).fetchone()
            }

        first = do_import(path)
        held = stored()
        second = do_import(path)

        assert {run.outcome for run in first.runs} == {"imported"}
        assert {run.outcome for run in second.runs} == {"already_present"}
        assert {table: held.get(table, 0) for table in totals} == totals
        assert {run.run_id: run.records for run in first.runs} == counts_in(path)
        assert stored() == held

    def test_keep_every_value(self, do_import, tmp_path):
        path = tmp_path / "copy.db"
        shutil.copy(audit_files.DATA / "era-b" / "error_routing" / "audit.db", path)
        do_import(path)

        with opened(path) as source:
            for table in tables_of(source):
                columns = ", ".join(f'"{column}"' for column in table.columns)
                theirs = source.query(table.select(), run=source.run_ids[0]).fetchall()
                with connection.cursor() as cursor:
                    cursor.execute(f'SELECT {columns} FROM "{table.name}"')
                    ours = [tuple(map(as_in_sqlite, row)) for row in cursor.fetchall()]
                assert Counter(ours) == Counter(theirs), table.name

    @pytest.mark.parametrize(
        ("name", "codes"),
        [
            ("era-a/agg_passthrough", {"Q01": 1, "Q07": 3, "Q14": 1, "Q23": 3}),
            ("era-a/deaggregation", {"Q02": 2, "Q09": 1}),
            ("era-a/fork_coalesce", {"Q03": 24, "Q10": 48, "Q17": 2}),
            ("era-a/quarantine", {"Q04": 5}),
            ("era-a/retries", {"Q18": 1}),
            ("era-a/threshold_gate", {"Q05": 8, "Q06": 2}),
            ("era-b/threshold_gate", {"Q06": 2, "Q07": 4}),
        ],
    )
    def test_show_the_habits_of_their_era(self, name, codes, do_import):
        report = do_import(audit_files.DATA / name / "audit.db")

        found = Counter()
        for run in report.runs:
            found.update(run.findings)
        assert {code: found[code] for code in codes} == codes
        assert not Finding.objects.filter(level="error").exists()

    def test_of_the_recorder_s_edges_show_what_is_wrong(self, do_import):
        report = do_import(audit_files.DATA / "era-a" / "recorder_edges" / "audit.db")

        assert report.runs[0].findings["TOKEN_WITHOUT_OUTCOME"] == 2
        assert report.runs[0].findings["OPEN_IN_COMPLETED_RUN"] == 2
        assert report.runs[1].findings == {"Q24": 1}

    def test_keep_their_payloads_and_tell_lost_and_changed_ones(
        self, do_import, tmp_path, settings
    ):
        real = audit_files.DATA / "era-a" / "fork_coalesce"
        folder = tmp_path / "payloads"
        shutil.copytree(real / "payloads", folder, copy_function=shutil.copyfile)
        for each in (folder, *folder.glob("*")):
            each.chmod(0o755)  # the originals are read-only, and so is their copy at first
        blobs = sorted(folder.glob("*/*"))
        blobs[0].unlink()
        blobs[1].write_bytes(b"something else")

        report = do_import(real / "audit.db", payload_folder=folder)

        states = Counter(Payload.objects.values_list("state", flat=True))
        assert states == {"available": len(blobs) - 2, "missing": 1, "corrupted": 1}
        assert report.runs[0].findings["PAYLOAD_MISSING"] == 1
        assert report.runs[0].findings["PAYLOAD_CORRUPTED"] == 1
        kept = sorted((settings.LANDSCAPE_VAR / "payloads").glob("*/*"))
        assert [each.name for each in kept] == [each.name for each in blobs[2:]]

    def test_link_each_artifact_to_every_token_of_its_write(self, do_import):
        do_import(audit_files.DATA / "era-a" / "threshold_gate" / "audit.db")

        members = ArtifactMember.objects.values_list("artifact_id", "inferred")
        by_artifact = Counter(artifact for artifact, _inferred in members)
        recorded = Counter(artifact for artifact, inferred in members if not inferred)
        assert sum(by_artifact.values()) == 8
        assert set(recorded.values()) == {1}


def as_in_sqlite(value):
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
    return int(value) if isinstance(value, bool) else value


@pytest.mark.django_db
class TestARunThatWasStillGoing:
    def grown(self, make_file, *, rows=3, more=2, status="completed"):
        """A file with a running run, and the same file after more of it was written."""
        early = make_file("early.db", rows=rows, status="running")
        late = early.with_name("late.db")
        shutil.copy(early, late)
        writer = sqlite3.connect(late, isolation_level=None)
        audit_files.write_run(writer, run_id="one", rows=more, first_row=rows, status=status)
        return early, late, writer

    def test_grows(self, make_file, do_import):
        early, late, _writer = self.grown(make_file)
        do_import(early)

        report = do_import(late)

        assert report.runs[0].outcome == "extended"
        assert Row.objects.count() == 5
        assert Run.objects.get().status == "completed"
        assert RunSummary.objects.get().rows == 5

    def test_ends_where_a_single_import_of_the_end_would(self, make_file, do_import):
        early, late, _writer = self.grown(make_file)
        with transaction.atomic():
            do_import(late)
            at_once = everything()
            transaction.set_rollback(True)
        assert stored() == {}

        do_import(early)
        do_import(late)

        assert everything() == at_once

    def test_does_not_shrink(self, make_file, do_import):
        early, late, _writer = self.grown(make_file, status="running")
        do_import(late)

        report = do_import(early)

        assert report.runs[0].outcome == "refused"
        assert {each["code"] for each in report.runs[0].problems} == {"RUN_CONFLICT"}
        assert Row.objects.count() == 5

    def test_lets_open_visits_end_and_no_others_change(self, make_file, do_import):
        def reopen(connection):
            connection.execute(
                "UPDATE node_states SET status = 'open', output_hash = NULL, duration_ms = NULL, "
                "completed_at = NULL WHERE rowid = 3"
            )

        early = make_file("early.db", status="running", spoil=reopen)
        late = make_file("late.db", status="running")
        forged = make_file(
            "forged.db",
            status="running",
            spoil=lambda c: c.execute(f"UPDATE node_states SET output_hash = '{'0' * 64}'"),
        )
        do_import(early)
        assert NodeState.objects.filter(status="open").count() == 1

        assert do_import(late).runs[0].outcome == "extended"
        assert NodeState.objects.filter(status="open").count() == 0
        assert do_import(forged).runs[0].outcome == "refused"
        assert not NodeState.objects.filter(output_hash="0" * 64).exists()


@pytest.mark.django_db
class TestTheSameRunFromAnotherFile:
    def test_is_known_by_its_content(self, make_file, do_import):
        path = make_file()
        do_import(path)
        with contextlib.closing(sqlite3.connect(path)) as copy:
            copy.execute("VACUUM")
            copy.execute("PRAGMA application_id = 7")

        report = do_import(path)

        assert report.runs[0].outcome == "already_present"
        assert Import.objects.count() == 2

    def test_is_refused_where_it_differs(self, make_file, do_import):
        do_import(make_file("one.db"))
        other = make_file(
            "two.db", spoil=lambda c: c.execute("UPDATE runs SET settings_json = '{}'")
        )

        report = do_import(other)

        assert report.runs[0].outcome == "refused"
        assert report.runs[0].problems[0]["message"] == "runs one differs from what is on record"

    def test_takes_no_new_records_into_a_run_that_ended(self, make_file, do_import):
        do_import(make_file("one.db", rows=3))

        report = do_import(make_file("two.db", rows=4))

        assert report.runs[0].outcome == "refused"
        assert any(
            "the run on record has ended" in each["message"] for each in report.runs[0].problems
        )
        assert Row.objects.count() == 3

    def test_may_bring_a_later_export_status(self, make_file, do_import):
        do_import(make_file("one.db"))
        later = make_file(
            "two.db", spoil=lambda c: c.execute("UPDATE runs SET export_status = 'completed'")
        )

        assert do_import(later).runs[0].outcome == "extended"
        assert Run.objects.get().export_status == "completed"


@pytest.mark.django_db(transaction=True)
def test_two_importers_of_one_file_bring_it_once(make_file, do_import):
    path = make_file(rows=200)
    outcomes = []

    def work():
        outcomes.append(do_import(path).runs[0].outcome)
        connection.close()

    threads = [threading.Thread(target=work) for _each in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == ["already_present", "already_present", "imported"]
    assert Row.objects.count() == 200


@pytest.mark.django_db
class TestTheCommand:
    def test_prints_one_report(self, make_file, capsys):
        good = make_file("good.db", runs=("one", "two"))
        bad = make_file("bad.db", runs=("three",), spoil=lambda c: c.execute("DELETE FROM edges"))

        with pytest.raises(SystemExit) as ended:
            call_command("import_audit", str(good), str(bad), str(good) + "x", "--json")

        report = json.loads(capsys.readouterr().out)
        assert ended.value.code == 1
        assert not report["ok"]
        assert [(run["run_id"], run["outcome"]) for run in report["runs"]] == [
            ("one", "imported"),
            ("two", "imported"),
            ("three", "refused"),
        ]
        assert report["runs"][0]["records"]["rows"] == 4
        assert report["runs"][0]["findings"]["Q01"] == 1
        assert report["runs"][2]["problems"][0]["table"] == "routing_events"
        assert "does not exist" in report["files"][2]["error"]

    def test_speaks_plainly_without_a_terminal(self, make_file, capsys):
        path = make_file(spoil=lambda c: c.execute("UPDATE calls SET status = 'perhaps'"))

        with pytest.raises(SystemExit):
            call_command("import_audit", str(path))

        told = capsys.readouterr()
        assert f"importing {path}" in told.err
        assert "calls" in told.err
        assert "refused, 0 records" in told.out

    def test_exits_2_for_a_payload_folder_that_is_none(self, make_file):
        with pytest.raises(SystemExit) as ended:
            call_command("import_audit", str(make_file()), "--payloads", "/nowhere")

        assert ended.value.code == 2


def everything() -> dict[str, list[dict[str, object]]]:
    """All that is stored but times of import and generated keys."""
    own = {"import_id", "finding_id", "imported_at", "found_at", "computed_at"}
    models = (*AUDIT_MODELS, Finding, RunSummary)
    return {
        model._meta.db_table: sorted(
            (
                {name: value for name, value in row.items() if name not in own}
                for row in model.objects.values()
            ),
            key=repr,
        )
        for model in models
    }
