"""Exports: what was sealed, as files that anyone can check without us (docs/export-format.md)."""

from __future__ import annotations

from audit.exports.files import read, tidy
from audit.exports.jobs import cancel, open_job, ring, settle
from audit.exports.legacy import LegacyReport, verify_legacy
from audit.exports.parcel import Parcel, parcel
from audit.exports.producing import produce
from audit.exports.proofs import Proven, prove_record
from audit.exports.sending import send
from audit.exports.standing import (
    ExportLine,
    ExportsPage,
    describe_export,
    list_exports,
    progress_by_type,
)
from audit.exports.writing import Exported, export_run

__all__ = [
    "ExportLine",
    "Exported",
    "ExportsPage",
    "LegacyReport",
    "Parcel",
    "Proven",
    "cancel",
    "describe_export",
    "export_run",
    "list_exports",
    "open_job",
    "parcel",
    "produce",
    "progress_by_type",
    "prove_record",
    "read",
    "ring",
    "send",
    "settle",
    "tidy",
    "verify_legacy",
]
