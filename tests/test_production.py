"""`manage.py up` in production: what strangers learn, and where nothing secret is to be found.

The database and the queue are somebody's own, here a private installation in disguise.
"""

import base64
import http.client
import json
import re
import socket
import threading
from contextlib import closing
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
import redis

from landscape_site import postgres
from landscape_site.places import Places
from landscape_site.services import held
from tests.running import connect, environment_of, free_port, run, until

HOST = "landscape.example"
# Wherever one of these turns up, somebody can read what they should not.
PLANTED = {
    "secret key": "planted-0123456789-abcdefghijklmnopqrstuvwxyz-0123456789-ABCDEF",
    "broker": "planted-broker-0fd1",
    "signing key": base64.b64encode(b"planted-signing-key-of-32-bytes.").decode(),
    "password": "planted-password-77aa",
    "wrong password": "planted-wrong-password-31c9",
    "identity provider": "planted-client-secret-5b2e",
}
RECORD = """
from datetime import UTC, datetime
from audit import recorder
at = datetime.now(UTC)
recorder.begin_run(run_id="r", settings={}, at=at)
recorder.complete_run(run_id="r", status="completed", at=at)
"""
TRAVERSALS = [
    "/static/../landscape_site/settings.py",
    "/static/%2e%2e/landscape_site/settings.py",
    "/static/..%2flandscape_site/settings.py",
    "/static/audit/%2e%2e%5c%2e%2e/manage.py",
    "/static//etc/passwd",
    "/static/%2fetc/passwd",
    "/static/audit/css/base.css%00.py",
    "/static/%c0%ae%c0%ae/manage.py",
    "/.well-known/landscape-export/..%2f..%2fmanage.py",
    "/.well-known/landscape-export/%00",
    "/exports/..%2f..%2fsecrets%2fsigning_key.pem/download/",
    "/exports/%2e%2e/secrets/download/",
    "/exports/~2E~2E~2Fsecrets/download/",
    "/exports/x%00y/download/",
    "/runs/r/records/run/..%2f..%2fetc%2fpasswd/proof.zip",
    "/runs/..%2f..%2fetc/dag.svg",
    "/runs/r/records/%00/x/",
    "/api/v1/runs/..%2f..%2fetc%2fpasswd/",
    "/api/v1/runs/%00/",
]


@pytest.fixture
def elsewhere(tmp_path):
    """Where the database and the queue lie."""
    with held(tmp_path / "elsewhere", durable=False):
        yield tmp_path / "elsewhere"


@pytest.fixture
def queue(elsewhere):
    """The queue, as whoever runs it reaches it; the product knows a name and a password."""
    with closing(redis.Redis(unix_socket_path=str(Places(elsewhere).queue_socket))) as client:
        client.acl_setuser(
            "landscape",
            enabled=True,
            passwords=[f"+{PLANTED['broker']}"],
            keys=["*"],
            channels=["*"],
            commands=["+@all"],
        )
        yield client


@pytest.fixture
def environment(elsewhere, queue):
    host = quote(str(Places(elsewhere).sockets), safe="")
    url = {
        login: f"postgresql://{login}:{Places(elsewhere).password(login).read_text()}@{host}"
        f"/{postgres.DATABASE}"
        for login in (postgres.APPLICATION_LOGIN, postgres.OWNER_LOGIN)
    }
    port = free_port()
    queue.config_set("port", port)
    return {
        "LANDSCAPE_DEBUG": "false",
        "LANDSCAPE_SECRET_KEY": PLANTED["secret key"],
        "LANDSCAPE_ALLOWED_HOSTS": HOST,
        "LANDSCAPE_DATABASE_URL": url[postgres.APPLICATION_LOGIN],
        "LANDSCAPE_OWNER_DATABASE_URL": url[postgres.OWNER_LOGIN],
        "LANDSCAPE_BROKER_URL": f"redis://landscape:{PLANTED['broker']}@127.0.0.1:{port}/0",
        "LANDSCAPE_SIGNING_KEY": PLANTED["signing key"],
        "LANDSCAPE_ADMIN_PASSWORD": PLANTED["password"],
        "LANDSCAPE_REQUIRE_MFA": "false",
        "LANDSCAPE_OIDC_ISSUER": "https://127.0.0.1:1",
        "LANDSCAPE_OIDC_CLIENT_ID": "landscape",
        "LANDSCAPE_OIDC_CLIENT_SECRET": PLANTED["identity provider"],
    }


class Browser:
    """Asks for addresses as they are written, through a proxy that speaks HTTPS, with cookies."""

    def __init__(self, port):
        self.port = port
        self.cookies = SimpleCookie()

    def ask(self, path, method="GET", *, form=None, **headers):
        given = "; ".join(f"{name}={morsel.value}" for name, morsel in self.cookies.items())
        headers |= {"Host": HOST, "X-Forwarded-Proto": "https", "Cookie": given}
        headers |= {"Referer": f"https://{HOST}/"}
        if form is not None:
            headers |= {"Content-Type": "application/x-www-form-urlencoded"}
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as asked:
            asked.request(method, path, urlencode(form) if form else None, headers)
            answer = asked.getresponse()
            answer.text = answer.read().decode(errors="replace")
        for cookie in answer.headers.get_all("Set-Cookie", []):
            self.cookies.load(cookie)
        return answer

    def sign_in(self, password):
        page = self.ask("/accounts/login/").text
        token = re.search('csrfmiddlewaretoken" value="(.+?)"', page)[1]
        form = {"csrfmiddlewaretoken": token, "login": "admin", "password": password}
        return self.ask("/accounts/login/", "POST", form=form)


def listen(places):
    """Everything that anybody says to the queue from now on."""
    line = socket.socket(socket.AF_UNIX)
    line.connect(str(places.queue_socket))
    line.sendall(b"MONITOR\r\n")
    heard = []

    def hear():
        while said := line.recv(65_536):
            heard.append(said)

    threading.Thread(target=hear, daemon=True).start()
    until(lambda: heard)
    return line, heard


def told(heard):
    """What was said to the queue; the arguments of tasks are wrapped up in it."""
    queued = b"".join(heard).decode(errors="replace")
    wrapped = re.findall(r'body\\*": \\*"([A-Za-z0-9+/=]+)', queued)
    return queued + "".join(base64.b64decode(each).decode() for each in wrapped)


def command_lines():
    """What anybody on this machine sees of every process."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(entry.read_bytes())
        except OSError:
            continue
    return b"\n".join(found).decode(errors="replace")


@pytest.mark.faults
def test_serves_says_little_and_keeps_its_secrets(start, environment, elsewhere, queue):
    line, heard = listen(Places(elsewhere))
    site = start(**environment)
    site.wait_for("Landscape is ready")
    browser = Browser(site.port)

    serves_by_https_to_its_host(site)
    starts_no_services_and_keeps_the_owner_out(site)
    has_cookies_that_are_bound_to_it(browser)
    leads_nowhere_else(browser)
    opens_no_file_that_is_not_asked_for(browser)
    says_nothing_of_its_faults(browser, elsewhere)

    code, said = run(site.var, "shell", "-v0", "-c", RECORD, **environment)
    assert code == 0, said
    with connect(elsewhere) as application:
        for table in ("run_summaries", "seals"):
            until(lambda t=table: application.execute(f"SELECT 1 FROM {t}").fetchone())
    lines = command_lines()
    assert "landscape_site.wsgi" in lines
    kept = "".join(f"{key} {queue.dump(key)}" for key in queue.scan_iter())
    # Everybody who speaks with the queue is turned away and complains.
    queue.acl_deluser("landscape")
    assert Browser(site.port).sign_in(PLANTED["wrong password"]).status == 200
    site.wait_for("Valkey does not answer")
    site.wait_for("Cannot connect to redis")
    assert site.stop() == 0
    line.shutdown(socket.SHUT_RDWR)
    line.close()

    queued = told(heard)
    assert "audit.tasks.run_summary" in queued
    assert '["r"]' in queued
    secrets = PLANTED | {
        login: Places(elsewhere).password(login).read_text()
        for login in (postgres.APPLICATION_LOGIN, postgres.OWNER_LOGIN)
    }
    places = {"log": "".join(site.said), "lines": lines, "queued": queued, "kept": kept}
    found = [
        (name, place)
        for name, secret in secrets.items()
        for place, text in places.items()
        if secret in text
    ]
    assert found == []


def serves_by_https_to_its_host(site):
    page = "accounts/login/"
    plain = site.answer(page, host=HOST)
    behind_proxy = site.answer(page, host=HOST, forwarded_proto="https")
    stranger = site.answer(page, host="other.example", forwarded_proto="https")

    assert plain.status == 301
    assert plain.headers["Location"] == f"https://{HOST}/accounts/login/"
    assert behind_proxy.status == 200
    assert "max-age=31536000" in behind_proxy.headers["Strict-Transport-Security"]
    assert stranger.status == 400


def starts_no_services_and_keeps_the_owner_out(site):
    environments = [environment_of(pid) for pid in site.web_processes()]

    assert environments
    for withheld in (b"LANDSCAPE_OWNER_DATABASE_URL", b"LANDSCAPE_SIGNING_KEY"):
        assert not [one for one in environments if withheld in one]
    assert not [one for one in map(environment_of, site.workers()) if b"OIDC_CLIENT_SECRET" in one]
    assert not (site.var / "postgres").exists()
    assert not (site.var / "valkey").exists()


def has_cookies_that_are_bound_to_it(browser):
    refused = browser.sign_in(PLANTED["wrong password"])
    assert refused.status == 200
    assert "__Host-session" not in browser.cookies

    assert browser.sign_in(PLANTED["password"]).status == 302

    assert set(browser.cookies) - {"messages"} == {"__Host-session", "__Host-csrf", "__Host-device"}
    for morsel in browser.cookies.values():
        assert morsel["secure"], morsel
        assert morsel["httponly"], morsel
        assert morsel["samesite"] == "Lax"
        assert (morsel["path"], morsel["domain"]) == ("/", "")
    assert browser.ask("/runs/").status == 200


def leads_nowhere_else(browser):
    for path in (
        "//evil.example/runs",
        "//evil.example/%2f..",
        "/\\evil.example/runs",
        "/%5cevil.example/runs",
        "/%2f%2fevil.example/runs",
        "/runs?next=//evil.example",
        "https://evil.example/runs",
        "/accounts/reauthenticate/?next=//evil.example/",
    ):
        where = browser.ask(path).headers.get("Location", "/")
        assert re.match(rf"(https://{re.escape(HOST)})?/(?![/\\])", where), (path, where)


def opens_no_file_that_is_not_asked_for(browser):
    assert browser.ask("/static/audit/css/base.css").status == 200
    for path in TRAVERSALS:
        answer = browser.ask(path)
        assert answer.status in {301, 302, 400, 404}, (path, answer.status)
        for word in ("PRODUCTION", "DJANGO_SETTINGS_MODULE", "root:", "PRIVATE"):
            assert word not in answer.text, path


def says_nothing_of_its_faults(browser, elsewhere):
    traced = browser.ask("/accounts/login/", "TRACE", **{"X-Secret": "told-back"})
    assert traced.status == 405
    assert "told-back" not in traced.text + str(traced.headers)

    with connect(elsewhere, postgres.CLUSTER_LOGIN) as superuser:
        superuser.execute("ALTER TABLE run_summaries RENAME TO away")
        try:
            page = browser.ask("/runs/?sort=secret-of-somebody")
            fault = browser.ask("/runs/")
            api = browser.ask("/api/v1/runs/")
        finally:
            superuser.execute("ALTER TABLE away RENAME TO run_summaries")
    assert page.status == 400
    assert fault.status == api.status == 500
    assert "Our fault" in fault.text
    assert set(json.loads(api.text)) == {"error"} if api.text.startswith("{") else True
    for answer in (page, fault, api):
        told = answer.text + str(answer.headers)
        for word in ("Traceback", "psycopg", "SELECT", "run_summaries", "site-packages", "Django"):
            assert word not in told, word
        assert not re.search(r"\d", answer.headers.get("Server", ""))
        assert "X-Powered-By" not in answer.headers


class TestHalfAProduction:
    def test_refuses_a_database_that_nobody_has_migrated(self, tmp_path, environment):
        del environment["LANDSCAPE_OWNER_DATABASE_URL"]

        code, said = run(tmp_path / "var", "up", "--port", "0", **environment)

        assert code == 1
        assert "schema_info" in said
        assert "Traceback" not in said
