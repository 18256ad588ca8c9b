"""Uploaded files on their way in; the table only grows, its steps are held by a guard."""

import audit.models.fields
from django.db import migrations, models


class Migration(migrations.Migration):
    """Import jobs; schema version 10."""

    dependencies = [
        ('audit', '0010_retention'),
    ]

    operations = [
        migrations.CreateModel(
            name='ImportJob',
            fields=[
                ('job_id', models.CharField(db_collation='C', max_length=64, primary_key=True, serialize=False)),
                ('requested_by', models.BigIntegerField()),
                ('requested_at', models.DateTimeField()),
                ('file_name', models.TextField(db_collation='C')),
                ('file_bytes', models.BigIntegerField()),
                ('log_bytes', models.BigIntegerField(null=True)),
                ('payload_bytes', models.BigIntegerField(null=True)),
                ('status', models.CharField(choices=[('requested', 'Requested'), ('running', 'Running'), ('waiting', 'Waiting'), ('cancelling', 'Cancelling'), ('succeeded', 'Succeeded'), ('refused', 'Refused'), ('failed', 'Failed'), ('cancelled', 'Cancelled')], max_length=32)),
                ('attempt', models.SmallIntegerField()),
                ('fence', models.BigIntegerField()),
                ('lease_owner', models.TextField(db_collation='C', null=True)),
                ('lease_until', models.DateTimeField(null=True)),
                ('due_at', models.DateTimeField(null=True)),
                ('rung_at', models.DateTimeField(null=True)),
                ('started_at', models.DateTimeField(null=True)),
                ('finished_at', models.DateTimeField(null=True)),
                ('records_done', models.BigIntegerField()),
                ('records_total', models.BigIntegerField(null=True)),
                ('doing', models.TextField(db_collation='C', null=True)),
                ('error_text', models.TextField(db_collation='C', null=True)),
                ('report_json', models.TextField(db_collation='C', null=True)),
            ],
            options={
                'db_table': 'import_jobs',
                'indexes': [audit.models.fields.ReasonedIndex(fields=['-requested_at', '-job_id'], name='import_jobs_newest_first', reason='The list of uploads.'), audit.models.fields.ReasonedIndex(fields=['requested_by', 'requested_at'], name='import_jobs_by_person', reason='The quota: what has somebody uploaded in a day?'), audit.models.fields.ReasonedIndex(fields=['status', 'finished_at'], name='import_jobs_by_status', reason='The sweeper: what is due, and whose file is not needed any more.')],
                'constraints': [models.CheckConstraint(condition=models.Q(('status__in', ['requested', 'running', 'waiting', 'cancelling', 'succeeded', 'refused', 'failed', 'cancelled'])), name='import_jobs_status_known', violation_error_message='status holds only words of ImportJobStatus.'), models.CheckConstraint(condition=models.Q(('attempt__gte', 0), ('attempt__lte', 3), ('fence__gte', models.F('attempt'))), name='import_jobs_attempts', violation_error_message='At most three attempts; each has a fence of its own.'), models.CheckConstraint(condition=models.Q(models.Q(('status__in', ('running', 'cancelling')), ('lease_owner__isnull', False), ('lease_until__isnull', False)), models.Q(models.Q(('status__in', ('running', 'cancelling')), _negated=True), ('lease_owner__isnull', True), ('lease_until__isnull', True)), _connector='OR'), name='import_jobs_held_by_lease', violation_error_message='A worker has it for as long as its lease lasts.'), models.CheckConstraint(condition=models.Q(models.Q(('status', 'waiting'), _negated=True), ('due_at__isnull', False), _connector='OR'), name='import_jobs_wait_for_something', violation_error_message='An import that waits says until when.'), models.CheckConstraint(condition=models.Q(models.Q(('finished_at__isnull', True), ('status__in', ('requested', 'running', 'waiting', 'cancelling'))), models.Q(models.Q(('status__in', ('requested', 'running', 'waiting', 'cancelling')), _negated=True), ('finished_at__isnull', False)), _connector='OR'), name='import_jobs_end_once', violation_error_message='It has an end when nothing more can come of it.'), models.CheckConstraint(condition=models.Q(models.Q(('status__in', ['refused', 'failed']), _negated=True), ('error_text__isnull', False), _connector='OR'), name='import_jobs_refusal_says_why', violation_error_message='A refusal and a failure say why.'), models.CheckConstraint(condition=models.Q(models.Func(models.F('requested_at'), function='isfinite', output_field=models.BooleanField()), models.Func(models.F('lease_until'), function='isfinite', output_field=models.BooleanField()), models.Func(models.F('due_at'), function='isfinite', output_field=models.BooleanField()), models.Func(models.F('rung_at'), function='isfinite', output_field=models.BooleanField()), models.Func(models.F('started_at'), function='isfinite', output_field=models.BooleanField()), models.Func(models.F('finished_at'), function='isfinite', output_field=models.BooleanField())), name='import_jobs_times_finite', violation_error_message='Finite timestamps only: requested_at, lease_until, due_at, rung_at, started_at, finished_at.')],
            },
        ),
        migrations.RunSQL(
            "UPDATE schema_info SET version = 10",
            reverse_sql="UPDATE schema_info SET version = 9",
        ),
    ]
