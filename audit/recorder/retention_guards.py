"""What the database itself refuses of retention: SQL of the guards, said again at every migration.

A purge deletes what two people agreed on and nothing else, also against raw SQL with the
application's login: an approval asks for the approver's role at that moment (a superuser's flag
counts for nothing), a list cannot change once it is proposed, and the bytes of a payload go only by
an item of a plan that is being executed, and under no hold. Holds and purges meet on the one row of
`retention_guard`: a hold updates it, a purge locks it and asks for holds in a later statement.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from audit.models import (
    AUDIT_MODELS,
    LegalHold,
    Payload,
    PayloadPurge,
    PurgeItem,
    PurgePlan,
    RetentionPolicy,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db import models

RETENTION = "LS004"

# Every column in which a record refers to a payload, as (table, column).
REF_COLUMNS = tuple(
    (str(model._meta.db_table), str(field.column))
    for model in AUDIT_MODELS
    for field in model._meta.concrete_fields
    if str(field.column).endswith("_ref")
)


class Trigger(NamedTuple):
    """A trigger beyond those that every guarded table has."""

    name: str
    function: str
    # BEFORE INSERT OR UPDATE, AFTER UPDATE …, as PostgreSQL says it.
    when: str
    # Tables of what changed, for a trigger of the whole statement.
    referencing: str = ""

    @property
    def each(self) -> str:
        return "STATEMENT" if self.referencing else "ROW"


TRIGGERS: dict[type[models.Model], tuple[Trigger, ...]] = {
    RetentionPolicy: (Trigger("landscape_meet", "landscape_retention_meets", "BEFORE INSERT"),),
    LegalHold: (
        Trigger("landscape_hold", "landscape_hold", "BEFORE INSERT OR UPDATE"),
        Trigger("landscape_meet", "landscape_retention_meets", "BEFORE INSERT OR UPDATE"),
    ),
    PurgePlan: (Trigger("landscape_plan", "landscape_plan", "BEFORE INSERT OR UPDATE"),),
    PurgeItem: (
        Trigger(
            "landscape_list",
            "landscape_plan_list",
            "AFTER INSERT",
            "REFERENCING NEW TABLE AS added",
        ),
    ),
    PayloadPurge: (
        Trigger(
            "landscape_purged",
            "landscape_purge_told",
            "AFTER INSERT",
            "REFERENCING NEW TABLE AS added",
        ),
    ),
    Payload: (
        Trigger("landscape_payload", "landscape_payload", "BEFORE INSERT OR UPDATE"),
        Trigger(
            "landscape_held",
            "landscape_payload_held",
            "AFTER UPDATE",
            "REFERENCING OLD TABLE AS was NEW TABLE AS changed",
        ),
    ),
}

_HEAD = "LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$"

_MAY = """
CREATE OR REPLACE FUNCTION landscape_may(person bigint, asked text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT EXISTS (
        SELECT 1 FROM auth_user u
        JOIN auth_permission p ON p.codename = asked
        JOIN django_content_type t ON t.id = p.content_type_id AND t.app_label = 'audit'
        WHERE u.id = person AND u.is_active AND (
            EXISTS (SELECT 1 FROM auth_user_user_permissions o
                    WHERE o.user_id = u.id AND o.permission_id = p.id)
            OR EXISTS (SELECT 1 FROM auth_user_groups g
                       JOIN auth_group_permissions m ON m.group_id = g.group_id
                       WHERE g.user_id = u.id AND m.permission_id = p.id)))
$$
"""

# The name that a run's settings give its pipeline; settings of an import may be no JSON at all.
_PIPELINE = f"""
CREATE OR REPLACE FUNCTION landscape_pipeline(settings text) RETURNS text
{_HEAD}
BEGIN
    RETURN nullif(
        regexp_replace(btrim(settings::json ->> 'pipeline'), '\\s+', ' ', 'g'), '');
EXCEPTION WHEN OTHERS THEN
    RETURN NULL;
END $$
"""

_MEETS = f"""
CREATE OR REPLACE FUNCTION landscape_retention_meets() RETURNS trigger
{_HEAD}
BEGIN
    UPDATE public.retention_guard SET epoch = epoch + 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'retention_guard is empty: nothing can be held or purged'
            USING ERRCODE = '{RETENTION}';
    END IF;
    RETURN NEW;
END $$
"""

_HOLD = f"""
CREATE OR REPLACE FUNCTION landscape_hold() RETURNS trigger
{_HEAD}
BEGIN
    IF TG_OP = 'INSERT' AND NEW.status <> 'active' THEN
        RAISE EXCEPTION 'a hold begins by holding' USING ERRCODE = '{RETENTION}';
    END IF;
    IF TG_OP = 'UPDATE' AND NEW.status = 'released' THEN
        IF (OLD.release_asked_by, OLD.release_asked_at, OLD.release_reason)
            IS DISTINCT FROM (NEW.release_asked_by, NEW.release_asked_at, NEW.release_reason) THEN
            RAISE EXCEPTION 'who asked for the release of hold % stays on record', OLD.hold_id
                USING ERRCODE = '{RETENTION}';
        END IF;
        IF NOT landscape_may(NEW.released_by, 'approve_retention') THEN
            RAISE EXCEPTION 'person % may not release hold %', NEW.released_by, OLD.hold_id
                USING ERRCODE = '{RETENTION}';
        END IF;
    END IF;
    RETURN NEW;
END $$
"""

# Bucket by bucket, so that a list of a million needs no text of a hundred megabytes.
_DIGEST = """
CREATE OR REPLACE FUNCTION landscape_list_digest(plan bigint) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT encode(sha256(convert_to(coalesce(
        string_agg(bucket || ' ' || told || E'\\n', '' ORDER BY bucket), ''), 'UTF8')), 'hex')
    FROM (
        SELECT left(content_hash, 2) COLLATE "C" AS bucket,
               encode(sha256(convert_to(string_agg(
                   content_hash || ' ' || size_bytes || ' ' || policy_id || E'\\n', ''
                   ORDER BY content_hash), 'UTF8')), 'hex') AS told
        FROM purge_items WHERE plan_id = plan GROUP BY 1
    ) buckets
$$
"""

_PLAN = f"""
CREATE OR REPLACE FUNCTION landscape_plan() RETURNS trigger
{_HEAD}
DECLARE
    listed record;
    listed_digest text;
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.status <> 'drafting' THEN
            RAISE EXCEPTION 'a plan begins with its list' USING ERRCODE = '{RETENTION}';
        END IF;
        RETURN NEW;
    END IF;
    IF OLD.status <> 'drafting' AND (OLD.items, OLD.bytes, OLD.runs, OLD.digest, OLD.kept_json,
            OLD.goes_json, OLD.inline_json) IS DISTINCT FROM (NEW.items, NEW.bytes, NEW.runs,
            NEW.digest, NEW.kept_json, NEW.goes_json, NEW.inline_json) THEN
        RAISE EXCEPTION 'the list of plan % is fixed', OLD.plan_id USING ERRCODE = '{RETENTION}';
    END IF;
    IF OLD.status = 'drafting' THEN
        SELECT count(*) AS items, coalesce(sum(size_bytes), 0) AS bytes INTO listed
        FROM purge_items WHERE plan_id = OLD.plan_id;
        listed_digest := landscape_list_digest(OLD.plan_id);
        -- Whoever does not tell the list has it counted here, once.
        IF NEW.digest IS NULL AND NEW.items IS NULL AND NEW.bytes IS NULL THEN
            NEW.items := listed.items;
            NEW.bytes := listed.bytes;
            NEW.digest := listed_digest;
        END IF;
        IF NEW.items IS DISTINCT FROM listed.items OR NEW.bytes IS DISTINCT FROM listed.bytes
            OR NEW.digest IS DISTINCT FROM listed_digest THEN
            RAISE EXCEPTION 'plan % tells another list than it has', OLD.plan_id
                USING ERRCODE = '{RETENTION}';
        END IF;
    END IF;
    IF NEW.status = 'approved' AND OLD.status = 'proposed' THEN
        IF NEW.approved_by = OLD.made_by THEN
            RAISE EXCEPTION 'person % made plan % and cannot approve it', OLD.made_by, OLD.plan_id
                USING ERRCODE = '{RETENTION}';
        END IF;
        IF NOT landscape_may(NEW.approved_by, 'approve_retention') THEN
            RAISE EXCEPTION 'person % may not approve plan %', NEW.approved_by, OLD.plan_id
                USING ERRCODE = '{RETENTION}';
        END IF;
        IF NEW.approved_digest IS DISTINCT FROM OLD.digest
            OR NEW.typed_count IS DISTINCT FROM OLD.items THEN
            RAISE EXCEPTION 'plan % has another list or another count than was approved',
                OLD.plan_id USING ERRCODE = '{RETENTION}';
        END IF;
        -- By this clock, whatever a caller says.
        NEW.may_begin_at := clock_timestamp() + OLD.wait_seconds * interval '1 second';
    ELSIF (OLD.approved_by, OLD.approved_at, OLD.approval_reason, OLD.approved_digest,
            OLD.typed_count, OLD.may_begin_at) IS DISTINCT FROM (NEW.approved_by, NEW.approved_at,
            NEW.approval_reason, NEW.approved_digest, NEW.typed_count, NEW.may_begin_at) THEN
        RAISE EXCEPTION 'the approval of plan % is fixed', OLD.plan_id
            USING ERRCODE = '{RETENTION}';
    END IF;
    IF NEW.status = 'executing' AND OLD.status = 'approved' THEN
        IF clock_timestamp() < OLD.may_begin_at THEN
            RAISE EXCEPTION 'plan % waits until %', OLD.plan_id, OLD.may_begin_at
                USING ERRCODE = '{RETENTION}';
        END IF;
    ELSIF (OLD.begun_by, OLD.begun_at) IS DISTINCT FROM (NEW.begun_by, NEW.begun_at) THEN
        RAISE EXCEPTION 'who began plan % is fixed', OLD.plan_id USING ERRCODE = '{RETENTION}';
    END IF;
    RETURN NEW;
END $$
"""

# One look at what was added: a list of a million comes in one statement, of one plan.
_LIST = f"""
CREATE OR REPLACE FUNCTION landscape_plan_list() RETURNS trigger
{_HEAD}
DECLARE
    told record;
BEGIN
    SELECT min(plan_id) AS plan, max(plan_id) AS last, bool_and(status = 'planned') AS planned
        INTO told FROM added;
    IF NOT told.planned OR told.plan <> told.last OR NOT EXISTS (
            SELECT 1 FROM purge_plans WHERE plan_id = told.plan AND status = 'drafting')
        AND told.plan IS NOT NULL THEN
        RAISE EXCEPTION 'nothing is added to a list that can be seen'
            USING ERRCODE = '{RETENTION}';
    END IF;
    RETURN NULL;
END $$
"""

_TOLD = f"""
CREATE OR REPLACE FUNCTION landscape_purge_told() RETURNS trigger
{_HEAD}
BEGIN
    -- Payload by payload by its key: joined, everything that was ever purged would be read.
    IF EXISTS (
        SELECT 1 FROM added a WHERE (
            SELECT p.state = 'purged' AND p.purge_plan_id = a.plan_id FROM payloads p
            WHERE p.content_hash = a.payload_sha256) IS NOT TRUE) THEN
        RAISE EXCEPTION 'a purge is told only of what was purged'
            USING ERRCODE = '{RETENTION}';
    END IF;
    RETURN NULL;
END $$
"""

_PAYLOAD = f"""
CREATE OR REPLACE FUNCTION landscape_payload() RETURNS trigger
{_HEAD}
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.state = 'purged' OR NEW.purge_plan_id IS NOT NULL OR NEW.purged_at IS NOT NULL THEN
            RAISE EXCEPTION 'a payload is not purged before it was there'
                USING ERRCODE = '{RETENTION}';
        END IF;
        RETURN NEW;
    END IF;
    IF NEW.content_hash <> OLD.content_hash THEN
        RAISE EXCEPTION 'a column of % that never changes would change', TG_TABLE_NAME
            USING ERRCODE = 'LS003';
    END IF;
    IF NEW.state = 'purged' AND OLD.state <> 'purged' THEN
        IF NOT EXISTS (
            SELECT 1 FROM purge_items i JOIN purge_plans p ON p.plan_id = i.plan_id
            WHERE i.plan_id = NEW.purge_plan_id AND i.content_hash = NEW.content_hash
                AND i.status = 'planned' AND p.status = 'executing') THEN
            RAISE EXCEPTION 'payload % is on no list that is being executed', NEW.content_hash
                USING ERRCODE = '{RETENTION}';
        END IF;
    ELSIF (OLD.purge_plan_id, OLD.purged_at) IS DISTINCT FROM (NEW.purge_plan_id, NEW.purged_at)
        OR (OLD.state = 'purged' AND NEW.state NOT IN ('purged', 'available')) THEN
        RAISE EXCEPTION 'the tombstone of payload % is fixed', NEW.content_hash
            USING ERRCODE = '{RETENTION}';
    END IF;
    RETURN NEW;
END $$
"""


def _held() -> str:
    """The last word on holds: lock, then ask in a new statement, once for all rows together."""
    refers = "\n            UNION ALL ".join(
        f"SELECT t.run_id FROM gone g JOIN public.{table} t ON t.{column} = g.content_hash"
        for table, column in REF_COLUMNS
    )
    return f"""
CREATE OR REPLACE FUNCTION landscape_payload_held() RETURNS trigger
{_HEAD}
DECLARE
    keeper bigint;
BEGIN
    IF NOT EXISTS (
        SELECT 1 FROM changed n JOIN was o ON o.content_hash = n.content_hash
        WHERE n.state = 'purged' AND o.state <> 'purged') THEN
        RETURN NULL;
    END IF;
    -- An update and not a lock alone: a hold with an older snapshot fails and is placed again.
    UPDATE public.retention_guard SET epoch = epoch + 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'retention_guard is empty: nothing can be held or purged'
            USING ERRCODE = '{RETENTION}';
    END IF;
    SELECT min(hold_id) INTO keeper FROM public.legal_holds
    WHERE status <> 'released' AND scope = 'everything';
    IF keeper IS NULL AND EXISTS (
        SELECT 1 FROM public.legal_holds WHERE status <> 'released') THEN
        WITH gone AS (
            SELECT n.content_hash FROM changed n JOIN was o ON o.content_hash = n.content_hash
            WHERE n.state = 'purged' AND o.state <> 'purged'
        ), refers AS (
            {refers}
        )
        SELECT min(h.hold_id) INTO keeper
        FROM (SELECT DISTINCT run_id FROM refers) f JOIN public.runs r ON r.run_id = f.run_id
        JOIN public.legal_holds h ON h.status <> 'released' AND (
            (h.scope = 'run' AND h.scope_value = r.run_id)
            OR (h.scope = 'pipeline' AND (h.scope_value = r.config_hash
                OR h.scope_value = public.landscape_pipeline(r.settings_json))));
    END IF;
    IF keeper IS NOT NULL THEN
        RAISE EXCEPTION 'hold % keeps it', keeper USING ERRCODE = '{RETENTION}';
    END IF;
    RETURN NULL;
END $$
"""


def functions() -> dict[str, str]:
    """Every function of these guards by name, as the statement that creates it."""
    return {
        "landscape_may": _MAY,
        "landscape_pipeline": _PIPELINE,
        "landscape_retention_meets": _MEETS,
        "landscape_hold": _HOLD,
        "landscape_list_digest": _DIGEST,
        "landscape_plan": _PLAN,
        "landscape_plan_list": _LIST,
        "landscape_purge_told": _TOLD,
        "landscape_payload": _PAYLOAD,
        "landscape_payload_held": _held(),
    }


def trigger_statements(model: type[models.Model]) -> Iterator[str]:
    """The triggers that only this table has."""
    table = model._meta.db_table
    for each in TRIGGERS.get(model, ()):
        yield (
            f"CREATE OR REPLACE TRIGGER {each.name} {each.when} ON {table} {each.referencing} "
            f"FOR EACH {each.each} EXECUTE FUNCTION public.{each.function}()"
        )
        yield f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {each.name}"
