"""Guessing from everywhere at once: two processes of the real web server, one Valkey, one count."""

from __future__ import annotations

import http.client
import re
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
import redis
from django.conf import settings
from django.db import connection

from audit.models import AccessEvent
from landscape_site.management.commands import up
from landscape_site.places import Places
from tests.running import until

pytestmark = [pytest.mark.faults, pytest.mark.django_db(transaction=True)]

TOO_MANY = "Too many failed login attempts"
# Nobody else counts there.
DATABASE = 9


@pytest.fixture
def port(tmp_path):
    """The web server as `up` starts it, before the database of this test."""
    own = connection.settings_dict
    host = quote(own["HOST"], safe="")
    counted = f"unix://{Places(settings.LANDSCAPE_VAR).queue_socket}?db={DATABASE}"
    counts = redis.from_url(counted)
    counts.flushdb()
    with up.listen(0) as listener, (tmp_path / "log").open("wb") as log:
        child = up.web_child(listener)
        environment = child.environment | {
            "LANDSCAPE_DATABASE_URL": f"postgresql://{own['USER']}:{own['PASSWORD']}@{host}"
            f"/{own['NAME']}",
            "LANDSCAPE_CACHE_URL": counted,
        }
        with subprocess.Popen(
            child.command,
            env=environment,
            pass_fds=child.pass_fds,
            stdout=log,
            stderr=log,
        ) as process:
            try:
                until(lambda: len(workers(process)) == 2 and child.ready(process.pid))
                yield listener.getsockname()[1], process, counts
            finally:
                process.terminate()
                counts.close()


def workers(process):
    """The processes that answer, and how much of the processor each has used."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return {pid: int(Path(f"/proc/{pid}/stat").read_text().split()[13]) for pid in children}


class Stranger:
    """Somebody with a form, who sends it as often as they like and says where they come from."""

    def __init__(self, port):
        self.port = port
        answer, page = self.ask("GET", {}, "")
        self.cookie = answer.headers["Set-Cookie"].split(";")[0]
        self.token = re.search('csrfmiddlewaretoken" value="(.+?)"', page)[1]

    def ask(self, method, headers, body):
        asked = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        asked.request(method, settings.LOGIN_URL, body, {"Host": "localhost"} | headers)
        answer = asked.getresponse()
        page = answer.read().decode()
        asked.close()
        return answer, page

    def guess(self, name, address, password="wrong"):
        """Whether a password was looked at."""
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Cookie": self.cookie,
            "X-Forwarded-For": address,
            "Forwarded": f"for={address}",
            "X-Real-IP": address,
        }
        form = {"csrfmiddlewaretoken": self.token, "login": name, "password": password}
        answer, page = self.ask("POST", headers, urlencode(form))
        # Thirty in a minute from one address is too many, whoever it says it is: 429.
        assert answer.status in {200, 302, 429}, page
        return answer.status != 429 and TOO_MANY not in page

    def guess_at_once(self, names):
        """How many of these attempts, all begun in one moment, were looked at."""
        gate = threading.Barrier(len(names))

        def attempt(number, name):
            gate.wait()
            return self.guess(name, f"198.51.100.{number}")

        with ThreadPoolExecutor(len(names)) as pool:
            return sum(pool.map(attempt, range(len(names)), names))


def test_no_more_than_the_limits_get_past_two_processes(port, django_user_model):
    django_user_model.objects.create_user("ada", password="a good long passphrase")
    number, process, counts = port
    stranger, before = Stranger(number), workers(process)

    of_one_name = stranger.guess_at_once(["ada", "ADA"] * 25)
    right = stranger.guess("ada", "198.51.100.99", "a good long passphrase")
    counts.flushdb()
    of_many = stranger.guess_at_once([f"name {each}" for each in range(50)])

    # Whatever they say of themselves, they come from one address.
    assert 0 < of_one_name <= 10
    assert not right
    assert 0 < of_many <= 20
    assert AccessEvent.objects.count() == of_one_name + of_many
    assert not AccessEvent.objects.exclude(address="127.0.0.1").exists()
    assert all(used > before[pid] for pid, used in workers(process).items())
