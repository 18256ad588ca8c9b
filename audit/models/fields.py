"""What a column means everywhere, and the two schema objects that Django lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.postgres.indexes import HashIndex
from django.db import models
from django.db.models import BooleanField, CheckConstraint, F, Func, Q
from django.db.models.constraints import BaseConstraint
from django.db.models.fields.related import ForeignObject

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def id_field(*, null: bool = False) -> models.CharField[Any, Any]:
    """An identifier as its writer chose it, at most 64 characters, ordered by bytes."""
    return models.CharField(max_length=64, db_collation="C", null=null)


def word_field(
    words: type[models.TextChoices], *, null: bool = False
) -> models.CharField[Any, Any]:
    """One word of a vocabulary; the table's check constraint holds the list."""
    return models.CharField(max_length=32, choices=words.choices, null=null)


def hash_field(*, null: bool = False) -> models.CharField[Any, Any]:
    """A hash in lower-case hex: 64 digits of SHA-256, or fewer where the original cut it."""
    return models.CharField(max_length=64, db_collation="C", null=null)


def text_field(*, null: bool = False) -> models.TextField[Any, Any]:
    """Text kept byte for byte, foreign JSON included; never parsed to be stored again."""
    return models.TextField(null=null, db_collation="C")


def instant_field(*, null: bool = False) -> models.DateTimeField[Any, Any]:
    """When it happened, as told by the caller, in UTC to the microsecond.

    Never filled in: rows written together share one instant, and an import must keep the
    instant that the source recorded.
    """
    return models.DateTimeField(null=null)


def link(
    to: str, *columns: str, to_columns: Sequence[str] = (), null: bool = False, back: str = "+"
) -> ForeignObject[Any, Any]:
    """A link over plain columns; its `CompositeForeignKey` holds it in the database.

    `null` must be true where any of the columns may be null, else joins drop rows.
    """
    return ForeignObject(
        to,
        on_delete=models.DO_NOTHING,
        from_fields=list(columns),
        to_fields=list(to_columns or columns),
        null=null,
        related_name=back,
    )


class CompositeForeignKey(BaseConstraint):
    """A foreign key over several columns, tracked by migrations; Django emits none itself."""

    def __init__(  # noqa: PLR0913  # a foreign key has this many parts
        self,
        *,
        columns: Sequence[str],
        to_table: str,
        to_columns: Sequence[str],
        name: str,
        violation_error_code: str | None = None,
        violation_error_message: str | None = None,
    ) -> None:
        super().__init__(
            name=name,
            violation_error_code=violation_error_code,
            violation_error_message=violation_error_message,
        )
        self.columns = tuple(columns)
        self.to_table = to_table
        self.to_columns = tuple(to_columns)

    def create_sql(
        self, model: type[models.Model] | None, schema_editor: BaseDatabaseSchemaEditor | None
    ) -> str:
        """ALTER TABLE … ADD CONSTRAINT … FOREIGN KEY."""
        assert model is not None
        assert schema_editor is not None
        quote = schema_editor.quote_name
        here = ", ".join(quote(column) for column in self.columns)
        there = ", ".join(quote(column) for column in self.to_columns)
        return (
            f"ALTER TABLE {quote(model._meta.db_table)} ADD CONSTRAINT {quote(self.name)} "
            f"FOREIGN KEY ({here}) REFERENCES {quote(self.to_table)} ({there})"
        )

    def constraint_sql(
        self, model: type[models.Model] | None, schema_editor: BaseDatabaseSchemaEditor | None
    ) -> str:
        """Nothing inside CREATE TABLE: the other table may not exist yet."""
        assert schema_editor is not None
        schema_editor.deferred_sql.append(self.create_sql(model, schema_editor))
        return ""

    def remove_sql(
        self, model: type[models.Model] | None, schema_editor: BaseDatabaseSchemaEditor | None
    ) -> str:
        """ALTER TABLE … DROP CONSTRAINT."""
        assert model is not None
        assert schema_editor is not None
        quote = schema_editor.quote_name
        return f"ALTER TABLE {quote(model._meta.db_table)} DROP CONSTRAINT {quote(self.name)}"

    def validate(self, *_args: object, **_kwargs: object) -> None:
        """Nothing to ask before writing: the database answers."""

    def __eq__(self, other: object) -> bool:
        """Equal when the same columns point to the same place under the same name."""
        if isinstance(other, CompositeForeignKey):
            return self.deconstruct() == other.deconstruct()
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]  # compared, never kept in a set

    def deconstruct(self) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
        """For migrations."""
        path, args, kwargs = super().deconstruct()
        return (
            path,
            tuple(args),
            kwargs
            | {
                "columns": self.columns,
                "to_table": self.to_table,
                "to_columns": self.to_columns,
            },
        )


class ReasonedIndex(models.Index):
    """An index that says which page or query it serves, here and in the database's comment."""

    def __init__(
        self, *, fields: Sequence[str], name: str, reason: str, condition: Q | None = None
    ) -> None:
        super().__init__(fields=fields, name=name, condition=condition)
        self.reason = reason

    def deconstruct(self) -> tuple[Any, Any, dict[str, Any]]:
        """For migrations."""
        path, args, kwargs = super().deconstruct()
        return path, args, kwargs | {"reason": self.reason}


class RefIndex(HashIndex):
    """Finds what refers to a payload: before it is deleted, every such column is asked.

    A hash index, because references are long and random: it is a third of the size of the usual
    one, and holds no nulls.
    """

    reason = "Retention: which runs refer to a payload?"

    def __init__(self, column: str, *, name: str) -> None:
        super().__init__(fields=[column], name=name)

    def deconstruct(self) -> tuple[Any, Any, dict[str, Any]]:
        """For migrations."""
        path, _args, _kwargs = super().deconstruct()
        return path, (self.fields[0],), {"name": self.name}


def points_to(
    table: str, *columns: str, to_columns: Sequence[str] = (), name: str
) -> CompositeForeignKey:
    """A foreign key led by run_id: nothing can point into another run."""
    return CompositeForeignKey(
        columns=columns,
        to_table=table,
        to_columns=to_columns or columns,
        name=name,
        violation_error_message=f"Links a record to {table} of the same run.",
    )


def one_of(column: str, words: type[models.TextChoices], *, name: str) -> CheckConstraint:
    """The column holds a word of its vocabulary, or null where it may be null."""
    return CheckConstraint(
        condition=Q(**{f"{column}__in": list(words.values)}),
        name=name,
        violation_error_message=f"{column} holds only words of {words.__name__}.",
    )


def finite(*columns: str, name: str) -> CheckConstraint:
    """PostgreSQL's infinite timestamps cannot be read back or exported."""
    condition = Q()
    for column in columns:
        condition &= Q(Func(F(column), function="isfinite", output_field=BooleanField()))
    return CheckConstraint(
        condition=condition,
        name=name,
        violation_error_message=f"Finite timestamps only: {', '.join(columns)}.",
    )


def unique(
    *columns: str, name: str, reason: str, condition: Q | None = None
) -> models.UniqueConstraint:
    """A rule of uniqueness; `reason` names the race or the double record that it stops."""
    return models.UniqueConstraint(
        fields=columns, name=name, condition=condition, violation_error_message=reason
    )


def all_null(columns: Iterable[str]) -> Q:
    """Every one of the columns is null."""
    condition = Q()
    for column in columns:
        condition &= Q(**{f"{column}__isnull": True})
    return condition


def none_null(columns: Iterable[str]) -> Q:
    """None of the columns is null."""
    condition = Q()
    for column in columns:
        condition &= Q(**{f"{column}__isnull": False})
    return condition
