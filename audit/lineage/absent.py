"""Why a record cannot be told: another run's, of another kind, or not there at all."""

from __future__ import annotations

from django.db import connection

from audit.errors import NotRecorded, RunMismatch

# Run by run where any run will do: alone the id would scan the table.
_ELSEWHERE = """
SELECT 'token', r.run_id FROM runs r CROSS JOIN LATERAL (
    SELECT FROM tokens t WHERE t.run_id = r.run_id AND t.token_id = %(key)s OFFSET 0) x
UNION ALL SELECT 'row', r.run_id FROM runs r CROSS JOIN LATERAL (
    SELECT FROM rows t WHERE t.run_id = r.run_id AND t.row_id = %(key)s OFFSET 0) x
UNION ALL SELECT 'visit', run_id FROM node_states WHERE run_id = %(run)s AND state_id = %(key)s
UNION ALL SELECT 'call', run_id FROM calls WHERE run_id = %(run)s AND call_id = %(key)s
UNION ALL SELECT 'batch', r.run_id FROM runs r CROSS JOIN LATERAL (
    SELECT FROM batches b WHERE b.run_id = r.run_id AND b.batch_id = %(key)s OFFSET 0) x
UNION ALL SELECT 'artifact', r.run_id FROM runs r CROSS JOIN LATERAL (
    SELECT FROM artifacts a WHERE a.run_id = r.run_id AND a.artifact_id = %(key)s OFFSET 0) x
UNION ALL SELECT 'node', run_id FROM nodes WHERE run_id = %(run)s AND node_id = %(key)s
UNION ALL SELECT 'run', run_id FROM runs WHERE run_id = %(key)s
"""


class OtherKind(NotRecorded):
    """The id is on record, as something else than what was asked for."""

    def __init__(self, kind: str, key: str, *, actual: str) -> None:
        super().__init__(kind, key)
        self.args = (f"{key} is {_a(actual)}, not {_a(kind)}",)
        self.actual = actual


def refuse(kind: str, key: str, *, run_id: str) -> None:
    """Raise what is the matter with a record that was not found, of any kind. One query.

    Returns only where it is there after all: a row without tokens.

    Raises:
        NotRecorded: it is not there; `OtherKind` where the id names something else.
        RunMismatch: it belongs to another run.
    """
    with connection.cursor() as cursor:
        cursor.execute(_ELSEWHERE, {"key": key, "run": run_id})
        found = cursor.fetchall()
    runs = [run for what, run in found if what == kind]
    if run_id in runs:
        return
    here = [what for what, run in found if what != kind and (run == run_id or what == "run")]
    if here:
        raise OtherKind(kind, key, actual=here[0])
    if runs:
        raise RunMismatch(kind, key, asked=run_id, actual=min(runs))
    raise NotRecorded(kind, key)


def _a(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
