"""Starts the tests' own PostgreSQL before Django reads its settings.

Loaded by `addopts = -p`: pytest-django reads settings before any conftest.py. The cluster lies in
var/test whatever the environment says, so that no test ever meets real data. Several sessions
and their workers share it; each has its own database (see conftest.py).
"""

import os
from contextlib import ExitStack
from pathlib import Path

from landscape_site import services

VAR = Path(__file__).resolve().parent.parent / "var" / "test"

_KEPT = {"LANDSCAPE_POSTGRES_BIN", "LANDSCAPE_REQUIRE_BROWSER", "LANDSCAPE_FAULTS"}
_held = ExitStack()

for name in [name for name in os.environ if name.startswith("LANDSCAPE_")]:
    if name not in _KEPT:
        del os.environ[name]
os.environ["LANDSCAPE_VAR"] = str(VAR)
_held.enter_context(services.held(VAR, durable=False))


def pytest_unconfigure() -> None:
    _held.close()
