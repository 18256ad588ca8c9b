"""What our own recorder writes beyond the original's columns.

Additive: every new column is null in what was imported. Errors and rejected rows become payloads
(reference and hash), so that they can be erased without touching the trail; a validation error
names its row, a transform error its attempt, a retried batch the one before it, and a run says
by what and how it was recorded. `validation_errors.error` may be null, because ours is a payload.
"""

import audit.models.fields
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    """Columns of native records; schema version 2."""

    dependencies = [
        ('audit', '0002_schema_info'),
    ]

    operations = [
        migrations.AddField(
            model_name='batch',
            name='retry_of',
            field=models.CharField(db_collation='C', max_length=64, null=True),
        ),
        migrations.AddField(
            model_name='call',
            name='error_hash',
            field=models.CharField(db_collation='C', max_length=64, null=True),
        ),
        migrations.AddField(
            model_name='call',
            name='error_ref',
            field=models.TextField(db_collation='C', null=True),
        ),
        migrations.AddField(
            model_name='nodestate',
            name='error_hash',
            field=models.CharField(db_collation='C', max_length=64, null=True),
        ),
        migrations.AddField(
            model_name='nodestate',
            name='error_ref',
            field=models.TextField(db_collation='C', null=True),
        ),
        migrations.AddField(
            model_name='operation',
            name='error_hash',
            field=models.CharField(db_collation='C', max_length=64, null=True),
        ),
        migrations.AddField(
            model_name='operation',
            name='error_ref',
            field=models.TextField(db_collation='C', null=True),
        ),
        migrations.AddField(
            model_name='run',
            name='recorder_version',
            field=models.TextField(db_collation='C', null=True),
        ),
        migrations.AddField(
            model_name='run',
            name='replay_source_run_id',
            field=models.CharField(db_collation='C', max_length=64, null=True),
        ),
        migrations.AddField(
            model_name='run',
            name='run_mode',
            field=models.CharField(choices=[('live', 'Live'), ('replay', 'Replay'), ('verify', 'Verify')], max_length=32, null=True),
        ),
        migrations.AddField(
            model_name='transformerror',
            name='error_details_hash',
            field=models.CharField(db_collation='C', max_length=64, null=True),
        ),
        migrations.AddField(
            model_name='transformerror',
            name='error_details_ref',
            field=models.TextField(db_collation='C', null=True),
        ),
        migrations.AddField(
            model_name='transformerror',
            name='row_data_ref',
            field=models.TextField(db_collation='C', null=True),
        ),
        migrations.AddField(
            model_name='transformerror',
            name='state',
            field=models.ForeignObject(from_fields=['run_id', 'state_id'], null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='audit.nodestate', to_fields=['run_id', 'state_id']),
        ),
        migrations.AddField(
            model_name='transformerror',
            name='state_id',
            field=models.CharField(db_collation='C', max_length=64, null=True),
        ),
        migrations.AddField(
            model_name='validationerror',
            name='error_hash',
            field=models.CharField(db_collation='C', max_length=64, null=True),
        ),
        migrations.AddField(
            model_name='validationerror',
            name='error_ref',
            field=models.TextField(db_collation='C', null=True),
        ),
        migrations.AddField(
            model_name='validationerror',
            name='row',
            field=models.ForeignObject(from_fields=['run_id', 'row_id'], null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='validation_errors', to='audit.row', to_fields=['run_id', 'row_id']),
        ),
        migrations.AddField(
            model_name='validationerror',
            name='row_data_ref',
            field=models.TextField(db_collation='C', null=True),
        ),
        migrations.AddField(
            model_name='validationerror',
            name='row_id',
            field=models.CharField(db_collation='C', max_length=64, null=True),
        ),
        migrations.AlterField(
            model_name='validationerror',
            name='error',
            field=models.TextField(db_collation='C', null=True),
        ),
        migrations.AddIndex(
            model_name='call',
            index=audit.models.fields.ReasonedIndex(fields=['run_id', 'request_hash'], name='calls_by_request', reason='Replay: the recorded answers to this request, in order.'),
        ),
        migrations.AddIndex(
            model_name='validationerror',
            index=audit.models.fields.ReasonedIndex(fields=['run_id', 'row_id'], name='validation_errors_by_row', reason='The row page: errors of this very row.'),
        ),
        migrations.AddConstraint(
            model_name='artifact',
            constraint=models.UniqueConstraint(condition=models.Q(('idempotency_key__isnull', False)), fields=('run_id', 'idempotency_key'), name='artifacts_once_per_key', violation_error_message='A sink write that is told twice is recorded once.'),
        ),
        migrations.AddConstraint(
            model_name='batch',
            constraint=audit.models.fields.CompositeForeignKey(columns=('run_id', 'retry_of'), name='batches_retry_of', to_columns=('run_id', 'batch_id'), to_table='batches', violation_error_message='Links a record to batches of the same run.'),
        ),
        migrations.AddConstraint(
            model_name='batch',
            constraint=models.UniqueConstraint(condition=models.Q(('retry_of__isnull', False)), fields=('run_id', 'retry_of'), name='batches_retried_once', violation_error_message='Two workers cannot both retry a failed batch.'),
        ),
        migrations.AddConstraint(
            model_name='nodestate',
            constraint=models.CheckConstraint(condition=models.Q(('error_hash__isnull', True), ('status__in', ['failed', 'rejected']), _connector='OR'), name='node_states_error_failed', violation_error_message='Only a failed state has an error.'),
        ),
        migrations.AddConstraint(
            model_name='run',
            constraint=models.CheckConstraint(condition=models.Q(('run_mode__in', ['live', 'replay', 'verify'])), name='runs_mode_known', violation_error_message='run_mode holds only words of RunMode.'),
        ),
        migrations.AddConstraint(
            model_name='transformerror',
            constraint=audit.models.fields.CompositeForeignKey(columns=('run_id', 'state_id'), name='transform_errors_state', to_columns=('run_id', 'state_id'), to_table='node_states', violation_error_message='Links a record to node_states of the same run.'),
        ),
        migrations.AddConstraint(
            model_name='validationerror',
            constraint=audit.models.fields.CompositeForeignKey(columns=('run_id', 'row_id'), name='validation_errors_row', to_columns=('run_id', 'row_id'), to_table='rows', violation_error_message='Links a record to rows of the same run.'),
        ),
        migrations.AddConstraint(
            model_name='validationerror',
            constraint=models.CheckConstraint(condition=models.Q(('error__isnull', False), ('error_hash__isnull', False), _connector='OR'), name='validation_errors_say_why', violation_error_message='A refusal says why, inline or as a payload.'),
        ),
        migrations.RunSQL(
            "UPDATE schema_info SET version = 2",
            reverse_sql="UPDATE schema_info SET version = 1",
        ),
    ]
