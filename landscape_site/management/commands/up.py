"""Start Landscape and keep it running.

1. Take the port, so that a mistake shows before anything else happens.
2. Migrate as the owner, and check that the database is what the models say.
3. On the first start of all, create the administrator.
4. Import the files that were asked for; a refused one is reported and does not stop the rest.
5. Start the web server and keep it alive, together with the private services.
6. Beside it, record the demo, if the private database holds nothing else and nothing was imported.

manage.py has started the private services before, as for every command, and stops them after.
"""

import http.client
import logging
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from io import StringIO
from typing import Any, NoReturn

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections
from django.utils import timezone

from audit.management.demo import story
from audit.vocabulary import Role
from landscape_site import services
from landscape_site.places import ServicesUnavailable
from landscape_site.supervisor import Child, ChildFailed, Supervisor

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
ADMINISTRATOR = "admin"

_TICK = 0.5
_ONLY_FOR_UP = {"LANDSCAPE_OWNER_DATABASE_URL", "LANDSCAPE_ADMIN_PASSWORD"}
# The web process serves strangers: it never signs.
_NOT_FOR_WEB = {"LANDSCAPE_SIGNING_KEY"}
# The others sign nobody in.
_ONLY_FOR_WEB = {
    "LANDSCAPE_OIDC_ISSUER",
    "LANDSCAPE_OIDC_CLIENT_SECRET",
    "LANDSCAPE_OIDC_CLIENT_SECRET_FILE",
}


class Command(BaseCommand):
    """The one command behind `make run`."""

    help = "Starts Landscape and keeps it running until Ctrl-C."
    # `migrate` checks, and says the same.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=8000, help="port of the web server")
        parser.add_argument(
            "--import",
            dest="imports",
            action="append",
            default=[],
            metavar="PATH",
            help="audit database to import before the web server starts; may be repeated",
        )
        parser.add_argument("--no-demo", action="store_true", help="leave an empty database empty")

    def handle(self, *_args: Any, **options: Any) -> None:
        for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(sign, _stop)
        try:
            demo = not options["no_demo"] and not options["imports"]
            self._run(port=options["port"], imports=options["imports"], demo=demo)
        except KeyboardInterrupt:
            self._say("Landscape has stopped.")

    def _run(self, *, port: int, imports: list[str], demo: bool) -> None:
        with listen(port) as listener:
            self._prepare(imports)
            demo = demo and demo_is_wanted()
            # `up` itself needs no connection from here on.
            connections.close_all()
            address = f"http://{HOST}:{listener.getsockname()[1]}/"
            children = [web_child(listener), worker_child(), sweeper_child()]
            supervisor = Supervisor([*children, demo_child()] if demo else children)
            try:
                supervisor.start()
                self._say(f"Landscape is ready at {address}  (sign in as {ADMINISTRATOR})")
                if demo:
                    self._say("Three example runs are being recorded; that takes half a minute.")
                keep(supervisor)
            except ChildFailed as failure:
                raise CommandError(str(failure)) from failure
            finally:
                supervisor.stop()

    def _prepare(self, imports: list[str]) -> None:
        # In production the owner's login may be kept elsewhere; then somebody migrates there.
        if "owner" in connections:
            call_command("migrate", verbosity=0)
        call_command("check_schema", stdout=StringIO())  # it raises when something differs
        if settings.PRODUCTION:
            call_command("collectstatic", verbosity=0, interactive=False)
        if password := first_administrator():
            self._say(
                f"This is the first start: the administrator is “{ADMINISTRATOR}”, the password"
                f" is “{password}”. It is not shown again; manage.py changepassword sets another."
            )
        for path in imports:
            self._import(path)

    def _import(self, path: str) -> None:
        try:
            call_command("import_audit", path)
        except (CommandError, SystemExit) as refusal:
            reason = "" if isinstance(refusal, SystemExit) else f" ({refusal})"
            self._complain(f"{path}: not imported{reason}. Landscape starts all the same.")
        except Exception:
            # Whatever is wrong with one file, the others and the pages remain useful.
            logger.exception("%s: not imported. Landscape starts all the same.", path)

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        # Someone may be waiting for this line at the other end of a pipe.
        self.stdout.flush()

    def _complain(self, line: str) -> None:
        self.stderr.write(line)
        self.stderr.flush()


def listen(port: int) -> socket.socket:
    """Take the port for as long as Landscape runs, restarts of the web server included.

    Raises:
        CommandError: somebody else has it.
    """
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        # Only a listening socket keeps others out; early visitors wait in its queue.
        listener.listen()
    except (OSError, OverflowError) as error:
        listener.close()
        raise CommandError(
            f"Port {port} on {HOST} cannot be used: {error}."
            " Name another one: manage.py up --port 8001, or make run PORT=8001."
        ) from error
    return listener


def first_administrator() -> str:
    """Create the administrator if there is no user at all.

    In a trial it has every role, so that one person can see everything; what needs two people
    still needs a second one. In production it gives roles to others, and has no more itself.
    Returns the password if it was invented here and somebody has to be told.
    """
    users = get_user_model().objects
    if users.exists():
        return ""
    given = settings.ENV.admin_password
    invented = "" if given else secrets.token_urlsafe(12)
    person = users.create_superuser(ADMINISTRATOR, password=given or invented)
    roles = [Role.ADMINISTRATOR] if settings.PRODUCTION else list(Role)
    person.groups.set(Group.objects.filter(name__in=roles))
    return invented


def web_child(listener: socket.socket) -> Child:
    """Describe the web server for the supervisor."""
    command = [sys.executable, "-m", "gunicorn", "landscape_site.wsgi:application"]
    command += ["--bind", f"fd://{listener.fileno()}", "--chdir", str(settings.BASE_DIR)]
    command += ["--worker-class", "gthread", "--workers", "2", "--threads", "4"]
    command += ["--graceful-timeout", "5", "--no-control-socket", "--log-level", "warning"]
    return Child(
        name="The web server",
        command=command,
        ready=partial(_answers, listener.getsockname()[1]),
        environment=environment_for("web", os.environ),
        pass_fds=[listener.fileno()],
        patience=30,
    )


def worker_child() -> Child:
    """Describe the process that does what takes longer than a page."""
    command = [sys.executable, "-m", "celery", "--quiet", "--app", "landscape_site", "worker"]
    command += ["--concurrency", "2", "--loglevel", "warning", "--without-gossip"]
    command += ["--without-mingle", "--hostname", "landscape@%h"]
    return _background("The worker", command)


def sweeper_child() -> Child:
    """Describe the process that finds what is due."""
    return _background(
        "The sweeper", [sys.executable, str(settings.BASE_DIR / "manage.py"), "sweep"]
    )


def _background(name: str, command: list[str]) -> Child:
    return Child(
        name=name,
        command=command,
        # Pages do not wait for it; if it dies it is started again.
        ready=lambda _pid: True,
        environment=environment_for("worker", os.environ),
        patience=30,
    )


def environment_for(role: str, own: Mapping[str, str]) -> dict[str, str]:
    """What a child may know: everything but what only `up` needs, or only who signs."""
    withheld = _ONLY_FOR_UP | (_NOT_FOR_WEB if role == "web" else _ONLY_FOR_WEB)
    kept = {name: value for name, value in own.items() if name not in withheld}
    return kept | {"LANDSCAPE_ROLE": role}


def demo_is_wanted() -> bool:
    """Whether to record the demo: records cannot be deleted, so nobody else's database gets any."""
    if settings.PRODUCTION or settings.ENV.database is not None:
        return False
    return story.is_wanted(now=timezone.now())


def demo_child() -> Child:
    """Describe the recording of the demo: it says itself how far it is, and ends."""
    command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "demo"]
    return replace(_background("The demo", command), once=True)


def keep(supervisor: Supervisor) -> NoReturn:
    """Keep the web server and the private services alive until a signal says otherwise."""
    while True:
        try:
            parts = settings.ENV.private_services
            if parts and services.ensure(settings.LANDSCAPE_VAR, parts):
                logger.warning("The keeper of the services was gone; they are running again.")
        except ServicesUnavailable as error:
            logger.error("%s Trying again.", error)  # noqa: TRY400 - the sentence says it all
        for event in supervisor.revive():
            logger.warning("%s", event)
        time.sleep(_TICK)


def _answers(port: int, _pid: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    # A name that production allows; elsewhere the first one is localhost.
    host = settings.ALLOWED_HOSTS[0].lstrip(".*") or HOST
    try:
        connection.request("GET", "/health/live", headers={"Host": host})
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return status < http.HTTPStatus.INTERNAL_SERVER_ERROR


def _stop(_signal: int, _frame: object) -> None:
    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Once is enough: what follows is short, and stopping half-way helps nobody.
        signal.signal(sign, signal.SIG_IGN)
    raise KeyboardInterrupt
