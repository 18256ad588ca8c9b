"""What a summary holds beyond counts: ledger, journeys, and of which state of the run it tells.

Summaries that are there get an old version number and are counted again: `refresh_summaries`.
"""

import audit.models.fields
import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    """Tables of ledgers and journeys; schema version 3."""

    dependencies = [
        ('audit', '0003_native_records'),
    ]

    operations = [
        migrations.CreateModel(
            name='RunJourney',
            fields=[
                ('pk', models.CompositePrimaryKey('run_id', 'journey_id', blank=True, editable=False, primary_key=True, serialize=False)),
                ('run_id', models.CharField(db_collation='C', max_length=64)),
                ('journey_id', models.CharField(db_collation='C', max_length=64)),
                ('standing', models.CharField(max_length=32)),
                ('rows', models.BigIntegerField()),
                ('first_index', models.BigIntegerField()),
                ('retried', models.BooleanField()),
                ('nodes', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(db_collation='C', max_length=64), size=None)),
                ('outcomes', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=32), size=None)),
                ('p50_ms', models.FloatField(null=True)),
                ('p95_ms', models.FloatField(null=True)),
                ('paths_json', models.TextField(db_collation='C')),
                ('paths_total', models.BigIntegerField()),
                ('examples_json', models.TextField(db_collation='C')),
            ],
            options={
                'db_table': 'run_journeys',
            },
        ),
        migrations.AddField(
            model_name='runsummary',
            name='graph_json',
            field=models.TextField(db_collation='C', default='{}'),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name='runsummary',
            name='journeys',
            field=models.BigIntegerField(default=0),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name='runsummary',
            name='ledger_json',
            field=models.TextField(db_collation='C', default='{}'),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name='runsummary',
            name='rows_alone',
            field=models.BigIntegerField(default=0),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name='runsummary',
            name='run_completed_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='runsummary',
            name='run_status',
            field=models.CharField(default='', max_length=32),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name='runsummary',
            name='unaccounted',
            field=models.BigIntegerField(default=0),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name='runsummary',
            name='unconfirmed',
            field=models.BigIntegerField(default=0),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name='runsummary',
            name='version',
            field=models.SmallIntegerField(default=1),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name='runjourney',
            name='run',
            field=models.ForeignObject(from_fields=['run_id'], on_delete=django.db.models.deletion.DO_NOTHING, related_name='kept_journeys', to='audit.run', to_fields=['run_id']),
        ),
        migrations.AddIndex(
            model_name='runjourney',
            index=audit.models.fields.ReasonedIndex(fields=['run_id', 'rows', 'first_index'], name='run_journeys_by_rows', reason='The journeys page: the most frequent or the rarest first, page by page.'),
        ),
        migrations.AddConstraint(
            model_name='runjourney',
            constraint=audit.models.fields.CompositeForeignKey(columns=('run_id',), name='run_journeys_run', to_columns=('run_id',), to_table='runs', violation_error_message='Links a record to runs of the same run.'),
        ),
        migrations.RunSQL(
            "UPDATE schema_info SET version = 3",
            reverse_sql="UPDATE schema_info SET version = 2",
        ),
    ]
