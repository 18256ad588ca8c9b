"""Made audit databases, and an import that tells what came of them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from audit import imports
from audit.models import AUDIT_MODELS, Finding, Import, RunSummary
from tests import audit_files

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _data():
    if not audit_files.DATA.is_dir():
        pytest.skip(f"needs the real databases in {audit_files.DATA}")


@pytest.fixture(autouse=True)
def _var(settings, tmp_path):
    settings.LANDSCAPE_VAR = tmp_path / "var"


@pytest.fixture
def do_import():
    def do_import_(path, **options):
        options = {"payload_folder": None, "progress": lambda *_told: None, **options}
        return imports.import_file(path, at=NOON, **options)

    return do_import_


@pytest.fixture
def make_file(tmp_path):
    """Make an era-A (or B) file with one or more runs; `spoil` gets the open connection."""

    def make(name="audit.db", *, runs=("one",), rows=4, era="A", spoil=None, **options):
        path = tmp_path / name
        connection = audit_files.empty(path, era=era)
        connection.execute("PRAGMA foreign_keys = OFF")
        for run_id in runs:
            audit_files.write_run(connection, run_id=run_id, rows=rows, era=era, **options)
        if spoil:
            spoil(connection)
        connection.close()
        return path

    return make


def stored() -> dict[str, int]:
    """Everything that an import may leave behind, by table."""
    models = (*AUDIT_MODELS, Import, Finding, RunSummary)
    counts = {model._meta.db_table: model.objects.count() for model in models}
    return {table: count for table, count in counts.items() if count}
