"""Parts of big seals and exports, and since when an export is at its step."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """Parts; schema version 12."""

    dependencies = [
        ('audit', '0012_errors_of_a_run'),
    ]

    operations = [
        migrations.CreateModel(
            name='Part',
            fields=[
                ('pk', models.CompositePrimaryKey('job', 'number', blank=True, editable=False, primary_key=True, serialize=False)),
                ('job', models.TextField(db_collation='C')),
                ('number', models.IntegerField()),
                ('token', models.CharField(db_collation='C', max_length=64)),
                ('records', models.IntegerField()),
                ('what_json', models.TextField(db_collation='C')),
                ('made_json', models.TextField(db_collation='C', null=True)),
                ('fence', models.BigIntegerField()),
                ('lease_owner', models.TextField(db_collation='C', null=True)),
                ('lease_until', models.DateTimeField(null=True)),
                ('opened_at', models.DateTimeField()),
            ],
            options={
                'db_table': 'parts',
            },
        ),
        migrations.RemoveConstraint(
            model_name='export',
            name='exports_times_finite',
        ),
        migrations.AddField(
            model_name='export',
            name='step_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddConstraint(
            model_name='export',
            constraint=models.CheckConstraint(condition=models.Q(models.Func(models.F('requested_at'), function='isfinite', output_field=models.BooleanField()), models.Func(models.F('lease_until'), function='isfinite', output_field=models.BooleanField()), models.Func(models.F('due_at'), function='isfinite', output_field=models.BooleanField()), models.Func(models.F('rung_at'), function='isfinite', output_field=models.BooleanField()), models.Func(models.F('started_at'), function='isfinite', output_field=models.BooleanField()), models.Func(models.F('step_at'), function='isfinite', output_field=models.BooleanField()), models.Func(models.F('finished_at'), function='isfinite', output_field=models.BooleanField()), models.Func(models.F('expires_at'), function='isfinite', output_field=models.BooleanField())), name='exports_times_finite', violation_error_message='Finite timestamps only: requested_at, lease_until, due_at, rung_at, started_at, step_at, finished_at, expires_at.'),
        ),
        migrations.AddConstraint(
            model_name='part',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('lease_owner__isnull', False), ('lease_until__isnull', False)), models.Q(('lease_owner__isnull', True), ('lease_until__isnull', True)), _connector='OR'), name='parts_held_by_lease', violation_error_message='A worker has a part for as long as its lease lasts.'),
        ),
        migrations.AddConstraint(
            model_name='part',
            constraint=models.CheckConstraint(condition=models.Q(('fence__gte', 0), ('number__gte', 0), ('records__gt', 0)), name='parts_counted', violation_error_message='A part has a place in its job, and holds records.'),
        ),
        migrations.AddConstraint(
            model_name='part',
            constraint=models.CheckConstraint(condition=models.Q(models.Func(models.F('lease_until'), function='isfinite', output_field=models.BooleanField()), models.Func(models.F('opened_at'), function='isfinite', output_field=models.BooleanField())), name='parts_times_finite', violation_error_message='Finite timestamps only: lease_until, opened_at.'),
        ),
        migrations.RunSQL(
            "UPDATE schema_info SET version = 12",
            reverse_sql="UPDATE schema_info SET version = 11",
        ),
    ]
