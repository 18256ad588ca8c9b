"""A small world for the recorder's tests, and an instant at which everything happens."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _var(settings, tmp_path):
    """Payloads of a test lie in its own folder."""
    settings.LANDSCAPE_VAR = tmp_path / "var"
