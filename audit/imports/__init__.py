"""Audit databases of the original recorder, taken in without losing or inventing a value."""

from __future__ import annotations

from audit.imports.loading import import_file
from audit.imports.report import FileReport, RunReport, as_json

__all__ = ["FileReport", "RunReport", "as_json", "import_file"]
