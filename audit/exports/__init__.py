"""Exports: what was sealed, as files that anyone can check without us (docs/export-format.md)."""

from __future__ import annotations

from audit.exports.files import tidy
from audit.exports.jobs import cancel, open_job, ring, settle
from audit.exports.legacy import LegacyReport, verify_legacy
from audit.exports.producing import produce
from audit.exports.proofs import Proven, prove_record
from audit.exports.writing import Exported, export_run

__all__ = [
    "Exported",
    "LegacyReport",
    "Proven",
    "cancel",
    "export_run",
    "open_job",
    "produce",
    "prove_record",
    "ring",
    "settle",
    "tidy",
    "verify_legacy",
]
