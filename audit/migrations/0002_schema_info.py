"""Say whose database this is, and at which version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import migrations

if TYPE_CHECKING:
    from django.apps.registry import Apps
    from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def say_who_we_are(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """One row; the moment of migrating is the one clock that a migration may read."""
    schema_editor.execute(
        "INSERT INTO schema_info (singleton_id, application, version, applied_at) "
        "VALUES (1, 'landscape', 1, now())"
    )


class Migration(migrations.Migration):
    """The one row of `schema_info`."""

    dependencies = [("audit", "0001_initial")]

    operations = [migrations.RunPython(say_who_we_are, migrations.RunPython.noop)]
