"""The trail against its seals: whatever somebody changes past every guard is named."""

from __future__ import annotations

import random
import re
import shutil

import psycopg
import pytest
from django.conf import settings as live
from django.core.management import call_command

from audit import findings, imports, recorder
from audit.evidence import lines, records, seals
from audit.integrity import trail
from audit.models import AUDIT_MODELS, Finding, Run, SealCheck
from tests import audit_files
from tests.builders import NOON, after_noon, make_run, make_world
from tests.recorder import world as told

pytestmark = pytest.mark.django_db(databases=["default", "owner"], transaction=True)

MODELS = {model._meta.db_table: model for model in AUDIT_MODELS}


def sealed(rows=4):
    world = make_world(rows=rows)
    seals.seal_run(run_id=world.run.run_id, at=after_noon(100))
    return world


def check(run_id):
    return trail.check_run(run_id=run_id, at=after_noon(200))


class TestCheckRun:
    def test_is_content_with_what_was_sealed(self):
        world = sealed()

        report = check(world.run.run_id)

        assert report.ok
        assert (report.epoch, report.pending) == (1, 0)
        assert list(SealCheck.objects.values_list("records", "differences")) == [
            (report.records, 0)
        ]
        assert not Finding.objects.exists()

    def test_names_a_changed_record_with_both_texts(self, tamper):
        world = sealed()
        row = world.rows[2]
        tamper(f"UPDATE rows SET source_data_hash = 'x' WHERE row_id = '{row.row_id}'")

        report = check(world.run.run_id)

        (found,) = report.differences
        assert str(found) == f"rows 2/{row.row_id} has another source_data_hash"
        assert row.source_data_hash.encode() in found.sealed
        assert b'"source_data_hash":"x"' in found.current
        finding = Finding.objects.get()
        assert (finding.code, finding.level, finding.table_name, finding.record_key) == (
            "SEAL_CHANGED",
            "error",
            "rows",
            f"2/{row.row_id}",
        )
        assert f'was sealed as "{row.source_data_hash}" and is "x"' in finding.detail

    def test_names_what_is_gone_and_what_was_added(self, tamper):
        world = sealed()
        token, other = world.tokens[:2]
        tamper(
            f"DELETE FROM token_outcomes WHERE token_id = '{token.token_id}'",
            "INSERT INTO calls (run_id, call_id, state_id, call_index, call_type, status, "
            "request_hash, created_at) SELECT run_id, 'new', state_id, 0, 'llm', 'success', '', "
            f"started_at FROM node_states WHERE token_id = '{other.token_id}' LIMIT 1",
        )

        report = check(world.run.run_id)

        assert [str(each)[-14:] for each in report.differences] == [
            str(report.differences[0])[-14:],
            "was not sealed",
        ]
        assert [each.kind.name for each in report.differences] == ["token_outcome", "call"]
        assert set(Finding.objects.values_list("code", flat=True)) == {"SEAL_GONE", "SEAL_ADDED"}

    def test_names_two_records_that_changed_places(self, tamper):
        world = sealed()
        one, two = world.rows[:2]
        tamper(
            f"UPDATE rows SET row_index = 99 WHERE row_id = '{one.row_id}'",
            f"UPDATE rows SET row_index = 0 WHERE row_id = '{two.row_id}'",
            f"UPDATE rows SET row_index = 1 WHERE row_id = '{one.row_id}'",
        )

        report = check(world.run.run_id)

        # The index is part of the key: two are gone, two were added.
        assert report.count == 4
        assert {each.key for each in report.differences} == {
            f"{index}/{row.row_id}" for index in (0, 1) for row in (one, two)
        }

    def test_names_a_grade_that_was_changed(self, tamper):
        world = sealed()
        tamper("UPDATE runs SET reproducibility_grade = 'full_reproducible'")

        report = check(world.run.run_id)

        assert "reproducibility_grade is full_reproducible, and None was sealed" in report.broken[0]

    def test_counts_what_is_beyond_the_list(self, tamper):
        world = sealed(rows=80)
        tamper("UPDATE node_states SET input_hash = 'x'")

        report = check(world.run.run_id)

        assert (report.count, len(report.differences)) == (160, 100)
        assert Finding.objects.count() == 101
        assert sum(Finding.objects.values_list("occurrences", flat=True)) == 160

    def test_takes_its_findings_back_and_leaves_others_alone(self, tamper):
        world = sealed()
        other = findings.Found("Q09", "info", "rows", "", "kept")
        findings.replace_for_run(run_id=world.run.run_id, found=[other], at=NOON)
        tamper("UPDATE runs SET config_hash = 'x'")
        assert not check(world.run.run_id).ok
        tamper(f"UPDATE runs SET config_hash = '{world.run.config_hash}'")

        assert check(world.run.run_id).ok
        assert list(Finding.objects.values_list("code", flat=True)) == ["Q09"]

    @pytest.mark.parametrize(
        ("statement", "told_of"),
        [
            ("UPDATE seals SET root = repeat('0', 64)", "another tree"),
            ("UPDATE seals SET size = size + 1", "another tree"),
            ("UPDATE seals SET checkpoint = replace(checkpoint, '/run/', '/ruN/')", "wrong"),
            ("UPDATE seals SET checkpoint = ''", "blank line"),
            ("UPDATE seals SET segments_json = '[]'", "does not lead"),
            ("DELETE FROM key_events", "no known key"),
        ],
    )
    def test_names_a_seal_that_was_tampered_with(self, statement, told_of, tamper):
        world = sealed()
        tamper(statement)

        report = check(world.run.run_id)

        assert told_of in report.broken[0]
        assert Finding.objects.get().code == "SEAL_BROKEN"

    @pytest.mark.parametrize("column", ["reason = 'imported'", "sealed_at = now()"])
    def test_names_what_a_seal_says_of_itself(self, column, tamper):
        world = sealed()
        tamper(f"UPDATE seals SET {column}")

        (found,) = check(world.run.run_id).differences

        assert str(found).startswith("seals 1 has another")

    @pytest.mark.parametrize("spoil", ["remove", "empty", "flip", "exchange"])
    def test_names_sealed_text_that_was_damaged(self, spoil):
        world = sealed()
        (path,) = (live.LANDSCAPE_VAR / "seals" / "segments").glob("*/*")
        content = bytearray(path.read_bytes())
        if spoil == "remove":
            path.unlink()
        elif spoil == "exchange":
            other = sealed()
            del other
            (another,) = set((live.LANDSCAPE_VAR / "seals" / "segments").glob("*/*")) - {path}
            path.write_bytes(another.read_bytes())
        else:
            content[len(content) // 2] ^= 1
            path.write_bytes(b"" if spoil == "empty" else bytes(content))

        report = check(world.run.run_id)

        assert re.search("segment|does not lead to the root", report.broken[0])
        assert not report.ok

    def test_uses_the_columns_that_were_sealed(self, monkeypatch, tamper):
        """A column that came later is not sealed, and does no harm."""
        fewer = tuple(
            records._type("row", "rows", "row_index row_id", "row_id row_index:int64")
            if kind.name == "row"
            else kind
            for kind in records.RECORD_TYPES
        )
        with monkeypatch.context() as patch:
            patch.setattr(records, "RECORD_TYPES", fewer)
            patch.setattr(lines, "RECORD_TYPES", fewer)
            world = sealed()
        assert check(world.run.run_id).ok

        tamper("UPDATE rows SET source_data_hash = 'x'")

        assert check(world.run.run_id).ok

    def test_says_nothing_about_a_run_without_seal(self):
        run = make_run()

        report = check(run.run_id)

        assert (report.epoch, report.ok) == (None, True)
        assert not SealCheck.objects.exists()

    def test_costs_the_same_statements_at_two_sizes(self, count_queries):
        small, large = sealed(rows=1), sealed(rows=50)

        costs = {count_queries(lambda w=w: check(w.run.run_id)) for w in (small, large)}

        assert len(costs) == 1


class TestRunsThatGoOn:
    def failed(self):
        told.make_run("r")
        told.make_token("t")
        told.make_state("t")
        recorder.complete_run(run_id="r", status="failed", at=NOON)
        seals.seal_run(run_id="r", at=after_noon(100))

    def test_may_add_after_a_resume(self):
        self.failed()
        recorder.resume_run(run_id="r", at=after_noon(150))
        told.end_state("t@model")

        report = check("r")

        assert report.ok
        assert report.pending == 3  # the run itself, its event, the state

    def test_may_not_change_what_had_ended(self, tamper):
        self.failed()
        recorder.resume_run(run_id="r", at=after_noon(150))
        tamper("UPDATE node_states SET input_hash = 'x'", "DELETE FROM edges WHERE label = 'small'")

        report = check("r")

        assert sorted(each.kind.name for each in report.differences) == ["edge", "node_state"]

    def test_are_compared_with_every_epoch(self, tamper):
        self.failed()
        recorder.resume_run(run_id="r", at=after_noon(150))
        told.end_state("t@model")
        told.end_token("t")
        recorder.complete_run(run_id="r", status="completed", at=after_noon(160))
        seals.seal_run(run_id="r", at=after_noon(170))
        assert check("r").ok
        assert check("r").pending == 0

        tamper("UPDATE node_states SET output_hash = 'x'", "UPDATE nodes SET plugin_version = '9'")

        report = check("r")
        assert report.count == 1 + len(told.PLUGINS)
        assert not report.pending


class TestMutations:
    """A superuser edits any column, deletes, inserts or swaps: found and located, each time."""

    @pytest.fixture
    def run_id(self, tmp_path):
        if not audit_files.DATA.is_dir():
            pytest.skip("needs the real databases")
        shutil.copy(audit_files.DATA / "era-a" / "fork_coalesce" / "audit.db", tmp_path)
        report = imports.import_file(
            tmp_path / "audit.db", at=NOON, payload_folder=None, progress=lambda *_told: None
        )
        run = max(report.runs, key=lambda each: sum(each.records.values()))
        seals.seal_run(run_id=run.run_id, at=after_noon(100))
        return run.run_id

    def test_are_all_found(self, run_id, rounds, tamper):
        chance = random.Random(5)
        kinds = [kind for kind in records.RECORD_TYPES if MODELS[kind.table].objects.exists()]
        left = rounds(600)
        while left:
            kind = chance.choice(kinds)
            record = chance.choice(list(MODELS[kind.table].objects.filter(run_id=run_id).values()))
            statement = self.mutation(kind, record, chance)
            try:
                tamper(statement)
            except psycopg.errors.IntegrityError:
                continue  # a rule of the table itself: try another one
            left -= 1

            report = check(run_id)

            assert [each.kind.table for each in report.differences] == [kind.table], statement
            assert str(record[kind.key[-1]]) in report.differences[0].key
            kept = Finding.objects.filter(level="error", table_name=kind.table).count()
            # A finding belongs to a run: there is none where that very record is gone.
            assert kept == Run.objects.filter(run_id=run_id).count()
            self.put_back(kind, record, tamper)
        assert check(run_id).ok

    def mutation(self, kind, record, chance):
        """Remove one record, or change one column of it."""
        where = self.where(kind, record)
        if chance.random() < 0.2:
            return f'DELETE FROM "{kind.table}" WHERE {where}'
        forms = {name: form for name, form in kind.columns if name not in {"run_id", *kind.key}}
        name = chance.choice(list(forms))
        other = {
            "string": "left(coalesce({0}, ''), 31) || 'x'",
            "json_text": "coalesce({0}, '') || ' '",
            "integer": "coalesce({0}, 0) + 1",
            "int64": "coalesce({0}, 0) + 1",
            "double": "coalesce({0}, 0) + 0.001",
            "boolean": "NOT {0}",
            "timestamp": "coalesce({0}, now()) + interval '1 microsecond'",
        }[forms[name]].format(f'"{name}"')
        if record[name] is not None and chance.random() < 0.2:
            other = "NULL"
        return f'UPDATE "{kind.table}" SET "{name}" = {other} WHERE {where}'

    def where(self, kind, record):
        parts = {name: record[name] for name in ("run_id", *kind.key)}
        return " AND ".join(f"\"{name}\" = '{value}'" for name, value in parts.items())

    def put_back(self, kind, record, tamper):
        names = ", ".join(f'"{name}"' for name in record)
        marks = ", ".join(["%s"] * len(record))
        tamper(
            f'DELETE FROM "{kind.table}" WHERE {self.where(kind, record)}',
            (f'INSERT INTO "{kind.table}" ({names}) VALUES ({marks})', list(record.values())),
        )

    def test_are_never_imagined(self, rounds):
        """No false alarm on clean runs."""
        for rows in range(rounds(50)):
            world = sealed(rows=rows % 7 + 1)
            assert check(world.run.run_id).ok


class TestTheCommand:
    def test_exits_with_nothing_to_say(self, capsys):
        first, second = sealed(), sealed()

        call_command("check_trail", first.run.run_id)
        call_command("check_trail", all=True)

        said = capsys.readouterr().out
        assert f"run {second.run.run_id}: " in said
        assert "2 runs and the seal log match what was signed." in said

    def test_names_what_differs(self, capsys, tamper):
        world = sealed()
        tamper("UPDATE nodes SET plugin_name = e'\\x1b[31mred' WHERE node_type = 'sink'")

        with pytest.raises(SystemExit) as left:
            call_command("check_trail", world.run.run_id)

        said = capsys.readouterr().err
        assert left.value.code == 1
        assert f"nodes {world.sink.node_id} has another plugin_name" in said
        assert '"plugin_name": "output"' in said
        assert "\\u001b[31mred" in said
        assert "\x1b" not in said

    def test_names_a_log_that_was_tampered_with(self, capsys, tamper):
        sealed()
        tamper("UPDATE seal_log SET leaf_text = 'x'")

        with pytest.raises(SystemExit):
            call_command("check_trail", all=True)

        assert "seal log: leaf 0" in capsys.readouterr().err

    def test_says_that_there_is_no_seal(self, capsys):
        run = make_run()

        with pytest.raises(SystemExit) as left:
            call_command("check_trail", run.run_id)

        assert left.value.code == 2
        assert "never sealed" in capsys.readouterr().err
        assert Run.objects.count() == 1
