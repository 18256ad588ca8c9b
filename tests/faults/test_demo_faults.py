"""The demo under kill -9: told again, it goes on behind what is on record."""

import os
import signal
import time

import pytest

from landscape_site.services import held
from tests.running import command, connect, postmaster, run, until

pytestmark = pytest.mark.faults

WHOLE = [("completed", 120, 1236), ("completed", 80, 480), ("running", 30, 187)]
CONTENT = """
SELECT status, (SELECT count(*) FROM rows WHERE run_id = r.run_id),
       (SELECT count(*) FROM tokens WHERE run_id = r.run_id)
FROM runs r ORDER BY started_at
"""


@pytest.fixture
def var(new_cluster, tmp_path):
    var = tmp_path / "var"
    new_cluster(var)
    with held(var, durable=False):
        assert run(var, "migrate", "-v0")[0] == 0
        yield var


def test_nothing_is_lost_or_doubled_when_it_is_killed(var, rounds):
    for number in range(rounds(8)):
        telling = command(var, "demo", "--from", "2026-11-20")
        time.sleep(2 + number % 4)
        telling.kill()
        telling.communicate()

    code, said = run(var, "demo", "--from", "2026-11-20")

    assert (code, "Traceback" in said) == (0, False)
    with connect(var) as database:
        assert database.execute(CONTENT).fetchall() == WHOLE


def test_says_in_a_sentence_that_the_database_is_gone(var):
    live = command(var, "demo", "--live")
    with connect(var) as database:
        until(lambda: database.execute("SELECT count(*) FROM rows").fetchone()[0] > 30)

    os.kill(postmaster(var), signal.SIGKILL)
    said, _ = live.communicate(timeout=60)

    assert (live.returncode, "Traceback" in said) == (1, False)
    assert "The database failed" in said
    # The keeper brings it back, and the run goes on.
    code, said = run(var, "demo", "--live", "--claims", "1")
    assert (code, "goes on" in said) == (0, True)
