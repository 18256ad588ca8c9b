"""The process that owns the private services: starts them, revives them, stops them.

    python -m landscape_site.keeper VAR PART... [--not-durable]

It lives as long as anybody holds the services (see `services`), says "ready" on its standard
output once they answer, or else why they do not, and ends when the last holder is gone. If it
is killed itself, the kernel tells the services to shut down.
"""

import argparse
import os
import signal
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from landscape_site.places import Places, ServicesUnavailable
from landscape_site.postgres import create_cluster, postgres_child
from landscape_site.services import ALL, POSTGRES, VALKEY, try_lock
from landscape_site.supervisor import ChildFailed, Supervisor
from landscape_site.valkey import valkey_child

_TICK = 0.1


def main() -> int:
    """Keep the services of one installation until nobody needs them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("var", type=Path)
    parser.add_argument("parts", nargs="+", choices=ALL)
    parser.add_argument("--not-durable", action="store_true")
    options = parser.parse_args()
    places = Places(options.var)
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, _leave)
    with places.lock("keeper").open("ab") as keeper, places.lock("users").open("ab") as users:
        if not try_lock(keeper):
            _answer("Another process started the services at the same moment; try again.")
            return 1
        keeper.truncate(0)
        keeper.write(f"{os.getpid()}".encode())
        keeper.flush()
        try:
            children = []
            if POSTGRES in options.parts:
                create_cluster(places)
                children.append(postgres_child(places, durable=not options.not_durable))
            if VALKEY in options.parts:
                children.append(valkey_child(places))
            supervisor = Supervisor(children)
            supervisor.start()
        except (ChildFailed, ServicesUnavailable, OSError) as error:
            _answer(str(error))
            return 1
        try:
            _answer("ready")
            while not try_lock(users):
                for event in supervisor.revive():
                    sys.stderr.write(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {event}\n")
                time.sleep(_TICK)
        finally:
            supervisor.stop()
            places.queue_socket.unlink(missing_ok=True)
            with suppress(OSError):
                places.sockets.rmdir()
    return 0


def _answer(text: str) -> None:
    """Tell the starter, who waits for the end of this stream."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
    os.dup2(2, 1)


def _leave(_signal: int, _frame: object) -> None:
    raise SystemExit(0)


if __name__ == "__main__":
    raise SystemExit(main())
