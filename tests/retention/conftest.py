"""A fresh store of payloads for each test, and no waiting time."""

import pytest


@pytest.fixture(autouse=True)
def _no_wait(settings, tmp_path):
    settings.LANDSCAPE_PURGE_WAIT = 0
    settings.LANDSCAPE_VAR = tmp_path
