"""The administrator's desk at `/admin/`: what is kept, who is here, what is being done."""

from __future__ import annotations

from audit.admin.desk import desk

__all__ = ["desk"]
