"""Retention: policies, holds, purge plans and what came of them, and which runs are hidden.

Every column that refers to a payload gets an index: before one is deleted, all are asked.
"""

import audit.models.fields
import django.db.models.deletion
import django.db.models.expressions
from django.db import migrations, models


class Migration(migrations.Migration):
    """Retention; schema version 9."""

    dependencies = [
        ('audit', '0009_roles'),
    ]

    operations = [
        migrations.CreateModel(
            name='LegalHold',
            fields=[
                ('hold_id', models.BigAutoField(primary_key=True, serialize=False)),
                ('status', models.CharField(choices=[('active', 'Active'), ('release_asked', 'release asked for'), ('released', 'Released')], max_length=32)),
                ('scope', models.CharField(choices=[('run', 'one run'), ('pipeline', 'every run of one pipeline'), ('everything', 'everything')], max_length=32)),
                ('scope_value', models.TextField(db_collation='C', null=True)),
                ('matter', models.TextField(db_collation='C')),
                ('reason', models.TextField(db_collation='C')),
                ('placed_by', models.BigIntegerField()),
                ('placed_at', models.DateTimeField()),
                ('release_asked_by', models.BigIntegerField(null=True)),
                ('release_asked_at', models.DateTimeField(null=True)),
                ('release_reason', models.TextField(db_collation='C', null=True)),
                ('released_by', models.BigIntegerField(null=True)),
                ('released_at', models.DateTimeField(null=True)),
            ],
            options={
                'db_table': 'legal_holds',
            },
        ),
        migrations.CreateModel(
            name='PayloadPurge',
            fields=[
                ('pk', models.CompositePrimaryKey('run_id', 'purge_id', blank=True, editable=False, primary_key=True, serialize=False)),
                ('run_id', models.CharField(db_collation='C', max_length=64)),
                ('purge_id', models.CharField(db_collation='C', max_length=64)),
                ('payload_sha256', models.CharField(db_collation='C', max_length=64)),
                ('purged_at', models.DateTimeField()),
                ('policy', models.TextField(db_collation='C')),
                ('reason', models.TextField(db_collation='C')),
                ('plan_id', models.BigIntegerField()),
                ('requested_by', models.BigIntegerField()),
                ('approved_by', models.BigIntegerField()),
            ],
            options={
                'db_table': 'payload_purges',
            },
        ),
        migrations.CreateModel(
            name='PurgeCertificate',
            fields=[
                ('plan_id', models.BigIntegerField(primary_key=True, serialize=False)),
                ('made_at', models.DateTimeField()),
                ('statement_json', models.TextField(db_collation='C')),
                ('envelope', models.TextField(db_collation='C')),
                ('key_id', models.CharField(db_collation='C', max_length=64)),
            ],
            options={
                'db_table': 'purge_certificates',
            },
        ),
        migrations.CreateModel(
            name='PurgeItem',
            fields=[
                ('pk', models.CompositePrimaryKey('plan_id', 'content_hash', blank=True, editable=False, primary_key=True, serialize=False)),
                ('plan_id', models.BigIntegerField()),
                ('content_hash', models.CharField(db_collation='C', max_length=64)),
                ('size_bytes', models.BigIntegerField()),
                ('policy_id', models.BigIntegerField()),
                ('status', models.CharField(choices=[('planned', 'Planned'), ('purged', 'Purged'), ('erased', 'Erased'), ('recorded_again', 'recorded again'), ('skipped', 'Skipped')], max_length=32)),
                ('skipped_for', models.CharField(choices=[('legal_hold', 'legal hold'), ('not_over', 'the run is not over, or may go on'), ('unclear', 'the end of the run is unknown'), ('keep_at_least', 'too young to be deleted'), ('in_use', 'an export is reading it'), ('not_due', 'not due yet'), ('no_policy', 'no policy deletes it'), ('not_there', 'its bytes are not there')], max_length=32, null=True)),
                ('purged_at', models.DateTimeField(null=True)),
            ],
            options={
                'db_table': 'purge_items',
            },
        ),
        migrations.CreateModel(
            name='PurgeKept',
            fields=[
                ('pk', models.CompositePrimaryKey('plan_id', 'content_hash', blank=True, editable=False, primary_key=True, serialize=False)),
                ('plan_id', models.BigIntegerField()),
                ('content_hash', models.CharField(db_collation='C', max_length=64)),
                ('size_bytes', models.BigIntegerField(null=True)),
                ('rule', models.CharField(choices=[('legal_hold', 'legal hold'), ('not_over', 'the run is not over, or may go on'), ('unclear', 'the end of the run is unknown'), ('keep_at_least', 'too young to be deleted'), ('in_use', 'an export is reading it'), ('not_due', 'not due yet'), ('no_policy', 'no policy deletes it'), ('not_there', 'its bytes are not there')], max_length=32)),
                ('hold_id', models.BigIntegerField(null=True)),
                ('policy_id', models.BigIntegerField(null=True)),
                ('due_at', models.DateTimeField(null=True)),
            ],
            options={
                'db_table': 'purge_kept',
            },
        ),
        migrations.CreateModel(
            name='PurgePlan',
            fields=[
                ('plan_id', models.BigAutoField(primary_key=True, serialize=False)),
                ('status', models.CharField(choices=[('drafting', 'Drafting'), ('proposed', 'waiting for a second person'), ('approved', 'Approved'), ('declined', 'Declined'), ('executing', 'Executing'), ('stopping', 'Stopping'), ('executed', 'Executed'), ('stopped', 'Stopped')], max_length=32)),
                ('made_by', models.BigIntegerField()),
                ('made_at', models.DateTimeField()),
                ('wait_seconds', models.IntegerField()),
                ('policies_json', models.TextField(db_collation='C')),
                ('kept_json', models.TextField(db_collation='C', null=True)),
                ('inline_json', models.TextField(db_collation='C', null=True)),
                ('items', models.BigIntegerField(null=True)),
                ('bytes', models.BigIntegerField(null=True)),
                ('runs', models.BigIntegerField(null=True)),
                ('digest', models.CharField(db_collation='C', max_length=64, null=True)),
                ('approved_by', models.BigIntegerField(null=True)),
                ('approved_at', models.DateTimeField(null=True)),
                ('approval_reason', models.TextField(db_collation='C', null=True)),
                ('approved_digest', models.CharField(db_collation='C', max_length=64, null=True)),
                ('typed_count', models.BigIntegerField(null=True)),
                ('may_begin_at', models.DateTimeField(null=True)),
                ('declined_by', models.BigIntegerField(null=True)),
                ('declined_at', models.DateTimeField(null=True)),
                ('decline_reason', models.TextField(db_collation='C', null=True)),
                ('begun_by', models.BigIntegerField(null=True)),
                ('begun_at', models.DateTimeField(null=True)),
                ('stopped_by', models.BigIntegerField(null=True)),
                ('stopped_at', models.DateTimeField(null=True)),
                ('ended_at', models.DateTimeField(null=True)),
                ('purged_items', models.BigIntegerField(default=0)),
                ('purged_bytes', models.BigIntegerField(default=0)),
                ('skipped_items', models.BigIntegerField(default=0)),
                ('problem', models.TextField(db_collation='C', null=True)),
            ],
            options={
                'db_table': 'purge_plans',
            },
        ),
        migrations.CreateModel(
            name='PurgeRun',
            fields=[
                ('pk', models.CompositePrimaryKey('plan_id', 'run_id', blank=True, editable=False, primary_key=True, serialize=False)),
                ('plan_id', models.BigIntegerField()),
                ('run_id', models.CharField(db_collation='C', max_length=64)),
                ('items', models.BigIntegerField()),
                ('bytes', models.BigIntegerField()),
                ('replay_critical', models.BooleanField()),
                ('grade_before', models.CharField(choices=[('full_reproducible', 'Full Reproducible'), ('replay_reproducible', 'Replay Reproducible'), ('attributable_only', 'Attributable Only')], max_length=32, null=True)),
                ('grade_after', models.CharField(choices=[('full_reproducible', 'Full Reproducible'), ('replay_reproducible', 'Replay Reproducible'), ('attributable_only', 'Attributable Only')], max_length=32, null=True)),
            ],
            options={
                'db_table': 'purge_runs',
            },
        ),
        migrations.CreateModel(
            name='RetentionGuard',
            fields=[
                ('singleton_id', models.IntegerField(default=1, primary_key=True, serialize=False)),
                ('epoch', models.BigIntegerField()),
            ],
            options={
                'db_table': 'retention_guard',
            },
        ),
        migrations.CreateModel(
            name='RetentionPolicy',
            fields=[
                ('policy_id', models.BigAutoField(primary_key=True, serialize=False)),
                ('name', models.TextField(db_collation='C')),
                ('version', models.IntegerField()),
                ('prev_version', models.IntegerField(null=True)),
                ('scope', models.CharField(choices=[('all', 'every run'), ('pipeline', 'the runs of one pipeline'), ('status', 'the runs with one status')], max_length=32)),
                ('scope_value', models.TextField(db_collation='C', null=True)),
                ('keep_days', models.IntegerField()),
                ('delete_after_days', models.IntegerField(null=True)),
                ('ended', models.BooleanField(default=False)),
                ('reason', models.TextField(db_collation='C')),
                ('made_by', models.BigIntegerField()),
                ('made_at', models.DateTimeField()),
            ],
            options={
                'db_table': 'retention_policies',
            },
        ),
        migrations.CreateModel(
            name='RunGrade',
            fields=[
                ('pk', models.CompositePrimaryKey('run_id', 'change_id', blank=True, editable=False, primary_key=True, serialize=False)),
                ('run_id', models.CharField(db_collation='C', max_length=64)),
                ('change_id', models.CharField(db_collation='C', max_length=64)),
                ('changed_at', models.DateTimeField()),
                ('grade_before', models.CharField(choices=[('full_reproducible', 'Full Reproducible'), ('replay_reproducible', 'Replay Reproducible'), ('attributable_only', 'Attributable Only')], max_length=32)),
                ('grade_after', models.CharField(choices=[('full_reproducible', 'Full Reproducible'), ('replay_reproducible', 'Replay Reproducible'), ('attributable_only', 'Attributable Only')], max_length=32)),
                ('reason', models.TextField(db_collation='C')),
                ('plan_id', models.BigIntegerField()),
            ],
            options={
                'db_table': 'run_grades',
            },
        ),
        migrations.CreateModel(
            name='RunHiding',
            fields=[
                ('hiding_id', models.BigAutoField(primary_key=True, serialize=False)),
                ('run_id', models.CharField(db_collation='C', max_length=64)),
                ('reason', models.TextField(db_collation='C')),
                ('hidden_by', models.BigIntegerField()),
                ('hidden_at', models.DateTimeField()),
                ('restorable_until', models.DateTimeField()),
                ('restored_by', models.BigIntegerField(null=True)),
                ('restored_at', models.DateTimeField(null=True)),
            ],
            options={
                'db_table': 'run_hidings',
            },
        ),
        migrations.RemoveConstraint(
            model_name='payload',
            name='payloads_times_finite',
        ),
        migrations.AddField(
            model_name='payload',
            name='purge_plan_id',
            field=models.BigIntegerField(null=True),
        ),
        migrations.AddField(
            model_name='payload',
            name='purged_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddIndex(
            model_name='call',
            index=audit.models.fields.RefIndex('request_ref', name='calls_by_request_ref'),
        ),
        migrations.AddIndex(
            model_name='call',
            index=audit.models.fields.RefIndex('response_ref', name='calls_by_response_ref'),
        ),
        migrations.AddIndex(
            model_name='call',
            index=audit.models.fields.RefIndex('error_ref', name='calls_by_error_ref'),
        ),
        migrations.AddIndex(
            model_name='nodestate',
            index=audit.models.fields.RefIndex('error_ref', name='node_states_by_error_ref'),
        ),
        migrations.AddIndex(
            model_name='operation',
            index=audit.models.fields.RefIndex('input_data_ref', name='operations_by_input_data_ref'),
        ),
        migrations.AddIndex(
            model_name='operation',
            index=audit.models.fields.RefIndex('output_data_ref', name='operations_by_output_data_ref'),
        ),
        migrations.AddIndex(
            model_name='operation',
            index=audit.models.fields.RefIndex('error_ref', name='operations_by_error_ref'),
        ),
        migrations.AddIndex(
            model_name='routingevent',
            index=audit.models.fields.RefIndex('reason_ref', name='routing_events_by_reason_ref'),
        ),
        migrations.AddIndex(
            model_name='row',
            index=audit.models.fields.RefIndex('source_data_ref', name='rows_by_source_data_ref'),
        ),
        migrations.AddIndex(
            model_name='transformerror',
            index=audit.models.fields.RefIndex('row_data_ref', name='transform_errors_row_ref'),
        ),
        migrations.AddIndex(
            model_name='transformerror',
            index=audit.models.fields.RefIndex('error_details_ref', name='transform_errors_details_ref'),
        ),
        migrations.AddIndex(
            model_name='validationerror',
            index=audit.models.fields.RefIndex('row_data_ref', name='validation_errors_row_ref'),
        ),
        migrations.AddIndex(
            model_name='validationerror',
            index=audit.models.fields.RefIndex('error_ref', name='validation_errors_error_ref'),
        ),
        migrations.AddConstraint(
            model_name='payload',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('state', 'purged'), _negated=True), models.Q(('purged_at__isnull', False), ('purge_plan_id__isnull', False)), _connector='OR'), name='payloads_purged_by_a_plan', violation_error_message='What was purged says when, and under which plan.'),
        ),
        migrations.AddConstraint(
            model_name='payload',
            constraint=models.CheckConstraint(condition=models.Q(models.Func(models.F('recorded_at'), function='isfinite', output_field=models.BooleanField()), models.Func(models.F('purged_at'), function='isfinite', output_field=models.BooleanField())), name='payloads_times_finite', violation_error_message='Finite timestamps only: recorded_at, purged_at.'),
        ),
        migrations.AddIndex(
            model_name='legalhold',
            index=audit.models.fields.ReasonedIndex(fields=['status', 'hold_id'], name='legal_holds_by_status', reason='Every purge: what is held now?'),
        ),
        migrations.AddConstraint(
            model_name='legalhold',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('scope', 'everything'), ('scope_value__isnull', True)), models.Q(models.Q(('scope', 'everything'), _negated=True), ('scope_value__isnull', False)), _connector='OR'), name='legal_holds_scope', violation_error_message='A hold on a run or a pipeline says which.'),
        ),
        migrations.AddConstraint(
            model_name='legalhold',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('matter', ''), _negated=True), models.Q(('reason', ''), _negated=True)), name='legal_holds_say_why', violation_error_message='A hold has a matter and a reason.'),
        ),
        migrations.AddConstraint(
            model_name='legalhold',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('release_asked_by__isnull', True), ('status', 'active')), models.Q(models.Q(('status', 'active'), _negated=True), ('release_asked_by__isnull', False), ('release_asked_at__isnull', False), ('release_reason__isnull', False)), _connector='OR'), name='legal_holds_release_asked', violation_error_message='Whose release is asked for says by whom and why.'),
        ),
        migrations.AddConstraint(
            model_name='legalhold',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('released_at__isnull', True), ('released_by__isnull', True), models.Q(('status', 'released'), _negated=True)), models.Q(('status', 'released'), ('released_by__isnull', False), ('released_at__isnull', False), models.Q(('released_by', models.F('release_asked_by')), _negated=True)), _connector='OR'), name='legal_holds_two_people', violation_error_message='Nobody releases a hold alone.'),
        ),
        migrations.AddConstraint(
            model_name='legalhold',
            constraint=models.CheckConstraint(condition=models.Q(('scope__in', ['run', 'pipeline', 'everything'])), name='legal_holds_scope_known', violation_error_message='scope holds only words of HoldScope.'),
        ),
        migrations.AddConstraint(
            model_name='legalhold',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', ['active', 'release_asked', 'released'])), name='legal_holds_status_known', violation_error_message='status holds only words of HoldStatus.'),
        ),
        migrations.AddConstraint(
            model_name='legalhold',
            constraint=models.CheckConstraint(condition=models.Q(models.Func(models.F('placed_at'), function='isfinite', output_field=models.BooleanField()), models.Func(models.F('release_asked_at'), function='isfinite', output_field=models.BooleanField()), models.Func(models.F('released_at'), function='isfinite', output_field=models.BooleanField())), name='legal_holds_times_finite', violation_error_message='Finite timestamps only: placed_at, release_asked_at, released_at.'),
        ),
        migrations.AddField(
            model_name='payloadpurge',
            name='run',
            field=models.ForeignObject(from_fields=['run_id'], on_delete=django.db.models.deletion.DO_NOTHING, related_name='payload_purges', to='audit.run', to_fields=['run_id']),
        ),
        migrations.AddConstraint(
            model_name='purgecertificate',
            constraint=audit.models.fields.CompositeForeignKey(columns=('plan_id',), name='purge_certificates_plan', to_columns=('plan_id',), to_table='purge_plans', violation_error_message='Belongs to a plan that is there.'),
        ),
        migrations.AddConstraint(
            model_name='purgecertificate',
            constraint=models.CheckConstraint(condition=models.Q(models.Func(models.F('made_at'), function='isfinite', output_field=models.BooleanField())), name='purge_certificates_times_finite', violation_error_message='Finite timestamps only: made_at.'),
        ),
        migrations.AddIndex(
            model_name='purgeitem',
            index=audit.models.fields.ReasonedIndex(fields=['plan_id', 'status', 'content_hash'], name='purge_items_by_status', reason='The next batch of a purge, and what was skipped.'),
        ),
        migrations.AddConstraint(
            model_name='purgeitem',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', ['planned', 'purged', 'erased', 'recorded_again', 'skipped'])), name='purge_items_status_known', violation_error_message='status holds only words of PurgeItemStatus.'),
        ),
        migrations.AddConstraint(
            model_name='purgeitem',
            constraint=models.CheckConstraint(condition=models.Q(('skipped_for__in', ['legal_hold', 'not_over', 'unclear', 'keep_at_least', 'in_use', 'not_due', 'no_policy', 'not_there'])), name='purge_items_rule_known', violation_error_message='skipped_for holds only words of KeepRule.'),
        ),
        migrations.AddConstraint(
            model_name='purgeitem',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('status', 'skipped'), _negated=True), ('skipped_for__isnull', False), _connector='OR'), name='purge_items_skip_says_why', violation_error_message='What is skipped says for which rule.'),
        ),
        migrations.AddConstraint(
            model_name='purgeitem',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', ['planned', 'skipped']), ('purged_at__isnull', False), _connector='OR'), name='purge_items_purged_when', violation_error_message='What was purged says when.'),
        ),
        migrations.AddConstraint(
            model_name='purgeitem',
            constraint=models.CheckConstraint(condition=models.Q(models.Func(models.F('purged_at'), function='isfinite', output_field=models.BooleanField())), name='purge_items_times_finite', violation_error_message='Finite timestamps only: purged_at.'),
        ),
        migrations.AddConstraint(
            model_name='purgekept',
            constraint=models.CheckConstraint(condition=models.Q(('rule__in', ['legal_hold', 'not_over', 'unclear', 'keep_at_least', 'in_use', 'not_due', 'no_policy', 'not_there'])), name='purge_kept_rule_known', violation_error_message='rule holds only words of KeepRule.'),
        ),
        migrations.AddIndex(
            model_name='purgeplan',
            index=audit.models.fields.ReasonedIndex(fields=['status', 'plan_id'], name='purge_plans_by_status', reason='The sweeper: what is being executed? The pages: what waits for whom?'),
        ),
        migrations.AddConstraint(
            model_name='purgeplan',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', ['drafting', 'proposed', 'approved', 'declined', 'executing', 'stopping', 'executed', 'stopped'])), name='purge_plans_status_known', violation_error_message='status holds only words of PlanStatus.'),
        ),
        migrations.AddConstraint(
            model_name='purgeplan',
            constraint=models.CheckConstraint(condition=models.Q(('status', 'drafting'), models.Q(('items__isnull', False), ('bytes__isnull', False), ('runs__isnull', False), ('digest__isnull', False), ('kept_json__isnull', False), ('inline_json__isnull', False)), _connector='OR'), name='purge_plans_list_fixed', violation_error_message='A plan that can be seen has its list, and a digest of it.'),
        ),
        migrations.AddConstraint(
            model_name='purgeplan',
            constraint=models.CheckConstraint(condition=models.Q(('approved_by__isnull', True), models.Q(('approved_at__isnull', False), ('approved_digest__isnull', False), ('typed_count__isnull', False), ('may_begin_at__isnull', False), ('approved_digest', models.F('digest')), ('typed_count', models.F('items'))), _connector='OR'), name='purge_plans_approval_whole', violation_error_message='An approval is bound to the digest and the count.'),
        ),
        migrations.AddConstraint(
            model_name='purgeplan',
            constraint=models.CheckConstraint(condition=models.Q(('approved_by__isnull', True), models.Q(('approved_by', models.F('made_by')), _negated=True), _connector='OR'), name='purge_plans_two_people', violation_error_message='Nobody approves their own plan.'),
        ),
        migrations.AddConstraint(
            model_name='purgeplan',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', ['drafting', 'proposed', 'declined']), ('approved_by__isnull', False), _connector='OR'), name='purge_plans_approved_first', violation_error_message='Nothing is executed that was not approved.'),
        ),
        migrations.AddConstraint(
            model_name='purgeplan',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('status', 'declined'), _negated=True), models.Q(('declined_by__isnull', False), ('declined_at__isnull', False), ('decline_reason__isnull', False)), _connector='OR'), name='purge_plans_decline_says_why', violation_error_message='Who declines a plan says why.'),
        ),
        migrations.AddConstraint(
            model_name='purgeplan',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('begun_at__isnull', False), ('begun_by__isnull', False), models.Q(('status__in', ['drafting', 'proposed', 'approved']), _negated=True)), models.Q(('begun_at__isnull', True), ('begun_by__isnull', True), ('status__in', ['drafting', 'proposed', 'approved', 'declined'])), _connector='OR'), name='purge_plans_begun_by_somebody', violation_error_message='A purge was begun by somebody.'),
        ),
        migrations.AddConstraint(
            model_name='purgeplan',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('ended_at__isnull', False), ('status__in', ('executed', 'stopped'))), models.Q(models.Q(('status__in', ('executed', 'stopped')), _negated=True), ('ended_at__isnull', True)), _connector='OR'), name='purge_plans_end_once', violation_error_message='A purge has an end when nothing more can come of it.'),
        ),
        migrations.AddConstraint(
            model_name='purgeplan',
            constraint=models.CheckConstraint(condition=models.Q(models.Func(models.F('made_at'), function='isfinite', output_field=models.BooleanField()), models.Func(models.F('approved_at'), function='isfinite', output_field=models.BooleanField()), models.Func(models.F('may_begin_at'), function='isfinite', output_field=models.BooleanField()), models.Func(models.F('declined_at'), function='isfinite', output_field=models.BooleanField()), models.Func(models.F('begun_at'), function='isfinite', output_field=models.BooleanField()), models.Func(models.F('stopped_at'), function='isfinite', output_field=models.BooleanField()), models.Func(models.F('ended_at'), function='isfinite', output_field=models.BooleanField())), name='purge_plans_times_finite', violation_error_message='Finite timestamps only: made_at, approved_at, may_begin_at, declined_at, begun_at, stopped_at, ended_at.'),
        ),
        migrations.AddConstraint(
            model_name='purgerun',
            constraint=audit.models.fields.CompositeForeignKey(columns=('plan_id',), name='purge_runs_plan', to_columns=('plan_id',), to_table='purge_plans', violation_error_message='Belongs to a plan that is there.'),
        ),
        migrations.AddConstraint(
            model_name='purgerun',
            constraint=audit.models.fields.CompositeForeignKey(columns=('run_id',), name='purge_runs_run', to_columns=('run_id',), to_table='runs', violation_error_message='Links a record to runs of the same run.'),
        ),
        migrations.AddConstraint(
            model_name='retentionguard',
            constraint=models.CheckConstraint(condition=models.Q(('singleton_id', 1)), name='retention_guard_one_row', violation_error_message='There is one row.'),
        ),
        migrations.AddConstraint(
            model_name='retentionpolicy',
            constraint=models.UniqueConstraint(fields=('name', 'version'), name='retention_policies_version', violation_error_message='Of two that change a policy at once, one comes second.'),
        ),
        migrations.AddConstraint(
            model_name='retentionpolicy',
            constraint=audit.models.fields.CompositeForeignKey(columns=('name', 'prev_version'), name='retention_policies_previous', to_columns=('name', 'version'), to_table='retention_policies', violation_error_message='A version follows one that is there.'),
        ),
        migrations.AddConstraint(
            model_name='retentionpolicy',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('prev_version__isnull', True), ('version', 1)), models.Q(('prev_version', django.db.models.expressions.CombinedExpression(models.F('version'), '-', models.Value(1))), ('prev_version__isnull', False), ('version__gt', 1)), _connector='OR'), name='retention_policies_without_gap', violation_error_message='Versions are numbered from one, without gap.'),
        ),
        migrations.AddConstraint(
            model_name='retentionpolicy',
            constraint=models.CheckConstraint(condition=models.Q(('keep_days__gte', 0), models.Q(('delete_after_days__isnull', True), ('delete_after_days__gte', models.F('keep_days')), _connector='OR')), name='retention_policies_days', violation_error_message='Nothing is deleted before it may be.'),
        ),
        migrations.AddConstraint(
            model_name='retentionpolicy',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('scope', 'all'), ('scope_value__isnull', True)), models.Q(models.Q(('scope', 'all'), _negated=True), ('scope_value__isnull', False)), _connector='OR'), name='retention_policies_scope', violation_error_message='A policy for some runs says which.'),
        ),
        migrations.AddConstraint(
            model_name='retentionpolicy',
            constraint=models.CheckConstraint(condition=models.Q(('scope__in', ['all', 'pipeline', 'status'])), name='retention_policies_scope_known', violation_error_message='scope holds only words of PolicyScope.'),
        ),
        migrations.AddConstraint(
            model_name='retentionpolicy',
            constraint=models.CheckConstraint(condition=models.Q(models.Func(models.F('made_at'), function='isfinite', output_field=models.BooleanField())), name='retention_policies_times_finite', violation_error_message='Finite timestamps only: made_at.'),
        ),
        migrations.AddField(
            model_name='rungrade',
            name='run',
            field=models.ForeignObject(from_fields=['run_id'], on_delete=django.db.models.deletion.DO_NOTHING, related_name='grades', to='audit.run', to_fields=['run_id']),
        ),
        migrations.AddField(
            model_name='runhiding',
            name='run',
            field=models.ForeignObject(from_fields=['run_id'], on_delete=django.db.models.deletion.DO_NOTHING, related_name='hidings', to='audit.run', to_fields=['run_id']),
        ),
        migrations.AddIndex(
            model_name='payloadpurge',
            index=audit.models.fields.ReasonedIndex(fields=['payload_sha256'], name='payload_purges_by_payload', reason='Where contents are gone: when, and under which plan?'),
        ),
        migrations.AddIndex(
            model_name='payloadpurge',
            index=audit.models.fields.ReasonedIndex(fields=['plan_id', 'run_id'], name='payload_purges_by_plan', reason='The end of a plan: which runs have to be sealed anew?'),
        ),
        migrations.AddConstraint(
            model_name='payloadpurge',
            constraint=audit.models.fields.CompositeForeignKey(columns=('run_id',), name='payload_purges_run', to_columns=('run_id',), to_table='runs', violation_error_message='Links a record to runs of the same run.'),
        ),
        migrations.AddConstraint(
            model_name='payloadpurge',
            constraint=audit.models.fields.CompositeForeignKey(columns=('plan_id',), name='payload_purges_plan', to_columns=('plan_id',), to_table='purge_plans', violation_error_message='Belongs to a plan that is there.'),
        ),
        migrations.AddConstraint(
            model_name='payloadpurge',
            constraint=models.CheckConstraint(condition=models.Q(models.Func(models.F('purged_at'), function='isfinite', output_field=models.BooleanField())), name='payload_purges_times_finite', violation_error_message='Finite timestamps only: purged_at.'),
        ),
        migrations.AddConstraint(
            model_name='rungrade',
            constraint=audit.models.fields.CompositeForeignKey(columns=('run_id',), name='run_grades_run', to_columns=('run_id',), to_table='runs', violation_error_message='Links a record to runs of the same run.'),
        ),
        migrations.AddConstraint(
            model_name='rungrade',
            constraint=audit.models.fields.CompositeForeignKey(columns=('plan_id',), name='run_grades_plan', to_columns=('plan_id',), to_table='purge_plans', violation_error_message='Belongs to a plan that is there.'),
        ),
        migrations.AddConstraint(
            model_name='rungrade',
            constraint=models.CheckConstraint(condition=models.Q(('grade_after', 'attributable_only'), ('grade_before', 'replay_reproducible')), name='run_grades_only_fall', violation_error_message='A purge never makes a run more reproducible.'),
        ),
        migrations.AddConstraint(
            model_name='rungrade',
            constraint=models.UniqueConstraint(fields=('run_id',), name='run_grades_once', violation_error_message='A run falls once: of two purges at once, one records it.'),
        ),
        migrations.AddConstraint(
            model_name='rungrade',
            constraint=models.CheckConstraint(condition=models.Q(models.Func(models.F('changed_at'), function='isfinite', output_field=models.BooleanField())), name='run_grades_times_finite', violation_error_message='Finite timestamps only: changed_at.'),
        ),
        migrations.AddConstraint(
            model_name='runhiding',
            constraint=audit.models.fields.CompositeForeignKey(columns=('run_id',), name='run_hidings_run', to_columns=('run_id',), to_table='runs', violation_error_message='Links a record to runs of the same run.'),
        ),
        migrations.AddConstraint(
            model_name='runhiding',
            constraint=models.UniqueConstraint(condition=models.Q(('restored_at__isnull', True)), fields=('run_id',), name='run_hidings_once', violation_error_message='A run is hidden or it is not. Every list asks by this.'),
        ),
        migrations.AddConstraint(
            model_name='runhiding',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('restored_at__isnull', True), ('restored_by__isnull', True)), models.Q(('restored_at__isnull', False), ('restored_at__lte', models.F('restorable_until')), ('restored_by__isnull', False)), _connector='OR'), name='run_hidings_undone_in_time', violation_error_message='It can be undone until the day that was said.'),
        ),
        migrations.AddConstraint(
            model_name='runhiding',
            constraint=models.CheckConstraint(condition=models.Q(models.Func(models.F('hidden_at'), function='isfinite', output_field=models.BooleanField()), models.Func(models.F('restorable_until'), function='isfinite', output_field=models.BooleanField()), models.Func(models.F('restored_at'), function='isfinite', output_field=models.BooleanField())), name='run_hidings_times_finite', violation_error_message='Finite timestamps only: hidden_at, restorable_until, restored_at.'),
        ),
        migrations.RunSQL(
            "INSERT INTO retention_guard (singleton_id, epoch) VALUES (1, 0)",
            reverse_sql="DELETE FROM retention_guard",
        ),
        migrations.RunSQL(
            "UPDATE schema_info SET version = 9",
            reverse_sql="UPDATE schema_info SET version = 8",
        ),
    ]
