"""What is planned is in no second index: a list of a million is made in seconds."""

from django.db import migrations, models

import audit.models.fields


class Migration(migrations.Migration):
    """One index for another; schema version 15."""

    dependencies = [
        ('audit', '0015_shared_values'),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name='purgeitem',
            name='purge_items_by_status',
        ),
        migrations.AddIndex(
            model_name='purgeitem',
            index=audit.models.fields.ReasonedIndex(condition=models.Q(('status__in', ['purged', 'skipped'])), fields=['plan_id', 'status', 'content_hash'], name='purge_items_in_hand', reason='Whose bytes have still to be deleted, and what was skipped?'),
        ),
        migrations.RunSQL(
            "UPDATE schema_info SET version = 15",
            reverse_sql="UPDATE schema_info SET version = 14",
        ),
    ]
