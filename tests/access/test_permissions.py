"""Who may what: every address × everybody × every method, against `permissions.tsv`.

A route that the table does not know turns this red: add its lines, see CONTRIBUTING.md.
"""

from __future__ import annotations

import logging
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse

from audit import tasks
from audit.models import AccessEvent
from audit.vocabulary import Role
from tests.access.world import PARAMETERS, planted

pytestmark = pytest.mark.django_db

TABLE = Path(__file__).with_name("permissions.tsv")
ACTORS = ("stranger", "nobody", *Role.values, "superuser")
# Keys that are numbers.
NUMBERS = ("plan_id", "session_id", "number")
# What no route of ours takes, whoever asks; strangers are sent to the login first.
OTHERS = ("PUT", "PATCH", "DELETE", "OPTIONS")


def read_table():
    """Lines of route, method and one status for each actor; `-` is what was not asked."""
    lines = [line for line in TABLE.read_text().splitlines() if line and not line.startswith("#")]
    assert tuple(lines[0].split("\t")[2:]) == ACTORS
    table = {}
    for line in lines[1:]:
        route, method, *codes = line.split("\t")
        assert (route, method) not in table, f"{route} {method} stands twice"
        table[route, method] = codes
    return table


def expected(table, route, method):
    """The statuses of a route; a line for all of a namespace may stand for it."""
    for (name, word), codes in table.items():
        if fnmatch(route, name) and word in {method, "*" if method in OTHERS else None}:
            return codes
    return None


@pytest.fixture
def actors(person, settings, tmp_path, monkeypatch, caplog):
    """A client for everybody; the exporter's number, whose export it is."""
    settings.LANDSCAPE_VAR = tmp_path / "var"
    settings.SIGNING_KEY_FILE = tmp_path / "var" / "secrets" / "signing_key.pem"
    monkeypatch.setattr("audit.tasks._ring", lambda *_: None)
    # Nobody works during tests, and waiting for an answer takes half a second.
    nobody = tasks.Background(workers=(), waiting=None, sweeper_seen=None, problem="")
    monkeypatch.setattr("audit.tasks.background", lambda: nobody)
    # A line for each of thousands of refusals costs more than the refusals.
    caplog.set_level(logging.CRITICAL, logger="django.request")
    people = {role: person(role) for role in Role.values}
    people |= {"nobody": person(), "superuser": person(superuser=True)}
    clients = {"stranger": Client(raise_request_exception=False)}
    for name, somebody in people.items():
        clients[name] = Client(raise_request_exception=False)
        clients[name].force_login(somebody)
    return clients, people


class TestTheTable:
    def test_knows_every_route_and_no_other(self):
        table = read_table()

        missing = [
            f"{route} {method}"
            for route in PARAMETERS
            for method in ("GET", "POST", "PUT")
            if expected(table, route, method) is None
        ]
        gone = [name for name, _ in table if "*" not in name and name not in PARAMETERS]

        assert missing == [], "add these to tests/access/permissions.tsv"
        assert gone == []


class TestEverybody:
    def test_gets_what_the_table_says(self, actors):
        clients, people = actors
        world = planted(requested_by=people["exporter"].pk)
        table, wrong = read_table(), []
        for route in PARAMETERS:
            if expected(table, route, "GET")[0] == "-" or "(unnamed)" in route:
                continue
            address = world.address(route)
            for method in ("GET", "HEAD", "POST", *OTHERS):
                codes = expected(table, route, "GET" if method == "HEAD" else method)
                for actor, code in zip(ACTORS, codes or (), strict=False):
                    if actor not in askers(route, method, code):
                        continue
                    answer = ask(clients[actor], method, address)
                    if str(answer.status_code) != code:
                        wrong.append(f"{method} {route} {actor}: {answer.status_code}, not {code}")

        assert not wrong, "\n".join(wrong)
        assert AccessEvent.objects.filter(result="refused").exists()

    def test_is_told_the_same_of_what_they_may_not_see_and_of_what_is_not_there(self, actors):
        clients, people = actors
        world = planted(requested_by=people["auditor"].pk)

        for name, client in clients.items():
            for route in PARAMETERS:
                if not route.startswith("audit:") or not PARAMETERS[route]:
                    continue
                there = ask(client, "GET", world.address(route))
                # What somebody else exports is not there for an exporter.
                hidden = name == "exporter" and "export_id" in PARAMETERS[route]
                if there.status_code not in {302, 401, 403} and not hidden:
                    continue
                keys = dict.fromkeys(world.keys, "nowhere") | dict.fromkeys(NUMBERS, 4243)
                nowhere = client.get(
                    reverse(route, kwargs={key: keys[key] for key in PARAMETERS[route]})
                )
                assert there.status_code == nowhere.status_code, (name, route)
                assert told(there, world) == told(nowhere, world), (name, route)

    def test_is_safe_from_forged_forms(self, actors, person):
        world = planted(requested_by=1)
        client = Client(enforce_csrf_checks=True)
        client.force_login(person(*Role.values, name="everything"))
        takes = [
            route
            for (route, method), codes in read_table().items()
            if method == "POST" and set(codes) - {"-", "401", "403", "405"} and route in PARAMETERS
        ]
        takes = [route for route in takes if route.startswith(("audit:", "admin:"))]

        assert len([route for route in takes if route.startswith("admin:")]) > 10
        for route in takes:
            answer = client.post(world.address(route))
            assert answer.status_code == 403, route
            assert "CSRF" in answer.text or "form" in answer.text, route


def askers(route, method, code):
    """Who is worth asking: everybody, but what is decided before anybody is known costs less."""
    if route.startswith("admin:") and code == "405":
        return ("administrator",) if method in {"GET", "POST", "PUT"} else ()
    if method == "HEAD" and code == "200":
        return ("viewer",)
    if method in OTHERS and method != "PUT":
        return ("stranger", "auditor")
    return ACTORS


def ask(client, method, address):
    """One request; the API is asked in JSON."""
    kind = {"data": "{}", "content_type": "application/json"} if "/api/" in address else {}
    answer = client.generic(method, address, **kind)
    if answer.streaming:
        # Not `close`, which would close the test's connection too.
        b"".join(answer)
    return answer


def told(answer, world):
    """What an answer says, whichever keys it names."""
    text = re.sub(r'(csrfmiddlewaretoken" value=")\w+', r"\1", answer.text)
    for key in (*world.keys.values(), "nowhere", "4243"):
        text = text.replace(str(key), "KEY")
    return text, answer.headers.get("Location", "").split("?")[0].replace("nowhere", "KEY")
