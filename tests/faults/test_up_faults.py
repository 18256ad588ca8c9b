"""`manage.py up` under kill -9: what dies with it, and what it brings back."""

import os
import signal
from contextlib import suppress

import pytest

from tests.running import keepers, postmaster, servers, until

pytestmark = pytest.mark.faults


def test_everything_is_gone_seconds_after_up_was_killed(start, rounds):
    for _ in range(rounds(4)):
        site = start()
        site.wait_for("Landscape is ready")
        assert site.status() == 200
        assert until(site.workers)
        assert until(site.sweepers)

        site.process.kill()
        site.wait()

        until(lambda: not servers(site.var), seconds=10)  # noqa: B023
        until(lambda: not site.web_processes(), seconds=10)  # noqa: B023
        until(lambda: not site.workers(), seconds=10)  # noqa: B023
        until(lambda: not site.sweepers(), seconds=10)  # noqa: B023
        assert site.status() is None


def test_the_pages_work_again_after_anything_below_was_killed(start, rounds):
    site = start()
    site.wait_for("Landscape is ready")
    victims = {
        "PostgreSQL": lambda: [postmaster(site.var)],
        "every server process": lambda: servers(site.var),
        "the keeper": lambda: keepers(site.var),
        "every web process": site.web_processes,
        "one web process": lambda: site.web_processes()[:1],
        "the keeper and PostgreSQL": lambda: [*keepers(site.var), *servers(site.var)],
    }
    for _ in range(rounds(4)):
        for choose in victims.values():
            chosen = choose()
            for pid in chosen:
                # A backend may have ended by itself.
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

            until(lambda: site.status() == 200)
            assert not [pid for pid in chosen if pid in [*site.web_processes(), *servers(site.var)]]

    assert site.stop() == 0
    assert servers(site.var) == []
    assert site.web_processes() == site.workers() == site.sweepers() == []
