"""Lines out of PostgreSQL against a reference that writes them in Python alone."""

from __future__ import annotations

import shutil
import tracemalloc
from datetime import UTC, datetime, timedelta

import pytest
from django.apps import apps
from django.db import connection, models, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.errors import CannotBeSealed
from audit.evidence import lines, records
from audit.models import SEALED_MODELS, NodeState, Run, SecretResolution
from audit.recorder import guards
from tests import audit_files
from tests.builders import NOON, make_run, make_world

MODELS = {model._meta.db_table: model for model in SEALED_MODELS}
KINDS = records.RECORD_TYPES
FORMS = {
    models.BooleanField: "boolean",
    models.FloatField: "double",
    models.BigIntegerField: "int64",
    models.IntegerField: "integer",
    models.DateTimeField: "timestamp",
}
REAL = sorted(audit_files.DATA.glob("era-*/*/audit.db"))


def written(run_id, kinds=KINDS):
    """What comes out of PostgreSQL."""
    with lines.snapshot():
        return [line for kind in kinds for line in lines.lines(kind, run_id)]


def reference(run_id, kinds=KINDS):
    """The same in Python: through the models, and rfc8785."""
    return [
        lines.line_of(kind, record)
        for kind in kinds
        for record in MODELS[kind.table]
        .objects.filter(run_id=run_id)
        .order_by(*kind.key)
        .values(*(name for name, _form in kind.columns))
    ]


class TestRecordTypes:
    def test_are_there_for_every_audit_table(self):
        """A table of the trail without a record type would silently stay unsealed."""
        assert {kind.table for kind in KINDS} == set(MODELS)
        assert len({kind.name for kind in KINDS}) == len(KINDS)

    @pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
    def test_have_every_column_in_its_form(self, kind):
        expected = {
            field.column: FORMS.get(type(field))
            or ("json_text" if field.column.endswith("_json") else "string")
            for field in MODELS[kind.table]._meta.concrete_fields
            if field.column not in records.VOLATILE.get(kind.table, set())
        }

        assert dict(kind.columns) == expected
        assert len(kind.columns) == len(expected)

    @pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
    def test_have_a_key_that_the_database_holds_unique(self, kind):
        model = MODELS[kind.table]
        rules = [
            set(rule.fields)
            for rule in model._meta.constraints
            if isinstance(rule, models.UniqueConstraint) and rule.condition is None
        ]
        rules.append({field.name for field in model._meta.pk_fields})

        assert any(rule <= {"run_id", *kind.key} for rule in rules)

    def test_know_what_may_change_while_a_record_is_open(self):
        for kind in KINDS:
            model = MODELS[kind.table]
            late = set(records.VOLATILE.get(kind.table, set()))
            assert set(kind.mutable) == set(guards.MUTABLE_COLUMNS.get(model, ())) - late
            starts = {start for start, _end in guards.TRANSITIONS.get(model, ())}
            assert set(kind.open_words) == starts

    def test_describe_themselves_in_leaf_order(self):
        schema = records.schema_bytes().decode()

        assert schema.startswith('{"format":"landscape-export/1","types":[{"columns":[["run_id"')
        assert schema.index('"name":"seal"') < schema.index('"name":"run"')


HOSTILE = [
    *(chr(code) for code in range(1, 0x180)),
    "\u2028\u2029",
    "\ufeff",
    "\uffff",
    "\U0001f600\U0010ffff",
    "e\u0301 against \u00e9",
    "\\N",
    "\\.",
    "\r\n",
    "",
    "=1+1",
    "'quoted",
    '"',
    "\\",
    "\x7f",
    "!",
    '{"a":1}',
]
NUMBERS = [0.0, -0.0, 1.0, 1e-4, 1e-5, 1e-6, 1e-7, 1e15, 1e16, 1e21, 5e-324, 1.7976931348623157e308]
NUMBERS += [2.0**53 - 1, 2.0**53, 2.0**53 + 2, 0.30000000000000004, 123456789012345.6, -1e-5]
NUMBERS += [999999999999999.9, 9.999999999999999e-05, float("nan"), float("inf"), float("-inf")]
MOMENTS = [
    NOON,
    NOON + timedelta(microseconds=1),
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(2026, 3, 29, 1, 30, tzinfo=UTC),
]


@pytest.mark.django_db(transaction=True)
class TestLines:
    def test_are_those_of_the_reference(self):
        world = make_world(rows=5)

        assert written(world.run.run_id) == reference(world.run.run_id)

    def test_of_hostile_text_numbers_and_times_are_those_of_the_reference(self):
        world = make_world(rows=1, settings_json="".join(HOSTILE))
        texts = [*HOSTILE, *(f"{each}tail" for each in HOSTILE)]
        SecretResolution.objects.bulk_create(
            SecretResolution(
                run_id=world.run.run_id,
                resolution_id=f"{index:05}",
                timestamp=NUMBERS[index % len(NUMBERS)],
                env_var_name=text,
                source=text[::-1],
                vault_url=None if index % 3 else text,
                fingerprint="",
                resolution_latency_ms=None if index % 2 else NUMBERS[-index % len(NUMBERS)],
            )
            for index, text in enumerate(texts)
        )
        for index, moment in enumerate(MOMENTS):
            make_run(run_id=f"at {index}", started_at=moment)

        assert written(world.run.run_id) == reference(world.run.run_id)
        for index in range(len(MOMENTS)):
            assert written(f"at {index}") == reference(f"at {index}")

    @settings(
        max_examples=150,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(
        text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
        number=st.floats() | st.floats(allow_nan=False, min_value=0, max_value=1e6),
        moment=st.datetimes(timezones=st.just(UTC)),
    )
    def test_of_any_value_are_those_of_the_reference(self, text, number, moment):
        with transaction.atomic():
            run_id = f"r{SecretResolution.objects.count()}"
            make_run(run_id=run_id, settings_json=text, started_at=moment)
            SecretResolution.objects.create(
                run_id=run_id,
                resolution_id="one",
                timestamp=number,
                env_var_name=text,
                source="",
                fingerprint="",
                resolution_latency_ms=number,
            )

        assert written(run_id) == reference(run_id)

    @pytest.mark.parametrize("path", REAL, ids=lambda path: f"{path.parts[-3]}/{path.parts[-2]}")
    def test_of_real_runs_are_those_of_the_reference(self, path, tmp_path):
        import_copy(path, tmp_path)

        for run in Run.objects.all():
            told = written(run.run_id)
            assert told == reference(run.run_id)
            assert len(told) == sum(lines.count_records(run.run_id).values())

    def test_of_one_record_are_found_by_its_key(self):
        world = make_world(rows=3)
        kind = records.BY_NAME["row"]

        with lines.snapshot():
            (line,) = lines.lines(kind, world.run.run_id, where={"row_index": 1})

        assert line == reference(world.run.run_id, [kind])[1]

    def test_do_not_depend_on_the_session(self):
        world = make_world(rows=1)
        expected = written(world.run.run_id)
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET TimeZone = 'Asia/Tokyo'")
                cursor.execute("SET extra_float_digits = 0")
                cursor.execute("SET DateStyle = 'German'")

            assert written(world.run.run_id) == expected
        finally:
            connection.close()

    @pytest.mark.parametrize("year", ["10000-01-01", "0044-03-15 BC"])
    def test_with_a_time_without_form_are_refused_where_they_must_be_right(self, year):
        world = make_world(rows=1)
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO run_events VALUES (%s, 'e', 'resumed', %s, NULL)",
                [world.run.run_id, year],
            )
        kind = records.BY_NAME["run_event"]

        (line,) = written(world.run.run_id, [kind])
        assert year.split("-")[0].encode() in line
        with (
            pytest.raises(CannotBeSealed, match=f"run_event e has recorded_at {year[:5]}"),
            lines.snapshot(),
        ):
            list(lines.lines(kind, world.run.run_id, strict=True))

    def test_need_one_statement_a_type_and_the_memory_of_a_line(self, count_queries):
        world = make_world(rows=1)
        costs, peaks = set(), []
        for rows in (0, 4_000):
            NodeState.objects.bulk_create(
                NodeState(
                    run_id=world.run.run_id,
                    state_id=f"x{index:06}",
                    token_id=world.tokens[0].token_id,
                    node_id=world.transform.node_id,
                    step_index=index + 10,
                    attempt=index + 1,
                    status="open",
                    input_hash="",
                    context_before_json="x" * 500,
                    started_at=NOON,
                )
                for index in range(rows)
            )

            def read():
                with lines.snapshot():
                    for kind in KINDS:
                        for _line in lines.lines(kind, world.run.run_id):
                            pass

            costs.add(count_queries(read))
            tracemalloc.start()
            read()
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()

        assert len(costs) == 1
        assert peaks[1] < peaks[0] * 1.5 + 100_000


@pytest.mark.django_db(transaction=True)
class TestSnapshot:
    def test_cannot_be_part_of_another_transaction(self):
        with transaction.atomic(), pytest.raises(RuntimeError), lines.snapshot():
            pass  # pragma: no cover


def import_copy(path, tmp_path):
    """Import a real file; a copy, for it must not be opened where it lies."""
    from audit import imports

    copy = tmp_path / "audit.db"
    for each in path.parent.glob("audit.db*"):
        shutil.copy(each, tmp_path / each.name)
    report = imports.import_file(copy, at=NOON, payload_folder=None, progress=lambda *_told: None)
    assert report.ok, report
    return [run.run_id for run in report.runs]


def test_every_model_of_the_evidence_is_described():
    for model in (apps.get_model("audit", name) for name in ("Seal", "SealLogEntry", "KeyEvent")):
        assert model.__doc__
