"""Recording from programs outside the project: connecting, forking, threads, refusals."""

from __future__ import annotations

import json
import os
import re
import signal
import time

import pytest
from django.db import connection

from audit import recorder
from audit.errors import ConnectedOtherwise, NotLandscape
from audit.models import Row, Run, TokenOutcome
from audit.recorder import sessions
from tests.recorder.outside import ROOT, Outside, address, install
from tests.running import until

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = (ROOT / "docs" / "recorder.md").read_text()
CONNECTED = """
import os, sys, threading, time
from datetime import UTC, datetime
from audit import recorder
recorder.connect(os.environ["LANDSCAPE_DATABASE_URL"], payloads=os.environ["LANDSCAPE_PAYLOADS"])
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
def backend():
    from django.db import connection
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return cursor.fetchone()[0]
def say(*words):
    print(*words, flush=True)
"""
RUNNING = (
    CONNECTED
    + """
recorder.begin_run(run_id="r", settings={}, at=NOON)
here = recorder.RunRecorder("r", now=lambda: NOON)
here.register_node(node_id="source", plugin_name="csv", node_type="source", determinism="io_read",
                   plugin_version="1", sequence=0, config={})
def row(index):
    return here.create_row(row_id=f"row{index}", source_node_id="source", row_index=index,
                           data={"index": index})
"""
)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return install(tmp_path_factory.mktemp("installed") / "package")


@pytest.fixture
def outside(package, tmp_path):
    (tmp_path / "program").mkdir()
    return Outside(package, tmp_path / "program")


class TestExample:
    def test_records_a_complete_run_in_some_thirty_lines(self, outside, settings):
        (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

        said = outside.run(example + "\nprint(run.run_id)\n")

        assert example.count("\n") <= 36
        run = Run.objects.get(run_id=said.strip())
        assert run.status == "completed"
        assert TokenOutcome.objects.get().outcome == "completed"
        settings.STORAGES = settings.STORAGES | {
            "payloads": {
                "BACKEND": "audit.payloads.PayloadFiles",
                "OPTIONS": {"location": str(outside.payloads)},
            }
        }
        row = Row.objects.get()
        kept = recorder.get_row_data(run_id=run.run_id, row_id=row.row_id)
        assert kept.data == {"id": 1, "text": "a broken window"}

    def test_needs_what_the_package_says_and_nothing_else(self, outside):
        (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

        said = outside.run(
            # What starts with every Python here, coverage for one, is not the package's.
            f"import sys\nbefore = set(sys.modules)\n{example}\n"
            "for name in set(sys.modules) - before:\n"
            "    if 'site-packages' in (getattr(sys.modules[name], '__file__', '') or ''):\n"
            "        print(name.partition('.')[0])\n"
        )

        # The declared ones, and what they bring along.
        brought = {"asgiref", "sqlparse", "typing_extensions", "psycopg_binary"}
        assert set(said.split()) - brought == {"django", "psycopg", "rfc8785"}


class TestConnect:
    def test_holds_its_sessions_to_the_limits(self, outside):
        said = outside.run(
            CONNECTED + "from django.db import connection\ncursor = connection.cursor()\n"
            f"cursor.execute('SELECT name, setting FROM pg_settings WHERE name = ANY(%s)',"
            f" [{list(sessions.APPLICATION)!r}])\nimport json\nsay(json.dumps(dict(cursor)))"
        )

        assert json.loads(said) == sessions.APPLICATION | {"application_name": "landscape-pipeline"}

    def test_told_again_is_harmless_and_elsewhere_refused(self, outside):
        said = outside.run(
            CONNECTED
            + """
url = os.environ["LANDSCAPE_DATABASE_URL"]
recorder.connect(url, payloads=os.environ["LANDSCAPE_PAYLOADS"])
for other in (dict(url=url, payloads="elsewhere"),
              dict(url="postgresql://me:secret@far/away", payloads="elsewhere")):
    try:
        recorder.connect(other.pop("url"), **other)
    except recorder.connecting.ConnectedOtherwise as error:
        say(error)
"""
        )

        assert len(said.splitlines()) == 2
        assert "not to me@far/away" in said
        assert "secret" not in said
        assert connection.settings_dict["PASSWORD"] not in said

    def test_refuses_a_process_with_settings_of_its_own(self, tmp_path):
        with pytest.raises(ConnectedOtherwise, match="what Django's settings say"):
            recorder.connect(address(), payloads=tmp_path)

    def test_refuses_to_overrule_settings_that_are_only_named(self, outside):
        process = outside.start(CONNECTED, DJANGO_SETTINGS_MODULE="mine")

        assert "ConnectedOtherwise" in process.communicate(timeout=60)[0]

    def test_refuses_a_database_that_is_not_landscapes(self, outside):
        process = outside.start(CONNECTED, LANDSCAPE_DATABASE_URL=address(NAME="postgres"))

        assert "NotLandscape: this database has no Landscape schema" in process.communicate()[0]

    def test_refuses_another_version(self, monkeypatch):
        monkeypatch.setattr("audit.models.SCHEMA_VERSION", 99)

        with pytest.raises(NotLandscape, match="this recorder is of 99"):
            recorder.connecting._require_landscape()

    @pytest.mark.parametrize("url", ["mysql://u:topsecret@h/d", "topsecret", "postgresql://[::1/x"])
    def test_refuses_what_is_no_address_without_repeating_it(self, outside, url):
        process = outside.start(CONNECTED, LANDSCAPE_DATABASE_URL=url)

        said = process.communicate()[0].splitlines()[-1]
        assert said.startswith("ValueError: this is no address of a PostgreSQL")

    def test_gives_up_on_a_server_that_is_not_there(self, outside):
        began = time.monotonic()
        process = outside.start(
            CONNECTED, LANDSCAPE_DATABASE_URL=f"postgresql://u:p@/d?host={outside.folder}"
        )

        assert "OperationalError" in process.communicate()[0]
        assert time.monotonic() - began < 5

    def test_comes_before_everything_else(self, outside):
        process = outside.start("from audit import recorder\nrecorder.begin_run")

        assert "NotConnected: this process has no database yet" in process.communicate()[0]


class TestThreads:
    def test_have_a_connection_each_until_they_close_it(self, outside):
        said = outside.run(
            CONNECTED
            + """
def work():
    say(backend())
    recorder.close()
say(backend())
for _ in range(2):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
from django.db import connection
with connection.cursor() as cursor:
    cursor.execute("SELECT count(*) FROM pg_stat_activity"
                   " WHERE application_name = 'landscape-pipeline'")
    say("open", cursor.fetchone()[0])
"""
        )

        *backends, left = said.splitlines()
        assert len(set(backends)) == 3
        assert left == "open 1"


class TestFork:
    def test_gives_each_child_a_connection_of_its_own(self, outside):
        said = outside.run(
            RUNNING
            + """
say(backend())
children = []
for index in range(3):
    child = os.fork()
    if not child:
        for number in range(20):
            row(index * 20 + number)
        say(backend())
        sys.exit()  # the whole way: destructors run in the child
    children.append(child)
for number in range(60, 80):
    row(number)
for child in children:
    assert os.waitpid(child, 0)[1] == 0
row(80)
say(backend())
"""
        )

        backends = said.split()
        assert backends[0] == backends[-1]
        assert len(set(backends)) == 4
        assert Row.objects.filter(run_id="r").count() == 81

    def test_in_a_transaction_leaves_it_to_the_parent(self, outside):
        said = outside.run(
            RUNNING
            + """
try:
    with here.transaction():
        row(0)
        child = os.fork()
        if child:
            assert os.waitpid(child, 0)[1] == 0
            row(2)
        else:
            try:
                row(1)
            except Exception as error:
                say(type(error).__name__)
except Exception as error:
    say(type(error).__name__)
if not child:
    row(3)  # outside of the block: its own
"""
        )

        assert said.split() == ["ProgrammingError", "TransactionLost"]
        assert set(Row.objects.values_list("row_id", flat=True)) == {"row0", "row2", "row3"}

    def test_does_not_keep_a_dead_parents_session_open(self, outside):
        process = outside.start(
            RUNNING
            + """
say(backend())
if not os.fork():
    say(os.getpid())
    time.sleep(60)
    os._exit(0)
time.sleep(60)
"""
        )
        session, child = (int(process.stdout.readline()) for _ in range(2))
        try:
            time.sleep(0.2)
            os.kill(process.pid, signal.SIGKILL)

            with connection.cursor() as cursor:

                def gone():
                    cursor.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", [session])
                    return cursor.fetchone() is None

                until(gone, seconds=5)
        finally:
            os.kill(child, signal.SIGKILL)
            process.communicate()
