"""The trail against its seals: whatever somebody changes past every guard is named."""

from __future__ import annotations

import re

import pytest
from django.conf import settings as live
from django.core.management import call_command

from audit import findings, recorder
from audit.evidence import comparing, lines, records, seals, sharing, store
from audit.integrity import trail
from audit.models import Finding, Run, Seal, SealCheck
from tests.builders import NOON, after_noon, make_run, make_world
from tests.recorder import world as told

pytestmark = pytest.mark.django_db(databases=["default", "owner"], transaction=True)


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


class TestDamage:
    """What was sealed is spoilt itself: that is told, and what is left still names records."""

    def file_of(self, kind):
        (path,) = (live.LANDSCAPE_VAR / "seals" / kind).glob("*/*")
        return path

    def test_of_text_leaves_the_hashes_of_its_lines(self, tamper):
        world = sealed()
        self.file_of("segments").unlink()
        row = world.rows[2]
        tamper(
            f"UPDATE rows SET source_data_hash = 'x' WHERE row_id = '{row.row_id}'",
            "DELETE FROM token_outcomes WHERE token_id = '" + world.tokens[0].token_id + "'",
        )

        report = check(world.run.run_id)

        (found,) = report.differences
        assert (found.kind.table, found.key) == ("rows", f"2/{row.row_id}")
        gone, *missed = report.broken
        assert "is gone" in gone
        assert [each.split(" of ")[1].split()[0] for each in missed] == ["rows", "token_outcomes"]
        assert set(Finding.objects.values_list("code", flat=True)) == {"SEAL_ADDED", "SEAL_BROKEN"}

    def test_of_text_alone_accuses_no_record(self):
        world = sealed()
        self.file_of("segments").write_bytes(b"")

        report = check(world.run.run_id)

        assert (report.differences, len(report.broken)) == ([], 1)

    def test_of_text_and_hashes_leaves_nothing_to_compare_with(self, tamper):
        world = sealed()
        self.file_of("segments").unlink()
        self.file_of("leaves").unlink()
        tamper("UPDATE rows SET source_data_hash = 'x'")

        report = check(world.run.run_id)

        assert not report.differences
        assert f"{report.records - 1} records cannot be compared" in report.broken[-1]

    @pytest.mark.parametrize("spoil", ["remove", "flip", "cut"])
    def test_of_hashes_does_not_stop_anything(self, spoil, tamper):
        world = sealed()
        path = self.file_of("leaves")
        content = bytearray(path.read_bytes())
        content[40] ^= 1
        path.unlink() if spoil == "remove" else path.write_bytes(
            content if spoil == "flip" else content[:-5]
        )
        tamper("UPDATE nodes SET plugin_version = '9' WHERE node_type = 'sink'")

        report = check(world.run.run_id)

        assert [each.key for each in report.differences] == [world.sink.node_id]
        assert report.broken[0].startswith("the hashes of segment")

    def test_of_spoilt_hashes_is_not_believed(self, tamper):
        """Who can spoil text can spoil hashes: they must lead to the signed root."""
        world = sealed()
        self.file_of("segments").unlink()
        path = self.file_of("leaves")
        content = bytearray(path.read_bytes())
        content[40] ^= 1
        path.write_bytes(content)

        report = check(world.run.run_id)

        assert not report.differences
        assert "does not lead to the root" in report.broken[1]
        assert "cannot be compared" in report.broken[2]

    def test_of_one_file_leaves_the_others(self, monkeypatch, tamper):
        monkeypatch.setattr(store, "SEGMENT", 256)
        monkeypatch.setattr(sharing, "SHARED_FROM", 1000)
        world = sealed(rows=120)
        segments = comparing.segments_of(Seal.objects.get())
        assert len(segments) == 3
        (live.LANDSCAPE_VAR / "seals" / store._place("segments", segments[1].sha256)).unlink()
        tamper(
            "UPDATE rows SET source_data_hash = 'x' WHERE row_index IN (3, 110)",
            "UPDATE node_states SET input_hash = 'x' WHERE step_index = 2",
            "DELETE FROM node_states WHERE step_index = 1",
        )

        report = check(world.run.run_id)

        kinds = [each.kind.table for each in report.differences]
        assert kinds.count("rows") == 2
        in_good_text = [each for each in report.differences if each.sealed]
        assert any(each.kind.table == "node_states" for each in in_good_text)
        assert report.count > 120
        assert any("node_states changed or are gone" in each for each in report.broken)

    @pytest.mark.parametrize(
        ("change", "told_of"),
        [
            ("segments_json = 'nonsense'", "segments_json of epoch 1 of"),
            ("segments_json = '[1]'", "segments_json of epoch 1 of"),
            (
                'segments_json = replace(segments_json, \'"sha256": "\', \'"sha256": "0\')',
                "is gone",
            ),
            ("segments_json = replace(segments_json, '\"crc32\": ', '\"crc32\": 1')", "otherwise"),
            (
                "segments_json = replace(segments_json, '\"records\": ', '\"records\": 1')",
                "records",
            ),
        ],
    )
    def test_of_the_list_of_files_is_named(self, change, told_of, tamper):
        world = sealed()
        tamper(f"UPDATE seals SET {change}")

        report = check(world.run.run_id)

        assert told_of in " ".join(report.broken)
        assert not report.differences

    @pytest.mark.parametrize(
        ("column", "old", "new"), [("counts", '"row":4', '"row":9'), ("schema", "row_id", "row_ix")]
    )
    def test_of_what_a_seal_says_names_the_seal_alone(self, column, old, new, tamper):
        world = sealed()
        tamper(f"UPDATE seals SET {column}_json = replace({column}_json, '{old}', '{new}')")

        (found,) = check(world.run.run_id).differences

        assert str(found).startswith(f"seals 1 has another {column}")

    def test_of_an_older_epoch_is_told_too(self, tamper):
        told.make_run("r")
        told.make_token("t")
        recorder.complete_run(run_id="r", status="failed", at=NOON)
        seals.seal_run(run_id="r", at=after_noon(100))
        recorder.resume_run(run_id="r", at=after_noon(150))
        told.end_token("t")
        recorder.complete_run(run_id="r", status="completed", at=after_noon(160))
        second = seals.seal_run(run_id="r", at=after_noon(170))
        (segment,) = comparing.segments_of(second)
        (live.LANDSCAPE_VAR / "seals" / store._place("segments", segment.sha256)).unlink()
        assert check("r").count == 0

        tamper("UPDATE nodes SET plugin_version = '9' WHERE node_type = 'gate'")

        report = check("r")
        assert [each.kind.table for each in report.differences] == ["nodes"]
        assert not report.ok


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

    def test_goes_on_behind_a_damaged_run(self, capsys, tamper):
        first, second = sealed(), sealed(rows=1)
        tamper(
            f"UPDATE seals SET segments_json = 'x' WHERE run_id = '{first.run.run_id}'",
            f"UPDATE rows SET source_data_hash = 'x' WHERE run_id = '{second.run.run_id}'",
        )

        with pytest.raises(SystemExit) as left:
            call_command("check_trail", all=True)

        said = capsys.readouterr().err
        assert left.value.code == 1
        assert "segments_json of epoch 1" in said
        assert f"rows 0/{second.rows[0].row_id} has another source_data_hash" in said

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
