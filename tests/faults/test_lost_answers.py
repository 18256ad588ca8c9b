"""An answer that is lost on the way, the one to COMMIT too: telling it again doubles nothing."""

from __future__ import annotations

import copy
from collections import Counter
from pathlib import Path

import pytest
from django.db import connection, transaction

from audit import recorder
from audit.errors import DatabaseUnavailable
from audit.models import AUDIT_MODELS
from audit.recorder.guards import TRANSITIONS
from tests.faults.line import Line
from tests.recorder.test_every_event import EVENTS
from tests.recorder.world import NOON, end_state, make_row, make_run, make_state

pytestmark = [pytest.mark.faults, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def line(settings, tmp_path, monkeypatch):
    settings.LANDSCAPE_VAR = tmp_path / "var"
    connection.close()
    line = Line(tmp_path / "line", Path(connection.settings_dict["HOST"]))
    monkeypatch.setitem(connection.settings_dict, "HOST", str(line.folder))
    yield line
    connection.close()
    line.close()


def populate(run_id):
    """What every event needs."""
    make_run(run_id)
    for index, name in enumerate(("t", "u")):
        row = make_row(run_id, index, row_id=f"row-{name}")
        recorder.create_token(run_id=run_id, row_id=row.row_id, token_id=name, at=NOON)
    make_state("t", run_id=run_id)
    make_state("u", "gate", 2, run_id, state_id="at-gate")
    make_state("u", "sink", 3, run_id, state_id="at-sink")
    recorder.create_batch(run_id=run_id, batch_id="b", aggregation_node_id="batcher", at=NOON)
    recorder.add_batch_members(run_id=run_id, batch_id="b", token_ids=["t"], at=NOON)
    make_state("t", "batcher", 4, run_id, state_id="t@batcher")


def begin_batch(run_id):
    return recorder.begin_batch(run_id=run_id, batch_id="b", trigger_type="count", at=NOON)


def complete_batch(run_id):
    return recorder.complete_batch(
        run_id=run_id, batch_id="b", aggregation_state_id="t@batcher", outputs=2, at=NOON
    )


def rows(run_id):
    made = [
        recorder.NewRow(row_index=10 + i, data={"id": i}, row_id=f"x{i}", token_id=f"x{i}")
        for i in range(5)
    ]
    return recorder.create_rows_batch(run_id=run_id, source_node_id="source", rows=made, at=NOON)


def told(name):
    function, parts = EVENTS[name]
    return lambda run_id: getattr(recorder, function)(run_id=run_id, at=NOON, **copy.copy(parts))


CALLS = {name: told(name) for name in EVENTS} | {
    "run": lambda run_id: recorder.begin_run(run_id=f"{run_id}-next", settings={}, at=NOON),
    "rows": rows,
    "end of a state": lambda run_id: end_state("t@model", run_id=run_id),
    "begun batch": begin_batch,
    "completed batch": complete_batch,
    "failed batch": lambda run_id: recorder.fail_batch(
        run_id=run_id, batch_id="b", error={"type": "E"}, at=NOON
    ),
    "end of a run": lambda run_id: recorder.complete_run(run_id=run_id, status="failed", at=NOON),
}
# What must have happened before.
FIRST = {
    "completed batch": lambda run_id: (begin_batch(run_id), end_state("t@batcher", run_id=run_id)),
    "failed batch": begin_batch,
}


def counts(run_id):
    """How much of each kind is on record, by status where it has one."""
    ours, found = {run_id, f"{run_id}-next"}, Counter()
    for model in AUDIT_MODELS:
        records = model.objects.filter(run_id__in=ours)
        if model in TRANSITIONS:
            found.update(
                (model._meta.db_table, s) for s in records.values_list("status", flat=True)
            )
        else:
            found[model._meta.db_table] = records.count()
    return found


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("joined", [False, True], ids=["alone", "in a transaction"])
def test_told_again_is_on_record_once(line, name, joined):
    def tell(run_id):
        if joined:
            with transaction.atomic():
                return CALLS[name](run_id)
        return CALLS[name](run_id)

    def prepare(run_id):
        populate(run_id)
        FIRST.get(name, lambda _run_id: None)(run_id)
        return counts(run_id)

    before = prepare("control")
    tell("control")
    once = counts("control")
    assert once != before
    unsure = 0

    for answer in range(60):
        run_id = f"r{answer}"
        prepare(run_id)
        line.loses = answer
        try:
            tell(run_id)
        except DatabaseUnavailable:
            # It was done, and nobody heard of it.
            unsure += counts(run_id) == once
            tell(run_id)
        else:
            break
        assert counts(run_id) == once
    line.loses = None

    assert answer > 0
    assert unsure > 0
