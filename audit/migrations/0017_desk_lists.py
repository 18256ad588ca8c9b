"""Lists that stay quick over ten million lines: indexes, and totals that a plan keeps."""

import audit.models.fields
from django.db import migrations, models


# Counted for plans from before, past the guards, which would refuse it.
TOTALS = """
ALTER TABLE purge_plans DISABLE TRIGGER USER;
UPDATE purge_plans SET goes_json = '{}' WHERE status <> 'drafting';
UPDATE purge_plans p SET goes_json = told FROM (
    SELECT plan_id, json_object_agg(policy_id, json_build_array(items, bytes))::text AS told
    FROM (SELECT plan_id, policy_id, count(*) AS items, sum(size_bytes)::bigint AS bytes
          FROM purge_items GROUP BY plan_id, policy_id ORDER BY plan_id, policy_id) goes
    GROUP BY plan_id) totals
WHERE p.plan_id = totals.plan_id AND p.status <> 'drafting';
UPDATE purge_plans p SET skipped_json = told FROM (
    SELECT plan_id, json_object_agg(skipped_for, json_build_array(items, bytes))::text AS told
    FROM (SELECT plan_id, skipped_for, count(*) AS items, sum(size_bytes)::bigint AS bytes
          FROM purge_items WHERE status = 'skipped' GROUP BY plan_id, skipped_for) skipped
    GROUP BY plan_id) totals
WHERE p.plan_id = totals.plan_id;
ALTER TABLE purge_plans ENABLE TRIGGER USER;
"""


class Migration(migrations.Migration):
    """Indexes of the desk's lists and the totals of plans; schema version 16."""

    dependencies = [
        ('audit', '0016_lean_lists'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='purgeplan',
            name='purge_plans_list_fixed',
        ),
        migrations.AddField(
            model_name='purgeplan',
            name='goes_json',
            field=models.TextField(db_collation='C', null=True),
        ),
        migrations.AddField(
            model_name='purgeplan',
            name='skipped_json',
            field=models.TextField(db_collation='C', null=True),
        ),
        migrations.RunSQL(TOTALS, reverse_sql=migrations.RunSQL.noop),
        migrations.AddIndex(
            model_name='accessevent',
            index=audit.models.fields.ReasonedIndex(fields=['at', 'event_id'], name='access_events_by_time', reason='The access log of some days, however long ago.'),
        ),
        migrations.AddIndex(
            model_name='finding',
            index=audit.models.fields.ReasonedIndex(fields=['level', '-finding_id'], name='findings_by_level', reason="The desk's list of findings by level: errors are rare."),
        ),
        migrations.AddIndex(
            model_name='payload',
            index=audit.models.fields.ReasonedIndex(condition=models.Q(('state', 'available'), _negated=True), fields=['state', 'content_hash'], name='payloads_not_available', reason="The desk's list of payloads by state: what is not there is rare."),
        ),
        migrations.AddIndex(
            model_name='payloadpurge',
            index=audit.models.fields.ReasonedIndex(fields=['run_id', 'purged_at'], name='payload_purges_by_run', reason="The sweeper and the desk's jobs: was a run purged since it was sealed?"),
        ),
        migrations.AddConstraint(
            model_name='purgeplan',
            constraint=models.CheckConstraint(condition=models.Q(('status', 'drafting'), models.Q(('items__isnull', False), ('bytes__isnull', False), ('runs__isnull', False), ('digest__isnull', False), ('kept_json__isnull', False), ('goes_json__isnull', False), ('inline_json__isnull', False)), _connector='OR'), name='purge_plans_list_fixed', violation_error_message='A plan that can be seen has its list, and a digest of it.'),
        ),
        migrations.RunSQL(
            "UPDATE schema_info SET version = 16",
            reverse_sql="UPDATE schema_info SET version = 15",
        ),
    ]
