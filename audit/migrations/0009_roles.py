"""Six groups, what each may do, and the words for what is done.

People who are on record already keep what they could do: whoever is in no group becomes a viewer,
superusers become auditors and administrators. Contents are for those who are made auditors.
"""

from django.db import migrations, models


RIGHTS = {
    'see_records': 'Can see structure, hashes and counts',
    'reveal_contents': "Can reveal payloads, errors' contents and row data",
    'request_export': 'Can have runs exported, and download what was made',
    'see_all_exports': "Can see and download everybody's exports",
    'see_access_log': 'Can see who was given what',
    'plan_retention': 'Can set policies, plan purges, hide runs, ask for releases',
    'place_holds': 'Can place legal holds',
    'approve_retention': "Can approve what others plan, never one's own",
    'import_files': 'Can import audit databases by upload',
    'see_jobs': 'Can see workers, queues, imports and jobs',
}
USERS = {
    'add_user': 'Can add user',
    'change_user': 'Can change user',
    'view_user': 'Can view user',
    'view_group': 'Can view group',
}
GROUPS = {
    'viewer': ['see_records'],
    'auditor': [
        'see_records', 'reveal_contents', 'request_export', 'see_all_exports', 'see_access_log',
        'place_holds',
    ],
    'exporter': ['see_records', 'request_export'],
    'retention administrator': ['see_records', 'plan_retention', 'place_holds'],
    'retention approver': ['see_records', 'approve_retention', 'place_holds'],
    'administrator': [
        'see_records', 'see_all_exports', 'see_access_log', 'import_files', 'see_jobs', *USERS,
    ],
}


def make_groups(apps, schema_editor):
    """Django makes permissions after the last migration; groups need theirs now."""
    alias = schema_editor.connection.alias

    def made(app_label, model, codename, name):
        kinds = apps.get_model('contenttypes', 'ContentType').objects.using(alias)
        kind, _ = kinds.get_or_create(app_label=app_label, model=model)
        permissions = apps.get_model('auth', 'Permission').objects.using(alias)
        return permissions.get_or_create(
            content_type=kind, codename=codename, defaults={'name': name}
        )[0]

    rights = {
        codename: made('audit', 'export' if 'export' in codename else 'accessevent', codename, name)
        for codename, name in RIGHTS.items()
    }
    rights |= {
        codename: made('auth', codename.rsplit('_')[-1], codename, name)
        for codename, name in USERS.items()
    }
    for name, may in GROUPS.items():
        group, _ = apps.get_model('auth', 'Group').objects.using(alias).get_or_create(name=name)
        group.permissions.remove(*(rights[each] for each in rights if each not in may))
        group.permissions.add(*(rights[each] for each in may))


def give_roles(apps, schema_editor):
    """Nobody who could see records yesterday stands before a closed door today."""
    alias = schema_editor.connection.alias
    groups = {each.name: each for each in apps.get_model('auth', 'Group').objects.using(alias).all()}
    people = apps.get_model('auth', 'User').objects.using(alias)
    for person in people.filter(is_superuser=True):
        person.groups.add(groups['auditor'], groups['administrator'])
    for person in people.filter(groups__isnull=True):
        person.groups.add(groups['viewer'])


class Migration(migrations.Migration):
    """Roles; schema version 8."""

    dependencies = [
        ('auth', '0012_alter_user_first_name_max_length'),
        ('contenttypes', '0002_remove_content_type_name'),
        ('audit', '0008_exports'),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='accessevent',
            options={'permissions': (('see_records', 'Can see structure, hashes and counts'), ('reveal_contents', "Can reveal payloads, errors' contents and row data"), ('see_access_log', 'Can see who was given what'), ('plan_retention', 'Can set policies, plan purges, hide runs, ask for releases'), ('place_holds', 'Can place legal holds'), ('approve_retention', "Can approve what others plan, never one's own"), ('import_files', 'Can import audit databases by upload'), ('see_jobs', 'Can see workers, queues, imports and jobs'))},
        ),
        migrations.RemoveConstraint(
            model_name='accessevent',
            name='access_events_action_known',
        ),
        migrations.AlterField(
            model_name='accessevent',
            name='action',
            field=models.CharField(choices=[('read', 'Read'), ('contents_revealed', 'Contents Revealed'), ('proof_given', 'Proof Given'), ('export_requested', 'Export Requested'), ('export_downloaded', 'Export Downloaded'), ('verified', 'Verified'), ('policy_set', 'Policy Set'), ('hold_placed', 'Hold Placed'), ('hold_release_asked', 'Hold Release Asked'), ('hold_released', 'Hold Released'), ('plan_made', 'Plan Made'), ('plan_approved', 'Plan Approved'), ('plan_declined', 'Plan Declined'), ('plan_executed', 'Plan Executed'), ('plan_stopped', 'Plan Stopped'), ('run_hidden', 'Run Hidden'), ('run_restored', 'Run Restored'), ('role_changed', 'Role Changed'), ('signed_in', 'Signed In'), ('sign_in_refused', 'Sign In Refused'), ('token_made', 'Token Made'), ('token_revoked', 'Token Revoked'), ('file_imported', 'File Imported'), ('access_log_read', 'Access Log Read')], max_length=32),
        ),
        migrations.AddConstraint(
            model_name='accessevent',
            constraint=models.CheckConstraint(condition=models.Q(('action__in', ['read', 'contents_revealed', 'proof_given', 'export_requested', 'export_downloaded', 'verified', 'policy_set', 'hold_placed', 'hold_release_asked', 'hold_released', 'plan_made', 'plan_approved', 'plan_declined', 'plan_executed', 'plan_stopped', 'run_hidden', 'run_restored', 'role_changed', 'signed_in', 'sign_in_refused', 'token_made', 'token_revoked', 'file_imported', 'access_log_read'])), name='access_events_action_known', violation_error_message='action holds only words of AccessAction.'),
        ),
        # Groups are kept on the way back: people may be in them.
        migrations.RunPython(make_groups, migrations.RunPython.noop),
        migrations.RunPython(give_roles, migrations.RunPython.noop),
        migrations.RunSQL(
            "UPDATE schema_info SET version = 8",
            reverse_sql="UPDATE schema_info SET version = 7",
        ),
    ]
