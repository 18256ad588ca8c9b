"""Seals, the checks made against them, the log of all seals, and the history of signing keys.

Four tables that only grow. Keys and checks hold what the signer must never break: the epochs of
a run are a chain in which sizes grow, and the log has one root for each size.
"""

import audit.models.fields
import django.db.models.deletion
import django.db.models.expressions
from django.db import migrations, models


class Migration(migrations.Migration):
    """Evidence; schema version 6."""

    dependencies = [
        ('audit', '0006_batch_of_an_output'),
    ]

    operations = [
        migrations.CreateModel(
            name='KeyEvent',
            fields=[
                ('event_id', models.BigAutoField(primary_key=True, serialize=False)),
                ('kind', models.CharField(choices=[('introduced', 'Introduced'), ('retired', 'Retired'), ('compromised', 'Compromised')], max_length=32)),
                ('key_name', models.TextField(db_collation='C')),
                ('key_id', models.CharField(db_collation='C', max_length=64)),
                ('public_key', models.CharField(db_collation='C', max_length=64)),
                ('happened_at', models.DateTimeField()),
                ('reason', models.TextField(db_collation='C')),
                ('history', models.TextField(db_collation='C')),
            ],
            options={
                'db_table': 'key_events',
                'constraints': [models.CheckConstraint(condition=models.Q(('kind__in', ['introduced', 'retired', 'compromised'])), name='key_events_kind_known', violation_error_message='kind holds only words of KeyEventKind.'), models.UniqueConstraint(fields=('key_name', 'public_key', 'kind'), name='key_events_once', violation_error_message='A key is introduced, retired or given up once.'), models.CheckConstraint(condition=models.Q(('public_key__regex', '^[0-9a-f]{64}$')), name='key_events_key_shape', violation_error_message='An Ed25519 key is 32 bytes, in hex.'), models.CheckConstraint(condition=models.Q(models.Func(models.F('happened_at'), function='isfinite', output_field=models.BooleanField())), name='key_events_times_finite', violation_error_message='Finite timestamps only: happened_at.')],
            },
        ),
        migrations.CreateModel(
            name='Seal',
            fields=[
                ('pk', models.CompositePrimaryKey('run_id', 'epoch', blank=True, editable=False, primary_key=True, serialize=False)),
                ('run_id', models.CharField(db_collation='C', max_length=64)),
                ('epoch', models.IntegerField()),
                ('reason', models.CharField(choices=[('run_completed', 'Run Completed'), ('run_failed', 'Run Failed'), ('run_resumed', 'Run Resumed'), ('payload_purged', 'Payload Purged'), ('grade_changed', 'Grade Changed'), ('correction', 'Correction'), ('imported', 'Imported')], max_length=32)),
                ('sealed_at', models.DateTimeField()),
                ('origin', models.TextField(db_collation='C')),
                ('size', models.BigIntegerField()),
                ('root', models.CharField(db_collation='C', max_length=64)),
                ('first_leaf', models.BigIntegerField()),
                ('prev_epoch', models.IntegerField(null=True)),
                ('prev_size', models.BigIntegerField()),
                ('prev_root', models.CharField(db_collation='C', max_length=64, null=True)),
                ('counts_json', models.TextField(db_collation='C')),
                ('schema_json', models.TextField(db_collation='C')),
                ('reproducibility_grade', models.TextField(db_collation='C', null=True)),
                ('checkpoint', models.TextField(db_collation='C')),
                ('key_id', models.CharField(db_collation='C', max_length=64)),
                ('segments_json', models.TextField(db_collation='C')),
                ('previous', models.ForeignObject(from_fields=['run_id', 'prev_epoch'], null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='audit.seal', to_fields=['run_id', 'epoch'])),
                ('run', models.ForeignObject(from_fields=['run_id'], on_delete=django.db.models.deletion.DO_NOTHING, related_name='seals', to='audit.run', to_fields=['run_id'])),
            ],
            options={
                'db_table': 'seals',
            },
        ),
        migrations.CreateModel(
            name='SealCheck',
            fields=[
                ('check_id', models.BigAutoField(primary_key=True, serialize=False)),
                ('run_id', models.CharField(db_collation='C', max_length=64)),
                ('epoch', models.IntegerField()),
                ('checked_at', models.DateTimeField()),
                ('records', models.BigIntegerField()),
                ('differences', models.BigIntegerField()),
                ('seal', models.ForeignObject(from_fields=['run_id', 'epoch'], on_delete=django.db.models.deletion.DO_NOTHING, related_name='checks', to='audit.seal', to_fields=['run_id', 'epoch'])),
            ],
            options={
                'db_table': 'seal_checks',
            },
        ),
        migrations.CreateModel(
            name='SealLogEntry',
            fields=[
                ('leaf_index', models.BigIntegerField(primary_key=True, serialize=False)),
                ('previous_index', models.BigIntegerField(null=True)),
                ('run_id', models.CharField(db_collation='C', max_length=64)),
                ('epoch', models.IntegerField()),
                ('leaf_text', models.TextField(db_collation='C')),
                ('leaf_hash', models.CharField(db_collation='C', max_length=64)),
                ('root', models.CharField(db_collation='C', max_length=64)),
                ('edge', models.BinaryField()),
                ('checkpoint', models.TextField(db_collation='C')),
                ('key_id', models.CharField(db_collation='C', max_length=64)),
                ('logged_at', models.DateTimeField()),
                ('seal', models.ForeignObject(from_fields=['run_id', 'epoch'], on_delete=django.db.models.deletion.DO_NOTHING, related_name='log_entries', to='audit.seal', to_fields=['run_id', 'epoch'])),
            ],
            options={
                'db_table': 'seal_log',
            },
        ),
        migrations.AddConstraint(
            model_name='seal',
            constraint=audit.models.fields.CompositeForeignKey(columns=('run_id',), name='seals_run', to_columns=('run_id',), to_table='runs', violation_error_message='Links a record to runs of the same run.'),
        ),
        migrations.AddConstraint(
            model_name='seal',
            constraint=models.UniqueConstraint(fields=('run_id', 'epoch', 'size', 'root'), name='seals_as_followed', violation_error_message='What the next epoch points at: epoch, size and root in one.'),
        ),
        migrations.AddConstraint(
            model_name='seal',
            constraint=audit.models.fields.CompositeForeignKey(columns=('run_id', 'prev_epoch', 'prev_size', 'prev_root'), name='seals_previous', to_columns=('run_id', 'epoch', 'size', 'root'), to_table='seals', violation_error_message='Links a record to seals of the same run.'),
        ),
        migrations.AddConstraint(
            model_name='seal',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('epoch', 1), ('prev_epoch__isnull', True), ('prev_root__isnull', True), ('prev_size', 0)), models.Q(('epoch__gt', 1), ('prev_epoch', django.db.models.expressions.CombinedExpression(models.F('epoch'), '-', models.Value(1))), ('prev_epoch__isnull', False), ('prev_root__isnull', False)), _connector='OR'), name='seals_follow_each_other', violation_error_message='An epoch follows the one before it, and the first none.'),
        ),
        migrations.AddConstraint(
            model_name='seal',
            constraint=models.CheckConstraint(condition=models.Q(('first_leaf', models.F('prev_size')), ('size__gt', models.F('prev_size'))), name='seals_only_grow', violation_error_message='A signed tree is never followed by a smaller one.'),
        ),
        migrations.AddConstraint(
            model_name='seal',
            constraint=models.CheckConstraint(condition=models.Q(('reason__in', ['run_completed', 'run_failed', 'run_resumed', 'payload_purged', 'grade_changed', 'correction', 'imported'])), name='seals_reason_known', violation_error_message='reason holds only words of SealReason.'),
        ),
        migrations.AddConstraint(
            model_name='seal',
            constraint=models.CheckConstraint(condition=models.Q(models.Func(models.F('sealed_at'), function='isfinite', output_field=models.BooleanField())), name='seals_times_finite', violation_error_message='Finite timestamps only: sealed_at.'),
        ),
        migrations.AddIndex(
            model_name='sealcheck',
            index=audit.models.fields.ReasonedIndex(fields=['run_id', '-checked_at'], name='seal_checks_by_run', reason='The run page: when did the database last match?'),
        ),
        migrations.AddConstraint(
            model_name='sealcheck',
            constraint=audit.models.fields.CompositeForeignKey(columns=('run_id', 'epoch'), name='seal_checks_seal', to_columns=('run_id', 'epoch'), to_table='seals', violation_error_message='Links a record to seals of the same run.'),
        ),
        migrations.AddConstraint(
            model_name='sealcheck',
            constraint=models.CheckConstraint(condition=models.Q(models.Func(models.F('checked_at'), function='isfinite', output_field=models.BooleanField())), name='seal_checks_times_finite', violation_error_message='Finite timestamps only: checked_at.'),
        ),
        migrations.AddConstraint(
            model_name='seallogentry',
            constraint=audit.models.fields.CompositeForeignKey(columns=('run_id', 'epoch'), name='seal_log_seal', to_columns=('run_id', 'epoch'), to_table='seals', violation_error_message='Links a record to seals of the same run.'),
        ),
        migrations.AddConstraint(
            model_name='seallogentry',
            constraint=audit.models.fields.CompositeForeignKey(columns=('previous_index',), name='seal_log_previous', to_columns=('leaf_index',), to_table='seal_log', violation_error_message='An entry follows one that is there.'),
        ),
        migrations.AddConstraint(
            model_name='seallogentry',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('leaf_index', 0), ('previous_index__isnull', True)), models.Q(('leaf_index', django.db.models.expressions.CombinedExpression(models.F('previous_index'), '+', models.Value(1))), ('previous_index__isnull', False)), _connector='OR'), name='seal_log_without_gap', violation_error_message='The log has no gap: one root for each size.'),
        ),
        migrations.AddConstraint(
            model_name='seallogentry',
            constraint=models.UniqueConstraint(fields=('run_id', 'epoch'), name='seal_log_once', violation_error_message='Two processes cannot both log one seal.'),
        ),
        migrations.AddConstraint(
            model_name='seallogentry',
            constraint=models.CheckConstraint(condition=models.Q(models.Func(models.F('logged_at'), function='isfinite', output_field=models.BooleanField())), name='seal_log_times_finite', violation_error_message='Finite timestamps only: logged_at.'),
        ),
        migrations.RunSQL(
            "UPDATE schema_info SET version = 6",
            reverse_sql="UPDATE schema_info SET version = 5",
        ),
    ]
