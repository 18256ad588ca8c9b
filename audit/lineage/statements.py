"""Records of a model by a statement of our own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import connection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.db import models


def load(
    model: type[models.Model], statement: str, parameters: Mapping[str, str | int]
) -> list[Any]:
    """The records that a statement selects by all their columns. One query.

    What else it selects is there under its name. `raw()` would do, but for keys of several columns.
    """
    names = [field.attname for field in model._meta.concrete_fields]
    records = []
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        selected = [column.name for column in cursor.description]
        for values in cursor:
            told = dict(zip(selected, values, strict=True))
            record = model.from_db(connection.alias, names, [told.pop(name) for name in names])
            vars(record).update(told)
            records.append(record)
    return records
