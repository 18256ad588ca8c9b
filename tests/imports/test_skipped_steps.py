"""A file that took several steps between two imports: the guards see each of them."""

from __future__ import annotations

import pytest

from audit.models import Batch, Run
from tests.audit_files import insert, moment, node_ids

pytestmark = pytest.mark.django_db


def batch(status):
    def spoil(connection):
        insert(
            connection,
            "batches",
            batch_id="b",
            run_id="one",
            aggregation_node_id=node_ids("one")["gate"],
            trigger_type=None if status == "draft" else "count",
            attempt=0,
            status=status,
            created_at=moment(1),
            completed_at=None if status in {"draft", "executing"} else moment(2),
        )

    return spoil


def ended(status, second):
    def spoil(connection):
        connection.execute(
            "UPDATE runs SET status = ?, completed_at = ?", (status, moment(200 + second))
        )

    return spoil


class TestABatch:
    @pytest.mark.parametrize("end", ["executing", "completed", "failed"])
    def test_may_have_gone_from_draft_to_any_end(self, make_file, do_import, end):
        early = make_file("early.db", status="running", spoil=batch("draft"))
        late = make_file("late.db", status="running", spoil=batch(end))
        do_import(early)

        assert do_import(late).runs[0].outcome == "extended"
        assert Batch.objects.get().status == end


class TestARun:
    @pytest.mark.parametrize(
        ("before", "after"),
        [
            (("failed", 1), ("completed", 2)),
            (("failed", 1), ("failed", 2)),
            # The original leaves the old end in place when it resumes.
            (("failed", 1), ("running", 1)),
        ],
    )
    def test_may_have_been_resumed(self, make_file, do_import, before, after):
        do_import(make_file("early.db", status="running", spoil=ended(*before)))

        report = do_import(make_file("late.db", status="running", spoil=ended(*after)))

        assert report.runs[0].outcome == "extended"
        assert Run.objects.get().status == after[0]
