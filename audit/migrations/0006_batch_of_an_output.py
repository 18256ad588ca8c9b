"""A way from a token to the batch that it came out of."""

import audit.models.fields
from django.db import migrations


class Migration(migrations.Migration):
    """One index; schema version 5."""

    dependencies = [
        ('audit', '0005_visits_by_node'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='batchoutput',
            index=audit.models.fields.ReasonedIndex(fields=['run_id', 'output_type', 'output_id'], name='batch_outputs_by_output', reason='The lineage of a token: which batch it came out of.'),
        ),
        migrations.RunSQL(
            "UPDATE schema_info SET version = 5",
            reverse_sql="UPDATE schema_info SET version = 4",
        ),
    ]
