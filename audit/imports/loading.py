"""From an opened file into the trail: run by run, one transaction each.

A run is stored with its origin, findings and figures, or not at all. Killing the importer at
any point loses the run it was at and nothing else; doing it again ends in the same state.
"""

from __future__ import annotations

import json
import sqlite3
import uuid
from typing import TYPE_CHECKING

from django.db import DataError, IntegrityError, connection, transaction

from audit import findings, summaries
from audit.errors import RunRefused, SourceRefused
from audit.imports import ancestry, contents, diagnosis, reading, shapes, sweep
from audit.imports.mapping import tables_of
from audit.imports.report import FileReport, RunReport
from audit.models import Import, Run, TokenParent
from audit.recorder import bulk
from audit.vocabulary import ImportOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime
    from pathlib import Path

    from audit.imports.mapping import Table
    from audit.imports.reading import Source

    # Told now and then: records done, records in the file, what is being done.
    Progress = Callable[[int, int, str], None]

_TELL_EVERY = 5_000
# Records of a run that are counted while it is imported: a second or two.
COUNTED_AT_ONCE = 50_000


def import_file(
    path: Path, *, at: datetime, payload_folder: Path | None, progress: Progress
) -> FileReport:
    """Import every run of an audit database; what cannot be imported is told in the report.

    Memory does not grow with the file. `at` is when, for the record of the import. A payload
    folder is laid out as the original's: two hex digits, then the whole hash.
    """
    report = FileReport(path=str(path))
    try:
        with reading.opened(path) as source:
            report.era, report.sha256 = str(source.era.value), source.sha256
            report.rests_on_clean_close = source.rests_on_clean_close
            report.foreign_tables = source.foreign_tables
            loader = _Loader(source, at=at, payload_folder=payload_folder, progress=progress)
            for run_id in source.run_ids:
                report.runs.append(loader.load(run_id))
    except SourceRefused as error:
        report.error = str(error)
    return report


class _Loader:
    """One file on its way in."""

    def __init__(
        self, source: Source, *, at: datetime, payload_folder: Path | None, progress: Progress
    ) -> None:
        self.source = source
        self.at = at
        self.payload_folder = payload_folder
        self.progress = progress
        self.tables = list(tables_of(source))
        self.orphans = _orphans(source, self.tables)
        self.total = sum(table.count() for table in self.tables)
        self.done = 0

    def load(self, run_id: str) -> RunReport:
        """Import one run, or say why not."""
        try:
            _refuse_odd_id(run_id)
            if known := self._known(run_id):
                return known
            self._refuse_orphans(run_id)
            self._check(run_id)
            return self._store(run_id)
        except RunRefused as error:
            return RunReport(run_id, ImportOutcome.REFUSED, problems=error.problems)
        except sqlite3.DatabaseError as error:
            return RunReport(run_id, ImportOutcome.REFUSED, problems=self._unreadable(error))

    def _known(self, run_id: str) -> RunReport | None:
        """What an earlier import of this very file brought."""
        known = Import.objects.filter(run_id=run_id, source_sha256=self.source.sha256).first()
        if known is None:
            return None
        records = json.loads(known.records_json)
        self._advance(sum(records.values()), f"run {run_id:.12}: already present")
        return RunReport(run_id, ImportOutcome.ALREADY_PRESENT, records)

    def _refuse_orphans(self, run_id: str) -> None:
        if problems := self.orphans.get(run_id, []) + self.orphans.get("", []):
            raise RunRefused(run_id, problems)

    def _check(self, run_id: str) -> None:
        problems: list[shapes.Problem] = []
        for table in self.tables:
            try:
                shapes.check(table, run_id=run_id)
            except RunRefused as error:
                problems += error.problems
        if problems:
            raise RunRefused(run_id, problems)
        parents = next(table for table in self.tables if table.model is TokenParent)
        ancestry.check(self.source, parents, run_id=run_id)

    def _store(self, run_id: str) -> RunReport:
        try:
            with transaction.atomic():
                bulk.without_time_limits()
                _lock(run_id)
                if known := self._known(run_id):  # another importer was faster
                    return known
                if Run.objects.filter(run_id=run_id).exists():
                    return self._compare(run_id)
                records = {
                    table.name: bulk.copy_records(
                        table.model, table.columns, self._records(table, run_id)
                    )
                    for table in self.tables
                }
                return self._finish(run_id, ImportOutcome.IMPORTED, records)
        except (IntegrityError, DataError) as error:
            raise RunRefused(run_id, self._diagnose(run_id, error)) from error

    def _compare(self, run_id: str) -> RunReport:
        """The run is on record: equal, grown since then, or another run of the same name."""
        records = self._stage(run_id)
        models = [table.model for table in self.tables]
        if found := bulk.contradictions(models, run_id=run_id):
            raise RunRefused(
                run_id,
                [
                    shapes.problem(
                        code="RUN_CONFLICT",
                        table=each.table,
                        key=each.key,
                        column="",
                        message=each.message,
                    )
                    for each in found
                ],
            )
        if bulk.extend_run(models, run_id=run_id):
            return self._finish(run_id, ImportOutcome.EXTENDED, records)
        return self._finish(run_id, ImportOutcome.ALREADY_PRESENT, records)

    def _finish(self, run_id: str, outcome: ImportOutcome, records: dict[str, int]) -> RunReport:
        """What comes with a stored run: members, payloads, findings, figures, origin."""
        records = {name: count for name, count in records.items() if count}
        found_by_code: dict[str, int] = {}
        if outcome != ImportOutcome.ALREADY_PRESENT:
            self.progress(self.done, self.total, f"run {run_id:.12}: looking it over")
            with bulk.planned_for_scans():
                bulk.infer_artifact_members(run_id=run_id)
                found_by_code = findings.replace_for_run(
                    run_id=run_id, found=list(self._found(run_id)), at=self.at
                )
                # A big run is counted by the sweeper's worker, and its pages say so meanwhile; what
                # was counted of a run that has grown must not outlive it.
                if outcome == ImportOutcome.EXTENDED or sum(records.values()) <= COUNTED_AT_ONCE:
                    summaries.refresh(run_id=run_id, at=self.at)
        Import.objects.create(
            import_id=uuid.uuid4().hex,
            run_id=run_id,
            source_name=self.source.name,
            source_sha256=self.source.sha256,
            source_bytes=self.source.size_bytes,
            era=self.source.era,
            schema_fingerprint=self.source.fingerprint,
            rests_on_clean_close=self.source.rests_on_clean_close,
            outcome=outcome,
            records_json=json.dumps(records),
            imported_at=self.at,
        )
        return RunReport(run_id, outcome, records, found_by_code)

    def _found(self, run_id: str) -> Iterator[findings.Found]:
        by_name = {table.name: table for table in self.tables}
        yield from sweep.sweep(run_id=run_id, era=self.source.era)
        yield from sweep.pipeline_cycle(run_id=run_id)
        for table in self.tables:
            yield from contents.odd_values(table, run_id=run_id)
        if self.payload_folder is not None:
            yield from contents.bring_payloads(
                self.source, by_name, run_id=run_id, folder=self.payload_folder, at=self.at
            )

    def _records(self, table: Table, run_id: str) -> Iterable[tuple[object, ...]]:
        told = f"run {run_id:.12}: {table.name}"
        step = 0
        for record in self.source.query(table.select(), run=run_id):
            yield record
            step += 1
            if step == _TELL_EVERY:
                self._advance(step, told)
                step = 0
        self._advance(step, told)

    def _advance(self, step: int, told: str) -> None:
        self.done += step
        self.progress(self.done, self.total, told)

    def _stage(self, run_id: str) -> dict[str, int]:
        return {
            table.name: bulk.stage_records(
                table.model, table.columns, self.source.query(table.select(), run=run_id)
            )
            for table in self.tables
        }

    def _diagnose(self, run_id: str, error: Exception) -> list[shapes.Problem]:
        """Every key that made PostgreSQL refuse; its own words only if no rule explains them."""
        problems: list[shapes.Problem] = []
        for table in self.tables:
            problems += shapes.misfits(table, run_id=run_id)
        if not problems:
            try:
                with transaction.atomic():
                    bulk.without_time_limits()
                    self._stage(run_id)
                    problems += diagnosis.offending([table.model for table in self.tables])
            except DataError as another:
                error = another
        return problems or [
            shapes.problem(code="REFUSED", table="", key=run_id, column="", message=str(error))
        ]

    def _unreadable(self, error: sqlite3.DatabaseError) -> list[shapes.Problem]:
        found = [
            problem for table in self.tables for problem in shapes.unreadable(self.source, table)
        ]
        return found or [
            shapes.problem(
                code="UNREADABLE", table="", key="", column="", message=f"SQLite says: {error}"
            )
        ]


def _refuse_odd_id(run_id: str) -> None:
    """An id that the database cannot even be asked about."""
    longest = 64
    if "\0" in run_id or len(run_id) > longest:
        message = f"the run's id is longer than {longest} characters or holds NUL"
        told = shapes.problem(
            code="OUT_OF_BOUNDS", table="runs", key=run_id, column="run_id", message=message
        )
        raise RunRefused(run_id, [told])


def _lock(run_id: str) -> None:
    """Two importers of one run take turns; the second finds it present."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [run_id])


def _orphans(source: Source, tables: list[Table]) -> dict[str, list[shapes.Problem]]:
    """Records that belong to no run, under the run that another link names, or "" for any."""
    found: dict[str, list[shapes.Problem]] = {}
    for table in tables:
        if table.model is Run:
            continue
        rows = source.query(
            f'SELECT {table.key_sql} FROM "{table.name}" WHERE {table.orphans()} '
            f"LIMIT {shapes.MAX_LISTED}"
        ).fetchall()
        unclaimed = {key for (key,) in rows}
        for run_id in source.run_ids:
            mine = [
                key
                for (key,) in source.query(table.orphans_else_of(), run=run_id)
                if key in unclaimed
            ]
            found.setdefault(run_id, []).extend(_orphan(table, key) for key in mine)
            unclaimed.difference_update(mine)
        found.setdefault(_only(source), []).extend(_orphan(table, key) for key in sorted(unclaimed))
    return found


def _orphan(table: Table, key: str) -> shapes.Problem:
    return shapes.problem(
        code="DANGLING",
        table=table.name,
        key=key,
        column="run_id" if table.has_run_id else table.link_columns,
        message=f"{table.name} {key} hangs on a record that is not in the file",
    )


def _only(source: Source) -> str:
    return source.run_ids[0] if len(source.run_ids) == 1 else ""
