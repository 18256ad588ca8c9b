"""Preview over a million payloads, and a purge from the file system.

Prints how long a preview takes and what memory the process needs for it, and how many payloads a
second a purge deletes. Exits 1 where a promise is broken: preview under 10 s, its memory the same
for a tenth of the payloads, 2,000 payloads/s deleted. `--payloads` and `--purged` take smaller
sizes. The database is a private one, thrown away at the end.
"""

import argparse
import os
import resource
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VAR = ROOT / "var" / "bench"
sys.path.insert(0, str(ROOT))
os.environ["LANDSCAPE_VAR"] = str(VAR)
os.environ["LANDSCAPE_DEBUG"] = "true"
os.environ["LANDSCAPE_PURGE_WAIT"] = "0"
os.environ["DJANGO_SETTINGS_MODULE"] = "landscape_site.settings"

from landscape_site import services  # noqa: E402  # needs the path above

LIMIT_SECONDS = 10
LIMIT_MEMORY_MB = 20
LIMIT_RATE = 2_000
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
LATER = NOON + timedelta(days=400)

# Rows of a run that refer to a payload each; half of the payloads are shared with another run.
FILL = """
INSERT INTO payloads (content_hash, state, size_bytes, recorded_at)
SELECT encode(sha256(('%(run)s ' || n)::bytea), 'hex'), 'available', 300, %(at)s
FROM generate_series(1, %(count)s) n;
INSERT INTO rows (run_id, row_id, source_node_id, row_index, source_data_hash, source_data_ref,
    created_at)
SELECT %(run)s, 'r' || n, 'csv', n, h, h, %(at)s
FROM (SELECT n, encode(sha256(('%(run)s ' || n)::bytea), 'hex') AS h
      FROM generate_series(1, %(count)s) n) made;
INSERT INTO rows (run_id, row_id, source_node_id, row_index, source_data_hash, source_data_ref,
    created_at)
SELECT %(sharing)s, 'r' || n, 'csv', n, h, h, %(at)s
FROM (SELECT n, encode(sha256(('%(run)s ' || n)::bytea), 'hex') AS h
      FROM generate_series(1, %(count)s / 2) n) made;
"""


def fill(run_id: str, count: int) -> None:
    """Two ended runs that refer to this many payloads."""
    from django.db import connection, transaction

    from audit.recorder.bulk import without_time_limits
    from tests.builders import make_node, make_run

    for name in (run_id, f"{run_id}-sharing"):
        make_node(make_run(run_id=name), "csv", "source", node_id="csv")
    with transaction.atomic(), connection.cursor() as cursor:
        without_time_limits()
        for statement in FILL.replace("'%(run)s ", f"'{run_id} ").split(";")[:-1]:
            cursor.execute(
                statement,
                {"run": run_id, "sharing": f"{run_id}-sharing", "count": count, "at": NOON},
            )


def write_files(run_id: str, count: int) -> None:
    """The bytes behind those payloads: the purge looks at names alone."""
    from audit import payloads
    from tests.builders import digest

    for number in range(1, count + 1):
        path = VAR / "payloads" / payloads.place(digest(f"{run_id} {number}"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 300)


def preview(planner: int) -> tuple[float, float, int]:
    """Seconds, megabytes that it took beyond what was there, and the plan."""
    from audit import retention

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.monotonic()
    plan = retention.preview(by=planner, at=LATER)
    taken = time.monotonic() - begun
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"preview: {plan.items:,} payloads of {plan.runs} runs in {taken:.2f} s, +{grown:.1f} MB")
    return taken, grown, int(plan.plan_id)


def purge(planner: int, approver: int) -> float:
    """Payloads a second, from the first batch to the last; seal and certificate apart."""
    from audit import retention
    from audit.models import PurgePlan
    from audit.retention import purging

    plan = PurgePlan.objects.latest("plan_id")
    retention.approve(
        plan_id=plan.plan_id, digest=plan.digest, count=plan.items, reason="", by=approver, at=LATER
    )
    retention.begin(plan_id=plan.plan_id, by=planner, at=LATER)
    ended: list[float] = []
    seal = purging._seal_runs  # noqa: SLF001  # where deleting has ended
    purging._seal_runs = lambda *given: (ended.append(time.monotonic()), seal(*given))  # noqa: SLF001
    begun = time.monotonic()
    retention.execute(plan_id=plan.plan_id, clock=lambda: LATER)
    plan.refresh_from_db()
    rate = plan.purged_items / (ended[0] - begun)
    print(f"purge: {plan.purged_items:,} of {plan.items:,} payloads, {rate:,.0f} a second")
    return rate


def measure(count: int, purged: int) -> bool:
    """Fill, preview small and large, purge; whether every promise was kept."""
    from audit import retention
    from tests.retention.worlds import make_policy, make_two

    people = make_two()
    make_policy(people[0])
    planner, approver = (person.pk for person in people)
    fill("small", purged)
    write_files("small", purged)
    rate = (preview(planner), purge(planner, approver))[1]
    fill("tenth", count // 10)
    preview(planner)
    fill("big", count)
    taken, grown, _plan = preview(planner)
    assert retention.due() == []
    kept = taken < LIMIT_SECONDS and grown < LIMIT_MEMORY_MB and rate >= LIMIT_RATE
    print("every promise kept" if kept else "A PROMISE IS BROKEN")
    return kept


def main() -> int:
    """Fill a throw-away database, measure, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--payloads", type=int, default=1_000_000)
    parser.add_argument("--purged", type=int, default=50_000)
    given = parser.parse_args()
    import django
    from django.conf import settings

    django.setup()
    settings.DEBUG = False
    from django.db import connections

    owner = connections["owner"]
    owner.settings_dict["TEST"]["NAME"] = f"bench_retention_{os.getpid()}"
    name = owner.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    connections["default"].settings_dict["NAME"] = name
    try:
        return 0 if measure(given.payloads, given.purged) else 1
    finally:
        connections["default"].close()
        owner.creation.destroy_test_db(name, verbosity=0)


if __name__ == "__main__":
    with services.held(VAR, durable=True):
        status = main()
    sys.exit(status)
