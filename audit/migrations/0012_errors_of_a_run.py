"""A summary keeps the errors of its run by class; those that are there are counted again."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """One column; schema version 11."""

    dependencies = [
        ('audit', '0011_import_jobs'),
    ]

    operations = [
        migrations.AddField(
            model_name='runsummary',
            name='errors_json',
            field=models.TextField(db_collation='C', default='{}'),
            preserve_default=False,
        ),
        migrations.RunSQL(
            "UPDATE schema_info SET version = 11",
            reverse_sql="UPDATE schema_info SET version = 10",
        ),
    ]
