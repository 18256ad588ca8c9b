"""What the access log adds to a page: a row page with it against the same page without.

The events go into a log that holds many already. Prints medians of both, asked in turns, and what
one event costs by itself; exits 1 where it adds 3 ms or more. The database is a private one, with
a disk that is waited for, thrown away at the end. `EVENTS` may be given as an argument.
"""

import os
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VAR = ROOT / "var" / "bench"
sys.path.insert(0, str(ROOT))
os.environ["LANDSCAPE_VAR"] = str(VAR)
os.environ["LANDSCAPE_DEBUG"] = "true"
os.environ["DJANGO_SETTINGS_MODULE"] = "landscape_site.settings"

from landscape_site import services  # noqa: E402  # needs the path above

EVENTS = 100_000
REQUESTS = 100
LIMIT_MS = 3.0

FILL = """
INSERT INTO access_events (at, user_id, user_name, action, kind, run_id, object_id, result,
                           prev_hash, hash)
SELECT now(), n %% 50, 'reader', 'read', 'row', %s, md5(n::text), 'given', '', ''
  FROM generate_series(1, %s) n
"""


def main(events: int) -> int:  # noqa: PLR0915  # a script, read from top to bottom
    """Fill, measure, print, judge."""
    import django
    from django.conf import settings

    django.setup()
    settings.DEBUG = False
    from unittest import mock

    from django.contrib.auth import get_user_model
    from django.db import connection, connections
    from django.test import Client
    from django.urls import reverse
    from django.utils import timezone

    from audit import access
    from audit.vocabulary import AccessAction
    from tests.builders import make_world

    owner = connections["owner"]
    owner.settings_dict["TEST"]["NAME"] = f"bench_access_{os.getpid()}"
    name = owner.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    connections["default"].settings_dict["NAME"] = name
    try:
        world = make_world()
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")
            cursor.execute(FILL, [world.run.run_id, events])
            cursor.execute("SHOW fsync")
            assert cursor.fetchone() == ("on",)
        with owner.cursor() as cursor:
            cursor.execute("ANALYZE")
        person = get_user_model().objects.create_superuser("reader")
        client = Client(SERVER_NAME="localhost")
        client.force_login(person)
        row = world.rows[0]
        address = reverse("audit:row", args=[world.run.run_id, row.row_id])

        def get() -> float:
            started = time.perf_counter()
            assert client.get(address).status_code == 200  # noqa: PLR2004
            return 1000 * (time.perf_counter() - started)

        def write() -> float:
            started = time.perf_counter()
            access.record(
                action=AccessAction.READ,
                user_id=person.pk,
                user_name="reader",
                run_id=world.run.run_id,
                object_id=row.row_id,
                kind="row",
                at=timezone.now(),
            )
            return 1000 * (time.perf_counter() - started)

        get()
        nothing_seen = access.Seen(viewed=0, exported=0)
        with_log, without, alone = [], [], []
        for _ in range(REQUESTS):
            with_log.append(get())
            with (
                mock.patch("audit.access.record", return_value=None),
                mock.patch("audit.access.count_seen", return_value=nothing_seen),
            ):
                without.append(get())
            alone.append(write())
    finally:
        connection.close()
        owner.creation.destroy_test_db(name, verbosity=0)
    added = statistics.median(with_log) - statistics.median(without)
    for what, taken in (("with the log", with_log), ("without", without), ("one event", alone)):
        print(f"{what:<14} median {statistics.median(taken):6.2f} ms, best {min(taken):6.2f}")
    print(f"the log of {events:,} events adds {added:.2f} ms to a page")
    kept = added < LIMIT_MS
    print("promise kept" if kept else "PROMISE BROKEN")
    return 0 if kept else 1


if __name__ == "__main__":
    with services.held(VAR, durable=True):
        sys.exit(main(int(sys.argv[1]) if sys.argv[1:] else EVENTS))
