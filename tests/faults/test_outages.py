"""The database down, hung, read-only, full or in the way: an error within 5 s, nothing dropped."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager, suppress

import psycopg
import pytest
from django.db import connection, transaction

from audit import errors, recorder
from audit.models import AUDIT_MODELS, Call, Row, Run, TokenOutcome
from audit.recorder import bulk
from landscape_site import postgres, services
from landscape_site.places import Places
from tests.faults.line import Line
from tests.faults.test_recorder_faults import fork, logical, pipeline
from tests.recorder.world import NOON, make_row, make_run, make_state, make_token
from tests.running import connect, keepers, postmaster, run, servers, until

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def migrated(tmp_path_factory, new_cluster):
    """An installation that was migrated and stopped; to be copied."""
    var = tmp_path_factory.mktemp("migrated") / "var"
    new_cluster(var)
    with services.held(var):
        code, said = run(var, "migrate")
        assert code == 0, said
    return var


def enter(var, monkeypatch, host=None):
    """Let this process record in an installation of its own."""
    connection.close()
    places = Places(var)
    for name, value in {
        "HOST": str(host or places.sockets),
        "NAME": postgres.DATABASE,
        "PASSWORD": places.password(postgres.APPLICATION_LOGIN).read_text(),
    }.items():
        monkeypatch.setitem(connection.settings_dict, name, value)


@pytest.fixture
def var(migrated, tmp_path, settings, monkeypatch, django_db_blocker):
    """A running installation in which this process records."""
    shutil.copytree(migrated, tmp_path / "var")
    settings.LANDSCAPE_VAR = tmp_path / "var"
    with django_db_blocker.unblock(), services.held(tmp_path / "var"):
        enter(tmp_path / "var", monkeypatch)
        try:
            yield tmp_path / "var"
        finally:
            connection.close()
    until(lambda: not servers(tmp_path / "var"))


def superuser(var):
    return connect(var, postgres.CLUSTER_LOGIN)


@contextmanager
def refused(kind, match=None):
    """The block ends with this error, within five seconds."""
    began = time.monotonic()
    with pytest.raises(kind, match=match) as caught:
        yield
    assert time.monotonic() - began < 5
    assert caught.value.__cause__ is not None


@contextmanager
def stopped(pids):
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def a_visit():
    make_run()
    make_token()
    make_state()


def call(number=0, response=2):
    return recorder.record_call(
        run_id="r",
        state_id="t@model",
        call_id=f"c{number}",
        call_type="llm",
        status="success",
        request=1,
        response=response,
        at=NOON,
    )


def backend():
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return cursor.fetchone()[0]


class TestDown:
    def test_is_an_error_and_recording_goes_on_once_it_is_back(self, var):
        a_visit()
        (keeper,) = keepers(var)
        os.kill(keeper, signal.SIGKILL)
        until(lambda: not servers(var))

        for _ in range(2):
            with refused(errors.DatabaseUnavailable, "with the same ids"):
                call()
            with refused(errors.DatabaseUnavailable), transaction.atomic():
                call()

        services.ensure(var)
        call()
        assert Call.objects.count() == 1

    def test_loses_the_whole_transaction_and_says_so(self, var):
        a_visit()
        with refused(errors.DatabaseUnavailable), transaction.atomic():
            call(0)
            with superuser(var) as other:
                other.execute("SELECT pg_terminate_backend(%s)", [backend()])
            call(1)

        assert Call.objects.count() == 0

    def test_refuses_a_password_that_was_changed(self, var):
        a_visit()
        connection.close()
        with superuser(var) as other:
            other.execute(f"ALTER ROLE {postgres.APPLICATION_LOGIN} PASSWORD 'another'")

        with refused(errors.DatabaseUnavailable, "password"):
            call()


class TestHung:
    def test_in_the_middle_of_a_session(self, var):
        a_visit()
        with stopped([backend()]), refused(errors.DatabaseUnavailable, "no answer"):
            call()

        call()
        assert Call.objects.count() == 1

    def test_whole_and_to_newcomers_too(self, var):
        a_visit()
        with stopped(servers(var)):
            with refused(errors.DatabaseUnavailable, "no answer"):
                call()
            with refused(errors.DatabaseUnavailable, "timeout"):
                call()

        call()
        assert Call.objects.count() == 1

    def test_before_commit(self, var):
        a_visit()

        def hang_at_the_end():
            with transaction.atomic():
                call()
                pids.extend(servers(var))
                for pid in pids:
                    os.kill(pid, signal.SIGSTOP)

        pids = []
        with stopped(pids), refused(errors.DatabaseUnavailable, "no answer"):
            hang_at_the_end()

        call()
        assert Call.objects.count() == 1

    def test_while_it_is_sent_more_than_the_line_holds(self, var):
        make_run()
        settings_ = {"text": "x" * 9_000_000}

        with stopped([backend()]), refused(errors.DatabaseUnavailable, "no answer"):
            recorder.begin_run(run_id="big", settings=settings_, at=NOON)

        recorder.begin_run(run_id="big", settings=settings_, at=NOON)
        assert Run.objects.count() == 2

    def test_behind_a_dead_line(self, var, tmp_path, monkeypatch):
        line = Line(tmp_path / "line", Places(var).sockets)
        enter(var, monkeypatch, line.folder)
        a_visit()
        line.silent = True

        with refused(errors.DatabaseUnavailable, "no answer"):
            call()
        with refused(errors.DatabaseUnavailable, "timeout"):
            call()

        line.silent = False
        call()
        assert Call.objects.count() == 1
        connection.close()
        line.close()

    def test_is_waited_for_by_those_who_said_so(self, var):
        with transaction.atomic(), connection.cursor() as cursor:
            bulk.without_time_limits()
            cursor.execute("SELECT pg_sleep(5)")
        with refused(errors.DatabaseBusy, "statement timeout"), connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(6)")


class TestReadOnly:
    def test_is_an_error_and_recording_goes_on_when_it_ends(self, var):
        a_visit()
        with superuser(var) as other:
            other.execute("ALTER SYSTEM SET default_transaction_read_only = on")
            other.execute("SELECT pg_reload_conf()")
            until(lambda: _setting("default_transaction_read_only") == "on")

            for _ in range(2):
                with refused(errors.DatabaseReadOnly, "read-only"):
                    call()
            with refused(errors.DatabaseReadOnly), transaction.atomic():
                call()

            other.execute("ALTER SYSTEM RESET default_transaction_read_only")
            other.execute("SELECT pg_reload_conf()")
            until(lambda: _setting("default_transaction_read_only") == "off")
        call()
        assert Call.objects.count() == 1


def _setting(name):
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting(%s)", [name])
        return cursor.fetchone()[0]


class TestRights:
    def test_that_were_taken_away_are_an_error(self, var):
        a_visit()
        with connect(var, postgres.OWNER_LOGIN) as owner:
            owner.execute(f"REVOKE INSERT ON calls FROM {postgres.APPLICATION_LOGIN}")

        with refused(errors.DatabaseForbids, "permission denied for table calls"):
            call()
        assert Call.objects.count() == 0


class TestUnheeded:
    """Somebody catches a fault and goes on: the end of the transaction says what became of it."""

    def test_fault_makes_the_commit_an_error(self, var):
        a_visit()

        @transaction.atomic
        def tell():
            call()
            _fail_unheeded()

        with pytest.raises(errors.TransactionLost, match="not heeded"):
            tell()
        assert Call.objects.count() == 0

    def test_fault_makes_the_next_call_an_error(self, var):
        a_visit()

        @transaction.atomic
        def tell():
            _fail_unheeded()
            call()

        with pytest.raises(errors.TransactionLost):
            tell()

    @pytest.mark.parametrize("lost", [False, True], ids=["failed", "lost"])
    def test_fault_makes_the_recorders_own_block_an_error(self, var, lost):
        a_visit()

        def tell():
            with recorder.RunRecorder("r", now=lambda: NOON).transaction():
                call()
                with suppress(errors.DatabaseFault), transaction.atomic(savepoint=False):
                    if lost:
                        _end_my_session(var)
                    _fail()

        with pytest.raises(errors.TransactionLost, match="not heeded"):
            tell()
        assert Call.objects.count() == 0


def _fail():
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 100")
        cursor.execute("SELECT pg_sleep(1)")


def _fail_unheeded():
    try:
        _fail()
    except errors.DatabaseBusy:
        return
    raise AssertionError


def _end_my_session(var):
    with superuser(var) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [backend()])


@contextmanager
def small_disk(folder, megabytes):
    """A file system of its own below `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, check=False).returncode:
        pytest.skip("needs the right to mount a small file system (root)")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder):
    """Take every byte that is left."""
    # Without a buffer, which would complain once more when it is closed.
    with (folder / "filler").open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"\0" * 4_096)
    return folder / "filler"


class TestFull:
    def test_database_is_an_error_and_recording_goes_on_when_there_is_room(
        self, migrated, tmp_path, settings, monkeypatch, django_db_blocker
    ):
        var = tmp_path / "disk" / "var"
        settings.LANDSCAPE_VAR = tmp_path / "payloads"
        with small_disk(tmp_path / "disk", 250), django_db_blocker.unblock():
            shutil.copytree(migrated, var)
            with services.held(var):
                enter(var, monkeypatch)
                make_run()
                filler = fill(tmp_path / "disk")
                told = 0
                with refused(errors.DatabaseFull, "No space left"):
                    while True:
                        make_row(index=told)
                        told += 1
                assert Row.objects.count() == told

                filler.unlink()
                for index in range(told + 1):
                    make_row(index=index)
                assert Row.objects.count() == told + 1
                connection.close()
            until(lambda: not servers(var))

    def test_payload_store_is_an_error_and_nothing_refers_to_what_it_lacks(
        self, var, tmp_path, settings
    ):
        settings.LANDSCAPE_VAR = tmp_path / "small"
        a_visit()
        with small_disk(tmp_path / "small", 1):
            before = counts()
            with refused(errors.PayloadNotKept, "No space left"):
                call(response="x" * 2_000_000)
            here = recorder.RunRecorder("r", now=lambda: NOON)
            with here.transaction():
                call(1, response="small")
                with refused(errors.PayloadNotKept):
                    call(2, response="x" * 2_000_000)

            assert counts() == before | {"calls": 1}
            left = [path for path in (tmp_path / "small").rglob("*") if path.is_file()]
            assert not [path for path in left if path.name.startswith(".")]
            resize = ["mount", "-o", "remount,size=9m", str(tmp_path / "small")]
            subprocess.run(resize, check=True)
            call(response="x" * 2_000_000)
            assert recorder.get_call_data(run_id="r", call_id="c0").data == "x" * 2_000_000


def counts():
    return {model._meta.db_table: model.objects.count() for model in AUDIT_MODELS}


class TestRestarts:
    def test_lose_nothing_and_double_nothing(self, var, rounds):
        """`pg_ctl restart -m immediate`, in the middle of a transaction, again and again."""
        restarts = max(5, rounds(20))
        make_run("control")
        pipeline("control", lambda _index: None)
        make_run("r")
        make_run("other")
        acknowledged, struck, interrupted = set(), 0, 0

        def record(tell):
            """As a pipeline would: what was refused is told again, with the same ids."""
            for run_id in ("r", "other"):
                _stubborn(
                    lambda run_id=run_id: pipeline(run_id, lambda i: tell(f"{run_id} {i}")), tell
                )

        connection.close()
        pid, reader = fork(record)
        with os.fdopen(reader) as said:
            for line in said:
                if line == "interrupted\n":
                    interrupted += 1
                    continue
                acknowledged.add(line.strip())
                if len(acknowledged) > struck * 60 // restarts and struck < restarts:
                    first = postmaster(var)
                    # What `-m immediate` sends; the keeper starts it again.
                    os.kill(first, signal.SIGQUIT)
                    struck += 1
                    until(lambda first=first: _restarted(var, first))
                    assert acknowledged <= _on_record(), struck
        _pid, status = os.waitpid(pid, 0)

        assert status == 0
        assert struck == restarts
        assert interrupted >= restarts
        assert logical("r") == logical("other") == logical("control")


def _stubborn(work, tell):
    deadline = time.monotonic() + 120
    while True:
        try:
            return work()
        except errors.DatabaseUnavailable:
            tell("interrupted")
            assert time.monotonic() < deadline
            time.sleep(0.05)


def _restarted(var, first):
    with suppress(OSError, psycopg.OperationalError, IndexError):
        return postmaster(var) != first and connect(var).close() is None
    return False


def _on_record():
    connection.close()  # the server that it led to is gone
    ended = TokenOutcome.objects.filter(is_terminal=True, token_id__startswith="t")
    return {f"{run} {token[1:]}" for run, token in ended.values_list("run_id", "token_id")}
