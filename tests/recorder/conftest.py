"""What every test of the recorder needs: its own folder for payloads."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _var(settings, tmp_path):
    settings.LANDSCAPE_VAR = tmp_path / "var"
