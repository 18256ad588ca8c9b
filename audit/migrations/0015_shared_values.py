"""Values that web processes share while Valkey is away."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """Shared values; schema version 14."""

    dependencies = [
        ('audit', '0014_access_log'),
    ]

    operations = [
        migrations.CreateModel(
            name='SharedValue',
            fields=[
                ('key', models.CharField(db_collation='C', max_length=255, primary_key=True, serialize=False)),
                ('value', models.TextField(db_collation='C')),
                ('expires_at', models.DateTimeField()),
            ],
            options={
                'db_table': 'shared_values',
                'constraints': [models.CheckConstraint(condition=models.Q(models.Func(models.F('expires_at'), function='isfinite', output_field=models.BooleanField())), name='shared_values_times_finite', violation_error_message='Finite timestamps only: expires_at.')],
            },
        ),
        migrations.RunSQL(
            "UPDATE schema_info SET version = 14",
            reverse_sql="UPDATE schema_info SET version = 13",
        ),
    ]
