"""Who cancels an export is kept."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """A word of the access log; schema version 17."""

    dependencies = [
        ('audit', '0017_desk_lists'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='accessevent',
            name='access_events_action_known',
        ),
        migrations.AlterField(
            model_name='accessevent',
            name='action',
            field=models.CharField(choices=[('read', 'Read'), ('contents_revealed', 'Contents Revealed'), ('proof_given', 'Proof Given'), ('export_requested', 'Export Requested'), ('export_cancelled', 'Export Cancelled'), ('export_downloaded', 'Export Downloaded'), ('verified', 'Verified'), ('policy_set', 'Policy Set'), ('hold_placed', 'Hold Placed'), ('hold_release_asked', 'Hold Release Asked'), ('hold_released', 'Hold Released'), ('plan_made', 'Plan Made'), ('plan_approved', 'Plan Approved'), ('plan_declined', 'Plan Declined'), ('plan_executed', 'Plan Executed'), ('plan_stopped', 'Plan Stopped'), ('run_hidden', 'Run Hidden'), ('run_restored', 'Run Restored'), ('role_changed', 'Role Changed'), ('signed_in', 'Signed In'), ('sign_in_refused', 'Sign In Refused'), ('token_made', 'Token Made'), ('token_revoked', 'Token Revoked'), ('file_imported', 'File Imported'), ('access_log_read', 'Access Log Read')], max_length=32),
        ),
        migrations.AddConstraint(
            model_name='accessevent',
            constraint=models.CheckConstraint(condition=models.Q(('action__in', ['read', 'contents_revealed', 'proof_given', 'export_requested', 'export_cancelled', 'export_downloaded', 'verified', 'policy_set', 'hold_placed', 'hold_release_asked', 'hold_released', 'plan_made', 'plan_approved', 'plan_declined', 'plan_executed', 'plan_stopped', 'run_hidden', 'run_restored', 'role_changed', 'signed_in', 'sign_in_refused', 'token_made', 'token_revoked', 'file_imported', 'access_log_read'])), name='access_events_action_known', violation_error_message='action holds only words of AccessAction.'),
        ),
        migrations.RunSQL(
            "UPDATE schema_info SET version = 17",
            reverse_sql="UPDATE schema_info SET version = 16",
        ),
    ]
