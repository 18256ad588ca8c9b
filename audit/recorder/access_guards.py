"""What makes the access log a chain, whoever writes into it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Iterator

# The access log chains itself, so that no writer can leave out, number or hash anything its own
# way. The lock lets one transaction after the other add to the log. A read need not wait for the
# disk: after a power cut the last of a moment may be gone; the chain is whole all the same.
CHAIN_FUNCTION = """
CREATE OR REPLACE FUNCTION landscape_access_chain() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE last record;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('landscape access log'));
    SELECT event_id, hash INTO last FROM public.access_events ORDER BY event_id DESC LIMIT 1;
    NEW.event_id := coalesce(last.event_id, 0) + 1;
    NEW.prev_hash := coalesce(last.hash, repeat('0', 64));
    NEW.hash := encode(sha256(convert_to(NEW.prev_hash || chr(10) || json_build_array(
        NEW.event_id, to_char(NEW.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        NEW.user_id, NEW.user_name, NEW.action, NEW.kind, NEW.run_id, NEW.object_id, NEW.result,
        NEW.request_id, NEW.address, NEW.reason, NEW.size_bytes)::text, 'UTF8')), 'hex');
    IF NEW.action = 'read' THEN
        PERFORM set_config('synchronous_commit', 'off', true);
    END IF;
    RETURN NEW;
END $$
"""


def functions() -> dict[str, str]:
    """The function by its name, as the statement that creates it."""
    return {"landscape_access_chain": CHAIN_FUNCTION}


def statements(table: sql.Identifier) -> Iterator[sql.Composed]:
    """What the table carries for it."""
    yield sql.SQL(
        "CREATE OR REPLACE TRIGGER landscape_access_chain BEFORE INSERT ON {table} "
        "FOR EACH ROW EXECUTE FUNCTION public.landscape_access_chain()"
    ).format(table=table)
    yield sql.SQL("ALTER TABLE {} ENABLE ALWAYS TRIGGER landscape_access_chain").format(table)
