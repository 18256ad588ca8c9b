"""Exports as jobs, what was given to whom, and the groups that may ask for it.

Both tables only grow; the steps of an export are held by a guard (`audit/recorder/guards.py`).
"""

import audit.models.fields
import django.db.models.deletion
from django.db import migrations, models


PERMISSIONS = {
    'request_export': 'Can have runs exported, and download what was made',
    'see_all_exports': "Can see and download everybody's exports",
}
GROUPS = {
    'auditor': ['request_export', 'see_all_exports'],
    'exporter': ['request_export'],
    'administrator': ['request_export', 'see_all_exports'],
}


def make_groups(apps, schema_editor):
    """Django makes permissions after the last migration; groups need theirs now."""
    alias = schema_editor.connection.alias
    kind, _ = apps.get_model('contenttypes', 'ContentType').objects.using(alias).get_or_create(
        app_label='audit', model='export'
    )
    permissions = {
        codename: apps.get_model('auth', 'Permission').objects.using(alias).get_or_create(
            content_type=kind, codename=codename, defaults={'name': name}
        )[0]
        for codename, name in PERMISSIONS.items()
    }
    for name, may in GROUPS.items():
        group, _ = apps.get_model('auth', 'Group').objects.using(alias).get_or_create(name=name)
        group.permissions.add(*(permissions[codename] for codename in may))


class Migration(migrations.Migration):
    """Exports and access events; schema version 7."""

    dependencies = [
        ('audit', '0007_seals'),
        ('auth', '0012_alter_user_first_name_max_length'),
        ('contenttypes', '0002_remove_content_type_name'),
    ]

    operations = [
        migrations.CreateModel(
            name='AccessEvent',
            fields=[
                ('event_id', models.BigAutoField(primary_key=True, serialize=False)),
                ('at', models.DateTimeField()),
                ('user_id', models.BigIntegerField()),
                ('action', models.CharField(choices=[('export_downloaded', 'Export Downloaded')], max_length=32)),
                ('run_id', models.CharField(db_collation='C', max_length=64)),
                ('object_id', models.CharField(db_collation='C', max_length=64)),
            ],
            options={
                'db_table': 'access_events',
                'indexes': [audit.models.fields.ReasonedIndex(fields=['object_id', 'at'], name='access_events_by_object', reason='The page of an export: how often was it downloaded?')],
                'constraints': [models.CheckConstraint(condition=models.Q(('action__in', ['export_downloaded'])), name='access_events_action_known', violation_error_message='action holds only words of AccessAction.'), models.CheckConstraint(condition=models.Q(models.Func(models.F('at'), function='isfinite', output_field=models.BooleanField())), name='access_events_times_finite', violation_error_message='Finite timestamps only: at.')],
            },
        ),
        migrations.CreateModel(
            name='Export',
            fields=[
                ('export_id', models.CharField(db_collation='C', max_length=64, primary_key=True, serialize=False)),
                ('run_id', models.CharField(db_collation='C', max_length=64)),
                ('requested_by', models.BigIntegerField()),
                ('requested_at', models.DateTimeField()),
                ('with_csv', models.BooleanField()),
                ('with_payloads', models.BooleanField()),
                ('provisional', models.BooleanField()),
                ('status', models.CharField(choices=[('requested', 'Requested'), ('running', 'Running'), ('publishing', 'Publishing'), ('waiting', 'Waiting'), ('cancelling', 'Cancelling'), ('succeeded', 'Succeeded'), ('failed', 'Failed'), ('cancelled', 'Cancelled'), ('expired', 'Expired')], max_length=32)),
                ('step', models.CharField(choices=[('sealing', 'Sealing'), ('writing', 'Writing'), ('packing', 'Packing'), ('publishing', 'Publishing')], max_length=32)),
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
                ('error_code', models.TextField(db_collation='C', null=True)),
                ('error_text', models.TextField(db_collation='C', null=True)),
                ('file_sha256', models.CharField(db_collation='C', max_length=64, null=True)),
                ('file_bytes', models.BigIntegerField(null=True)),
                ('file_name', models.TextField(db_collation='C', null=True)),
                ('origin', models.TextField(db_collation='C', null=True)),
                ('root', models.CharField(db_collation='C', max_length=64, null=True)),
                ('expires_at', models.DateTimeField(null=True)),
                ('run', models.ForeignObject(from_fields=['run_id'], on_delete=django.db.models.deletion.DO_NOTHING, related_name='exports', to='audit.run', to_fields=['run_id'])),
            ],
            options={
                'db_table': 'exports',
                'permissions': [('request_export', 'Can have runs exported, and download what was made'), ('see_all_exports', "Can see and download everybody's exports")],
                'indexes': [audit.models.fields.ReasonedIndex(fields=['requested_by', '-requested_at', '-export_id'], name='exports_by_person', reason="The list of one's own exports, newest first."), audit.models.fields.ReasonedIndex(fields=['-requested_at', '-export_id'], name='exports_newest_first', reason="The list of everybody's exports."), audit.models.fields.ReasonedIndex(fields=['run_id', '-requested_at', '-export_id'], name='exports_by_run', reason='The exports of one run, newest first: run page and API.'), audit.models.fields.ReasonedIndex(fields=['status', 'expires_at'], name='exports_by_status', reason='The sweeper: what is due, what was left behind, what has expired.')],
                'constraints': [audit.models.fields.CompositeForeignKey(columns=('run_id',), name='exports_run', to_columns=('run_id',), to_table='runs', violation_error_message='Links a record to runs of the same run.'), models.UniqueConstraint(condition=models.Q(('status__in', ('requested', 'running', 'publishing', 'waiting', 'cancelling'))), fields=('requested_by', 'run_id', 'with_csv', 'with_payloads'), name='exports_one_live', violation_error_message='Two clicks on one button are one export.'), models.CheckConstraint(condition=models.Q(('status__in', ['requested', 'running', 'publishing', 'waiting', 'cancelling', 'succeeded', 'failed', 'cancelled', 'expired'])), name='exports_status_known', violation_error_message='status holds only words of ExportJobStatus.'), models.CheckConstraint(condition=models.Q(('step__in', ['sealing', 'writing', 'packing', 'publishing'])), name='exports_step_known', violation_error_message='step holds only words of ExportStep.'), models.CheckConstraint(condition=models.Q(('attempt__gte', 0), ('attempt__lte', 5), ('fence__gte', models.F('attempt'))), name='exports_attempts', violation_error_message='At most five attempts; each claim has a fence of its own.'), models.CheckConstraint(condition=models.Q(models.Q(('status__in', ('running', 'publishing', 'cancelling')), ('lease_owner__isnull', False), ('lease_until__isnull', False)), models.Q(models.Q(('status__in', ('running', 'publishing', 'cancelling')), _negated=True), ('lease_owner__isnull', True), ('lease_until__isnull', True)), _connector='OR'), name='exports_held_by_lease', violation_error_message='A worker has it for as long as its lease lasts.'), models.CheckConstraint(condition=models.Q(models.Q(('status', 'waiting'), _negated=True), ('due_at__isnull', False), _connector='OR'), name='exports_wait_for_something', violation_error_message='An export that waits says until when.'), models.CheckConstraint(condition=models.Q(models.Q(('finished_at__isnull', True), ('status__in', ('requested', 'running', 'publishing', 'waiting', 'cancelling'))), models.Q(models.Q(('status__in', ('requested', 'running', 'publishing', 'waiting', 'cancelling')), _negated=True), ('finished_at__isnull', False)), _connector='OR'), name='exports_end_once', violation_error_message='An export has an end when nothing more can come of it.'), models.CheckConstraint(condition=models.Q(models.Q(('status__in', ('succeeded', 'expired')), _negated=True), models.Q(('file_sha256__isnull', False), ('file_bytes__isnull', False), ('file_name__isnull', False), ('root__isnull', False), ('expires_at__isnull', False)), _connector='OR'), name='exports_made_whole', violation_error_message='What succeeded has a file, its hash and its expiry.'), models.CheckConstraint(condition=models.Q(models.Q(('status', 'failed'), _negated=True), models.Q(('error_code__isnull', False), ('error_text__isnull', False)), _connector='OR'), name='exports_failure_says_why', violation_error_message='A failure says why.'), models.CheckConstraint(condition=models.Q(('file_sha256__regex', '^[0-9a-f]{64}$')), name='exports_file_shape', violation_error_message='A file goes by the SHA-256 of its content.'), models.CheckConstraint(condition=models.Q(models.Func(models.F('requested_at'), function='isfinite', output_field=models.BooleanField()), models.Func(models.F('lease_until'), function='isfinite', output_field=models.BooleanField()), models.Func(models.F('due_at'), function='isfinite', output_field=models.BooleanField()), models.Func(models.F('rung_at'), function='isfinite', output_field=models.BooleanField()), models.Func(models.F('started_at'), function='isfinite', output_field=models.BooleanField()), models.Func(models.F('finished_at'), function='isfinite', output_field=models.BooleanField()), models.Func(models.F('expires_at'), function='isfinite', output_field=models.BooleanField())), name='exports_times_finite', violation_error_message='Finite timestamps only: requested_at, lease_until, due_at, rung_at, started_at, finished_at, expires_at.')],
            },
        ),
        # Groups are kept on the way back: people may be in them.
        migrations.RunPython(make_groups, migrations.RunPython.noop),
        migrations.RunSQL(
            "UPDATE schema_info SET version = 7",
            reverse_sql="UPDATE schema_info SET version = 6",
        ),
    ]
