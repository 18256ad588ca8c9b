"""How the tables of a file become ours: which columns, and which run a record belongs to.

Until February 2026 several tables had no run_id; their run is that of the record they hang on.
All statements are made of names that `eras` has checked, never of values from the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from audit.models import AUDIT_MODELS, ArtifactMember, RunEvent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db import models
    from django.db.models import Field

    from audit.imports.reading import Source

# Where a table without run_id finds its run: (own column, table, that table's key).
_HANGS_ON: dict[str, tuple[tuple[str, str, str], ...]] = {
    "tokens": (("row_id", "rows", "row_id"),),
    "token_parents": (("token_id", "tokens", "token_id"),),
    "routing_events": (("state_id", "node_states", "state_id"),),
    "calls": (
        ("state_id", "node_states", "state_id"),
        ("operation_id", "operations", "operation_id"),
    ),
    "batch_members": (("batch_id", "batches", "batch_id"),),
    "batch_outputs": (("batch_id", "batches", "batch_id"),),
}
# Where else to ask whose an orphan is, so that one bad run does not stop its neighbours.
_ELSE_HANGS_ON: dict[str, tuple[tuple[str, str, str], ...]] = {
    "tokens": (
        ("token_id", "node_states", "token_id"),
        ("token_id", "token_outcomes", "token_id"),
    ),
    "token_parents": (("parent_token_id", "tokens", "token_id"),),
    "routing_events": (("edge_id", "edges", "edge_id"),),
    "batch_members": (("token_id", "tokens", "token_id"),),
    "batch_outputs": (
        ("output_id", "tokens", "token_id"),
        ("output_id", "artifacts", "artifact_id"),
    ),
}


@dataclass(frozen=True)
class Table:
    """One table of one file beside the model that takes it up."""

    model: type[models.Model]
    name: str
    fields: tuple[Field[object, object], ...]
    has_run_id: bool
    only_run: bool
    source: Source

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are copied, by the name they have on both sides."""
        return tuple(str(field.column) for field in self.fields)

    @property
    def key(self) -> tuple[str, ...]:
        """The record's own key, without the run."""
        parts = getattr(self.model._meta.pk, "field_names", None) or (self.model._meta.pk.name,)
        return tuple(part for part in parts if part != "run_id") or ("run_id",)

    @property
    def key_sql(self) -> str:
        """An expression for the key as text, parts joined by a comma."""
        return " || ',' || ".join(
            f"coalesce(CAST(\"{part}\" AS TEXT), '(null)')" for part in self.key
        )

    @property
    def link_columns(self) -> str:
        """The columns by which a table without run_id finds its run."""
        return ", ".join(own for own, _table, _key in _HANGS_ON[self.name])

    def of_run(self) -> str:
        """A condition that holds for the records of `:run`."""
        if self.only_run:
            return "1"
        return _membership(self.source, self.name)

    def orphans(self) -> str:
        """A condition that holds for records that belong to no run of the file."""
        if self.has_run_id:
            return "run_id IS NULL OR run_id NOT IN (SELECT run_id FROM runs)"
        return " AND ".join(
            f'("{own}" IS NULL OR "{own}" NOT IN (SELECT "{key}" FROM "{table}"))'
            for own, table, key in _links(self.source, _HANGS_ON[self.name])
        )

    def select(self) -> str:
        """The records of `:run` in the order of `columns`."""
        columns = ", ".join(
            f'"{column}"' if column != "run_id" or self.has_run_id else ":run"
            for column in self.columns
        )
        return f'SELECT {columns} FROM "{self.name}" WHERE {self.of_run()}'

    def count(self) -> int:
        """How many records there are in the file, all runs together."""
        return int(self.source.query(f'SELECT count(*) FROM "{self.name}"').fetchone()[0])

    def orphans_else_of(self) -> str:
        """The keys of orphans that another link of theirs leads to `:run`."""
        links = _links(self.source, _ELSE_HANGS_ON.get(self.name, ()))
        hangs = " OR ".join(
            f'"{own}" IN (SELECT "{key}" FROM "{table}" WHERE {_membership(self.source, table)})'
            for own, table, key in links
        )
        return (
            f'SELECT {self.key_sql} FROM "{self.name}" '
            f"WHERE ({self.orphans()}) AND ({hangs or '0'})"
        )


def tables_of(source: Source) -> Iterator[Table]:
    """Every audit table that the file has, in the order in which it can be stored."""
    for model in AUDIT_MODELS:
        if model in (ArtifactMember, RunEvent):
            continue  # ours alone
        name = model._meta.db_table
        if name not in source.tables:
            continue
        has_run_id = "run_id" in source.tables[name]
        yield Table(
            model=model,
            name=name,
            fields=tuple(
                field
                for field in model._meta.concrete_fields
                if field.column
                and (field.column in source.tables[name] or field.column == "run_id")
            ),
            has_run_id=has_run_id,
            only_run=len(source.run_ids) == 1,
            source=source,
        )


def _links(
    source: Source, links: tuple[tuple[str, str, str], ...]
) -> tuple[tuple[str, str, str], ...]:
    return tuple(link for link in links if link[1] in source.tables)


def _membership(source: Source, table: str) -> str:
    if "run_id" in source.tables[table]:
        return "run_id = :run"
    return " OR ".join(
        f'"{own}" IN (SELECT "{key}" FROM "{parent}" WHERE {_membership(source, parent)})'
        for own, parent, key in _links(source, _HANGS_ON[table])
    )
