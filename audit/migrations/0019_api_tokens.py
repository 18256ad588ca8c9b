"""Tokens of the API."""

import audit.models.fields
import datetime
import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.expressions
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    """API tokens; schema version 18."""

    dependencies = [
        ('audit', '0018_cancelled_exports'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='ApiToken',
            fields=[
                ('token_id', models.BigAutoField(primary_key=True, serialize=False)),
                ('name', models.CharField(db_collation='C', max_length=64)),
                ('token_hash', models.CharField(db_collation='C', max_length=64)),
                ('scopes', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(choices=[('read', 'Read'), ('export', 'Export')], max_length=32), size=None)),
                ('made_at', models.DateTimeField()),
                ('expires_at', models.DateTimeField()),
                ('last_used_at', models.DateTimeField(null=True)),
                ('revoked_at', models.DateTimeField(null=True)),
                ('user', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'db_table': 'api_tokens',
                'indexes': [audit.models.fields.ReasonedIndex(fields=['user', 'token_id'], name='api_tokens_by_user', reason="The page of one's own tokens.")],
                'constraints': [models.UniqueConstraint(fields=('token_hash',), name='api_tokens_one_hash', violation_error_message="A token is one person's."), models.CheckConstraint(condition=models.Q(('scopes__contained_by', ['read', 'export']), models.Q(('scopes', []), _negated=True)), name='api_tokens_scopes_known', violation_error_message='scopes holds words of TokenScope, and one at least.'), models.CheckConstraint(condition=models.Q(('expires_at__gt', models.F('made_at')), ('expires_at__lte', django.db.models.expressions.CombinedExpression(models.F('made_at'), '+', models.Value(datetime.timedelta(days=90))))), name='api_tokens_expire', violation_error_message='A token expires, after ninety days at the latest.'), models.CheckConstraint(condition=models.Q(models.Func(models.F('made_at'), function='isfinite', output_field=models.BooleanField()), models.Func(models.F('expires_at'), function='isfinite', output_field=models.BooleanField()), models.Func(models.F('last_used_at'), function='isfinite', output_field=models.BooleanField()), models.Func(models.F('revoked_at'), function='isfinite', output_field=models.BooleanField())), name='api_tokens_times_finite', violation_error_message='Finite timestamps only: made_at, expires_at, last_used_at, revoked_at.')],
            },
        ),
        migrations.RunSQL(
            "UPDATE schema_info SET version = 18",
            reverse_sql="UPDATE schema_info SET version = 17",
        ),
    ]
