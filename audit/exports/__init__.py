"""Exports: what was sealed, as files that anyone can check without us."""

from __future__ import annotations

from audit.exports.files import tidy
from audit.exports.jobs import cancel, open_job, ring, settle
from audit.exports.producing import produce

__all__ = ["cancel", "open_job", "produce", "ring", "settle", "tidy"]
