"""The desk over ten million lines: every list of it, `/retention/` and `/access/`.

Fills the tables that lists look into, then prints the server time of each page (of thirty requests,
session, template and all): first page, one far behind, and with each filter that is offered. Exits
1 where the 95th percentile of a page reaches 300 ms, or 2 s for the state of the house: that is no
list, gives workers half a second to answer and compares the schema. `--lines` takes a smaller size.
The database is a private one, with a disk that is waited for, thrown away at the end.
"""

import argparse
import os
import statistics
import sys
import time
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
VAR = ROOT / "var" / "bench"
sys.path.insert(0, str(ROOT))
os.environ["LANDSCAPE_VAR"] = str(VAR)
os.environ["LANDSCAPE_DEBUG"] = "true"
os.environ["DJANGO_SETTINGS_MODULE"] = "landscape_site.settings"

from landscape_site import services  # noqa: E402  # needs the path above

LINES = 10_000_000
REQUESTS = 30
LIMIT_MS = 300.0
LIMIT_HOUSE_MS = 2_000.0
# Lines of each table for ten million in all.
COUNTS = {
    "runs": 10_000,
    "seals": 10_000,
    "seal_log": 10_000,
    "run_summaries": 10_000,
    "payloads": 2_640_000,
    "findings": 2_000_000,
    "access_events": 2_500_000,
    "purge_items": 2_000_000,
    "purge_kept": 500_000,
    "purge_plans": 5_000,
    "purge_runs": 10_000,
    "payload_purges": 150_000,
    "exports": 100_000,
    "import_jobs": 50_000,
    "run_hidings": 2_000,
    "legal_holds": 1_000,
    "retention_policies": 1_000,
    "auth_user": 1_000,
}

# Of the words of the access log a frequent one, one now and then, a rare one and one never said.
ACTIONS = ("read", "export_downloaded", "policy_set", "role_changed")

# What is rare is rare: one payload in 100,000 is corrupted, one finding in 200,000 an error.
FILL = {
    "runs": """
INSERT INTO runs (run_id, started_at, completed_at, config_hash, settings_json, canonical_version,
    status, reproducibility_grade)
SELECT 'run' || n, %(at)s + n * interval '1 minute', %(at)s + (n + 5) * interval '1 minute',
    md5(n::text) || md5(n::text),
    '{"pipeline": "claims ' || n %% 7 || '", "of": "' || repeat(md5(n::text), 60) || '"}', 'v1',
    CASE n %% 10 WHEN 0 THEN 'failed' ELSE 'completed' END, 'replay_reproducible'
FROM generate_series(1, %(count)s) n""",
    "seals": """
INSERT INTO seals (run_id, epoch, reason, sealed_at, origin, size, root, first_leaf, prev_size,
    counts_json, schema_json, checkpoint, key_id, segments_json)
SELECT 'run' || n, 1, 'run_completed', now(), 'here', 9, repeat('a', 64), 0, 0, '{}', '{}', '',
    'key', '[]'
FROM generate_series(1, %(count)s) n""",
    "seal_log": """
INSERT INTO seal_log (leaf_index, previous_index, run_id, epoch, leaf_text, leaf_hash, root, edge,
    checkpoint, key_id, logged_at)
SELECT n - 1, nullif(n - 2, -1), 'run' || n, 1, '', repeat('a', 64), repeat('a', 64), '', '', 'key',
    now()
FROM generate_series(1, %(count)s) n""",
    "run_summaries": """
INSERT INTO run_summaries (run_id, pipeline, rows, tokens, states, calls, errors, outcomes_json,
    nodes_json, ledger_json, graph_json, errors_json, journeys, rows_alone, unaccounted,
    unconfirmed, run_status, run_completed_at, version, computed_at)
SELECT run_id, 'claims', 100, 100, 300, 100, 0, '{}', '{}', '{}', '{}', '{}', 1, 0, 0, 0, status,
    completed_at, %(version)s, now()
FROM runs""",
    "payloads": """
INSERT INTO payloads (content_hash, state, size_bytes, recorded_at, purged_at, purge_plan_id)
SELECT encode(sha256(n::text::bytea), 'hex'), CASE WHEN n %% 100000 = 0 THEN 'corrupted'
        WHEN n %% 5000 = 0 THEN 'missing' WHEN n %% 20 = 0 THEN 'purged' ELSE 'available' END,
    300, now(), CASE WHEN n %% 20 = 0 THEN now() END, CASE WHEN n %% 20 = 0 THEN 2 END
FROM generate_series(1, %(count)s) n""",
    "findings": """
INSERT INTO findings (run_id, code, level, table_name, record_key, detail, occurrences, found_at)
SELECT 'run' || 1 + n %% %(runs)s, 'habit', CASE WHEN n %% 200000 = 1 THEN 'error' ELSE 'info' END,
    'rows', md5(n::text), 'what it says', 1, now()
FROM generate_series(1, %(count)s) n""",
    "access_events": """
INSERT INTO access_events (event_id, at, user_id, user_name, action, kind, run_id, object_id,
    result, prev_hash, hash)
SELECT n, %(at)s + n * interval '20 seconds', n %% %(people)s, 'reader',
    CASE WHEN n %% 250000 = 3 THEN 'policy_set' WHEN n %% 50 = 0 THEN 'export_downloaded'
        ELSE 'read' END,
    CASE WHEN n %% 50 = 0 THEN 'export' ELSE 'row' END, 'run' || 1 + n %% %(runs)s,
    md5((n %% 100000)::text), 'given', repeat('0', 64), md5(n::text) || md5(n::text)
FROM generate_series(1, %(count)s) n""",
    # The first is proposed, the second executed; then every status in turn.
    "purge_plans": """
INSERT INTO purge_plans (status, made_by, made_at, wait_seconds, policies_json, kept_json,
    goes_json, skipped_json, inline_json, items, bytes, runs, digest, approved_by, approved_at,
    approved_digest, typed_count, may_begin_at, declined_by, declined_at, decline_reason, begun_by,
    begun_at, ended_at, purged_items, purged_bytes, skipped_items)
SELECT status, 1, %(at)s + n * interval '1 hour', 0, '[]', '{"not_due": [1000, 300000]}',
    '{"1": [1000, 300000]}', '{"legal_hold": [500, 150000]}', '{}', 1000, 300000, 10,
    repeat('d', 64), CASE WHEN step > 2 THEN 2 END, CASE WHEN step > 2 THEN now() END,
    CASE WHEN step > 2 THEN repeat('d', 64) END, CASE WHEN step > 2 THEN 1000 END,
    CASE WHEN step > 2 THEN now() END, CASE WHEN step = 2 THEN 2 END,
    CASE WHEN step = 2 THEN now() END, CASE WHEN step = 2 THEN 'no' END,
    CASE WHEN step = 4 THEN 1 END, CASE WHEN step = 4 THEN now() END,
    CASE WHEN step = 4 THEN now() END, 0, 0, 0
FROM (SELECT n, step, (array['proposed', 'declined', 'approved', 'executed'])[step] AS status
      FROM (SELECT n, CASE WHEN n < 3 THEN 3 * n - 2 WHEN n %% 1000 = 0 THEN 1
          WHEN n %% 10 = 0 THEN 3 WHEN n %% 5 = 0 THEN 2 ELSE 4 END AS step
          FROM generate_series(1, %(count)s) n) steps) made""",
    # Most of them in the plan that waits for approval; half of those in the second are skipped.
    "purge_items": """
INSERT INTO purge_items (plan_id, content_hash, size_bytes, policy_id, status, skipped_for,
    purged_at)
SELECT CASE n %% 20 WHEN 0 THEN 2 ELSE 1 END, encode(sha256(n::text::bytea), 'hex'), 300,
    1 + n %% 3, CASE n %% 40 WHEN 0 THEN 'skipped' WHEN 20 THEN 'erased' ELSE 'planned' END,
    CASE n %% 40 WHEN 0 THEN 'legal_hold' END, CASE n %% 40 WHEN 20 THEN now() END
FROM generate_series(1, %(count)s) n""",
    "purge_kept": """
INSERT INTO purge_kept (plan_id, content_hash, size_bytes, rule)
SELECT 1, encode(sha256(('kept' || n)::bytea), 'hex'), 300,
    CASE WHEN n %% 100000 = 1 THEN 'legal_hold' ELSE 'not_due' END
FROM generate_series(1, %(count)s) n""",
    "purge_runs": """
INSERT INTO purge_runs (plan_id, run_id, items, bytes, replay_critical, grade_before, grade_after)
SELECT 1, 'run' || n, n %% 100, 300 * n %% 100, true, 'replay_reproducible', 'attributable_only'
FROM generate_series(1, %(count)s) n""",
    "payload_purges": """
INSERT INTO payload_purges (run_id, purge_id, payload_sha256, purged_at, policy, reason, plan_id,
    requested_by, approved_by)
SELECT 'run' || 1 + n %% %(runs)s, md5(n::text), encode(sha256(n::text::bytea), 'hex'), %(at)s,
    'claims v1', 'due', 2, 1, 2
FROM generate_series(1, %(count)s) n""",
    "exports": """
INSERT INTO exports (export_id, run_id, requested_by, requested_at, with_csv, with_payloads,
    provisional, status, step, attempt, fence, records_done, started_at, finished_at, error_code,
    error_text, file_sha256, file_bytes, file_name, root, expires_at)
SELECT md5(n::text), 'run' || 1 + n %% %(runs)s, n, %(at)s + n * interval '1 minute', false,
    false, false, status, 'sealing', 1, 1, 9, now(),
    CASE WHEN status <> 'requested' THEN now() END, CASE WHEN status = 'failed' THEN 'x' END,
    CASE WHEN status = 'failed' THEN 'no room' END, made, 9, made, made, now()
FROM (SELECT n, status, CASE WHEN status = 'expired' THEN repeat('e', 64) END AS made
      FROM (SELECT n, CASE WHEN n %% 20000 = 7 THEN 'requested' WHEN n %% 1000 = 3 THEN 'failed'
          ELSE 'expired' END AS status FROM generate_series(1, %(count)s) n) words) done""",
    "import_jobs": """
INSERT INTO import_jobs (job_id, requested_by, requested_at, file_name, file_bytes, status, attempt,
    fence, records_done, finished_at, error_text)
SELECT md5(n::text), 1, %(at)s + n * interval '1 minute', 'audit.db', 9, status, 1, 1, 9,
    CASE WHEN status <> 'requested' THEN now() END,
    CASE WHEN status IN ('failed', 'refused') THEN 'no room' END
FROM (SELECT n, CASE WHEN n %% 10000 = 7 THEN 'requested' WHEN n %% 10000 = 3 THEN 'failed'
      WHEN n %% 100 = 1 THEN 'refused' ELSE 'succeeded' END AS status
      FROM generate_series(1, %(count)s) n) words""",
    "run_hidings": """
INSERT INTO run_hidings (run_id, reason, hidden_by, hidden_at, restorable_until)
SELECT 'run' || n, 'a trial', 1, now(), now() + interval '30 days'
FROM generate_series(1, %(count)s) n""",
    "legal_holds": """
INSERT INTO legal_holds (status, scope, scope_value, matter, reason, placed_by, placed_at,
    release_asked_by, release_asked_at, release_reason, released_by, released_at)
SELECT CASE WHEN over THEN 'released' ELSE 'active' END,
    CASE n %% 2 WHEN 0 THEN 'run' ELSE 'pipeline' END,
    CASE n %% 2 WHEN 0 THEN 'run' || n ELSE 'claims ' || n %% 9 END, 'M ' || n, 'asked by Legal', 1,
    now(), CASE WHEN over THEN 1 END, CASE WHEN over THEN now() END,
    CASE WHEN over THEN 'settled' END, CASE WHEN over THEN 2 END, CASE WHEN over THEN now() END
FROM (SELECT n, n %% 50 > 0 AS over FROM generate_series(1, %(count)s) n) holds""",
    # Ten names, many versions.
    "retention_policies": """
INSERT INTO retention_policies (name, version, prev_version, scope, scope_value, keep_days,
    delete_after_days, ended, reason, made_by, made_at)
SELECT 'policy ' || n %% 10, 1 + n / 10, nullif(n / 10, 0),
    CASE n %% 3 WHEN 0 THEN 'all' WHEN 1 THEN 'pipeline' ELSE 'status' END,
    CASE n %% 3 WHEN 0 THEN NULL WHEN 1 THEN 'claims ' || n %% 7 ELSE 'failed' END, 30,
    3000, false, 'the law', 1, now()
FROM generate_series(0, %(count)s - 1) n""",
    "auth_user": """
INSERT INTO auth_user (username, password, is_superuser, first_name, last_name, email, is_staff,
    is_active, date_joined)
SELECT 'person' || n, '', false, '', '', '', false, true, now()
FROM generate_series(1, %(count)s) n""",
}


def fill(owner: Any, lines: int) -> int:
    """Fill every table as its owner, past the guards, which look at lines one by one."""
    from audit.models.summaries import SUMMARY_VERSION

    counts = {table: max(100, count * lines // LINES) for table, count in COUNTS.items()}
    values = {
        "at": datetime(2026, 1, 1, tzinfo=UTC),
        "version": SUMMARY_VERSION,
        "runs": counts["runs"],
        "people": counts["auth_user"],
    }
    with owner.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        cursor.execute(
            "SELECT tgrelid::regclass::text, tgname FROM pg_trigger "
            "WHERE tgenabled = 'A' AND NOT tgisinternal"
        )
        guards = cursor.fetchall()
        for table, guard in guards:
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER {guard}")
        for table, statement in FILL.items():
            cursor.execute(statement, values | {"count": counts[table]})
        for table, guard in guards:
            cursor.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {guard}")
        cursor.execute("VACUUM ANALYZE")
    return sum(counts.values())


def pages(lines: int) -> dict[str, str]:
    """The address of every list by its name: first page, far behind, each filter."""
    from django.urls import reverse

    from audit.admin import desk, jobs
    from audit.models import Export, ImportJob, Payload
    from audit.vocabulary import (
        FindingLevel,
        HoldStatus,
        ImportJobStatus,
        KeepRule,
        PayloadState,
        PlanStatus,
    )

    def count(table: str) -> int:
        return max(100, COUNTS[table] * lines // LINES)

    lists = {
        model._meta.model_name: f"admin:audit_{model._meta.model_name}_changelist"
        for model in desk._registry  # noqa: SLF001  # what is registered
    }
    asked: list[tuple[str, tuple[Any, ...], str, str, tuple[str, ...]]] = [
        ("admin:index", (), "", "", ()),
        ("admin:house", (), "", "", ()),
        ("admin:jobs", (), "", "kind", tuple(jobs.KINDS)),
        ("admin:jobs", (), "", "state", tuple(jobs.STATES)),
        (lists["run"], (), f"run{count('runs') // 9}", "find", ("run77", "none")),
        (lists["payload"], (), _last(Payload), "state", tuple(PayloadState.values)),
        (lists["payload"], (), "", "find", ("f" * 64,)),
        (lists["seallogentry"], (), str(count("seal_log") // 9), "", ()),
        (lists["finding"], (), str(count("findings") // 9), "level", tuple(FindingLevel.values)),
        ("admin:people", (), str(count("auth_user") // 2), "find", ("person7",)),
        ("admin:imports", (), _last(ImportJob), "status", tuple(ImportJobStatus.values)),
        ("admin:policies", (), str(count("retention_policies") // 2), "find", ("policy 3",)),
        ("admin:holds", (), str(count("legal_holds") // 2), "status", tuple(HoldStatus.values)),
        ("admin:holds", (), "", "find", ("M 17",)),
        ("admin:hidden-runs", (), str(count("run_hidings") // 2), "find", ("run17",)),
        ("admin:plans", (), str(count("purge_plans") // 9), "status", tuple(PlanStatus.values)),
        ("admin:plan", (1,), "", "", ()),
        ("admin:plan", (2,), "", "", ()),
        ("audit:plan", (1,), "", "kept", tuple(KeepRule.values)),
        ("audit:plan", (2,), "", "", ()),
        ("audit:exports", (), _last(Export), "", ()),
        ("audit:retention", (), str(count("purge_plans") // 9), "", ()),
        ("audit:retention-policies", (), "", "", ()),
        ("audit:access-log", (), str(count("access_events") // 9), "action", ACTIONS),
        ("audit:access-log", (), "", "user", ("person7", "nobody")),
        ("audit:access-log", (), "", "kind", ("row", "export", "none")),
        ("audit:access-log", (), "", "run", ("run77", "none")),
        ("audit:access-log", (), "", "object", ("cfcd208495d565ef66e7dff9f98764da", "none")),
        ("audit:access-log", (), "", "since", ("2026-01-02", "2999-01-01")),
        ("audit:access-log", (), "", "until", ("2026-01-02", "2020-01-01")),
    ]
    found = {}
    for name, args, after, parameter, words in asked:
        address = reverse(name, args=args)
        found[address] = address
        if after:
            found[f"{address} far behind"] = f"{address}?after={after}"
        found |= {f"{address} {parameter}={w}": f"{address}?{parameter}={w}" for w in words}
    return found


def _last(model: Any) -> str:
    """The key of a line near the end of a list."""
    name = "requested_at" if hasattr(model, "requested_at") else "-pk"
    return str(model.objects.order_by(name)[50].pk)


def measure(client: Any, addresses: dict[str, str]) -> dict[str, list[float]]:
    """Milliseconds of every request, the addresses taken in turn."""
    times: dict[str, list[float]] = {name: [] for name in addresses}
    for _ in range(REQUESTS):
        for name, address in addresses.items():
            begun = time.perf_counter()
            answer = client.get(address)
            times[name].append(1000 * (time.perf_counter() - begun))
            assert answer.status_code == HTTPStatus.OK, (address, answer.status_code)
    return times


def run(owner: Any, lines: int) -> int:
    """Fill, measure, print, judge."""
    from django.contrib.auth import get_user_model
    from django.contrib.auth.models import Group
    from django.test import Client
    from django.urls import reverse

    begun = time.monotonic()
    filled = fill(owner, lines)
    print(f"{filled:,} lines in {time.monotonic() - begun:.0f} s", flush=True)
    person = get_user_model().objects.create_superuser("reader")
    person.groups.set(Group.objects.all())
    client = Client(SERVER_NAME="localhost")
    client.force_login(person)
    times = measure(client, pages(lines))
    late = 0
    for name, taken in times.items():
        p95 = statistics.quantiles(taken, n=20)[-1]
        limit = LIMIT_HOUSE_MS if name == reverse("admin:house") else LIMIT_MS
        late += p95 >= limit
        mark = "" if p95 < limit else "  TOO SLOW"
        print(f"{statistics.median(taken):7.1f} ms median {p95:7.1f} p95  {name}{mark}")
    print("PROMISE BROKEN" if late else "promise kept")
    return 1 if late else 0


def main() -> int:
    """Make a throw-away database and measure there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=LINES)
    given = parser.parse_args()
    import django
    from django.conf import settings

    django.setup()
    # As people are served: no query log, no template traces.
    settings.DEBUG = False
    from django.db import connections

    owner = connections["owner"]
    owner.settings_dict["TEST"]["NAME"] = f"bench_admin_{os.getpid()}"
    name = owner.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    connections["default"].settings_dict["NAME"] = name
    try:
        return run(owner, given.lines)
    finally:
        connections["default"].close()
        owner.creation.destroy_test_db(name, verbosity=0)


if __name__ == "__main__":
    with services.held(VAR, durable=True):
        status = main()
    sys.exit(status)
