"""A way to the visits of one node, in the order of time."""

import audit.models.fields
from django.db import migrations


class Migration(migrations.Migration):
    """One index; schema version 4."""

    dependencies = [
        ('audit', '0004_run_ledgers'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='nodestate',
            index=audit.models.fields.ReasonedIndex(fields=['run_id', 'node_id', 'started_at', 'state_id'], name='node_states_by_node', reason='The page of a node: its visits in order of time.'),
        ),
        migrations.RunSQL(
            "UPDATE schema_info SET version = 4",
            reverse_sql="UPDATE schema_info SET version = 3",
        ),
    ]
