"""The access log says more, chains itself, and is sealed.

Events from before are numbered and hashed in their order: from here on, nothing changes them.
"""

import audit.models.fields
from django.db import migrations, models


CHAIN = """
ALTER TABLE access_events DISABLE TRIGGER USER;
DO $$
DECLARE
    event record;
    number bigint := 0;
    before text := repeat('0', 64);
    made text;
    called text;
BEGIN
    FOR event IN SELECT * FROM access_events ORDER BY event_id LOOP
        number := number + 1;
        SELECT username INTO called FROM auth_user WHERE id = event.user_id;
        made := encode(sha256(convert_to(before || chr(10) || json_build_array(
            number, to_char(event.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
            event.user_id, called, event.action, event.kind, event.run_id, event.object_id,
            event.result, event.request_id, event.address, event.reason, event.size_bytes
        )::text, 'UTF8')), 'hex');
        UPDATE access_events SET event_id = number, user_name = called, prev_hash = before,
            hash = made WHERE event_id = event.event_id;
        before := made;
    END LOOP;
END $$;
ALTER TABLE access_events ENABLE TRIGGER USER;
"""


class Migration(migrations.Migration):
    """Columns, chain and seals of the access log; schema version 13."""

    dependencies = [
        ('audit', '0013_parts'),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name='accessevent',
            name='access_events_by_object',
        ),
        migrations.AddField(
            model_name='accessevent',
            name='user_name',
            field=models.TextField(db_collation='C', null=True),
        ),
        migrations.AddField(
            model_name='accessevent',
            name='kind',
            field=models.CharField(db_collation='C', max_length=64, null=True),
        ),
        migrations.AddField(
            model_name='accessevent',
            name='request_id',
            field=models.CharField(db_collation='C', max_length=64, null=True),
        ),
        migrations.AddField(
            model_name='accessevent',
            name='address',
            field=models.CharField(db_collation='C', max_length=64, null=True),
        ),
        migrations.AddField(
            model_name='accessevent',
            name='reason',
            field=models.TextField(db_collation='C', null=True),
        ),
        migrations.AddField(
            model_name='accessevent',
            name='size_bytes',
            field=models.BigIntegerField(null=True),
        ),
        migrations.AddField(
            model_name='accessevent',
            name='result',
            field=models.CharField(choices=[('given', 'Given'), ('refused', 'Refused')], default='given', max_length=32),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name='accessevent',
            name='prev_hash',
            field=models.CharField(db_collation='C', default='', max_length=64),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name='accessevent',
            name='hash',
            field=models.CharField(db_collation='C', default='', max_length=64),
            preserve_default=False,
        ),
        migrations.AlterField(
            model_name='accessevent',
            name='user_id',
            field=models.BigIntegerField(null=True),
        ),
        migrations.AlterField(
            model_name='accessevent',
            name='run_id',
            field=models.CharField(db_collation='C', max_length=64, null=True),
        ),
        migrations.AlterField(
            model_name='accessevent',
            name='object_id',
            field=models.CharField(db_collation='C', max_length=64, null=True),
        ),
        migrations.AddIndex(
            model_name='accessevent',
            index=audit.models.fields.ReasonedIndex(fields=['object_id', 'action'], name='access_events_by_object', reason='Every page of evidence: how often was this viewed, or downloaded?'),
        ),
        migrations.AddIndex(
            model_name='accessevent',
            index=audit.models.fields.ReasonedIndex(fields=['run_id', 'action'], name='access_events_by_run_action', reason='Every page of a run: how often was the run exported?'),
        ),
        migrations.AddIndex(
            model_name='accessevent',
            index=audit.models.fields.ReasonedIndex(fields=['run_id', 'event_id'], name='access_events_by_run', reason='The access log of one run.'),
        ),
        migrations.AddIndex(
            model_name='accessevent',
            index=audit.models.fields.ReasonedIndex(fields=['user_id', 'event_id'], name='access_events_by_user', reason="The access log of one person, and everybody's own reading."),
        ),
        migrations.AddIndex(
            model_name='accessevent',
            index=audit.models.fields.ReasonedIndex(fields=['action', 'event_id'], name='access_events_by_action', reason='The access log filtered by what was done; rare words above all.'),
        ),
        migrations.AddIndex(
            model_name='accessevent',
            index=audit.models.fields.ReasonedIndex(fields=['kind', 'event_id'], name='access_events_by_kind', reason='The access log filtered by kind of object.'),
        ),
        migrations.AddConstraint(
            model_name='accessevent',
            constraint=models.CheckConstraint(condition=models.Q(('result__in', ['given', 'refused'])), name='access_events_result_known', violation_error_message='result holds only words of AccessResult.'),
        ),
        migrations.CreateModel(
            name='AccessSeal',
            fields=[
                ('event_id', models.BigIntegerField(primary_key=True, serialize=False)),
                ('head_hash', models.CharField(db_collation='C', max_length=64)),
                ('note', models.TextField(db_collation='C')),
                ('sealed_at', models.DateTimeField()),
            ],
            options={
                'db_table': 'access_seals',
                'constraints': [models.CheckConstraint(condition=models.Q(models.Func(models.F('sealed_at'), function='isfinite', output_field=models.BooleanField())), name='access_seals_times_finite', violation_error_message='Finite timestamps only: sealed_at.'), models.CheckConstraint(condition=models.Q(('event_id__gt', 0)), name='access_seals_cover_something', violation_error_message='A seal covers at least one event.')],
            },
        ),
        migrations.RunSQL(CHAIN, reverse_sql=migrations.RunSQL.noop),
        migrations.RunSQL(
            "UPDATE schema_info SET version = 13",
            reverse_sql="UPDATE schema_info SET version = 12",
        ),
    ]
