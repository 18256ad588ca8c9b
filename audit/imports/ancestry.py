"""A token is not its own ancestor: looked for in the file, before anything is stored."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from audit.errors import RunRefused
from audit.imports.shapes import MAX_LISTED, problem

if TYPE_CHECKING:
    from audit.imports.mapping import Table
    from audit.imports.reading import Source


def check(source: Source, token_parents: Table, *, run_id: str) -> None:
    """Refuse a run whose tokens descend from themselves.

    A parent is written before its child, so in a genuine file every link points back in row
    order, which excludes cycles; one pass tells. Only a file that breaks this order is searched.

    Raises:
        RunRefused: with every link that lies on a cycle.
    """
    if _points_back(source, token_parents, run_id=run_id):
        return
    source.query("DROP TABLE IF EXISTS temp.link")
    source.query("CREATE TEMP TABLE link (child TEXT, parent TEXT)")
    source.query(
        "INSERT INTO temp.link SELECT token_id, parent_token_id FROM token_parents "
        f"WHERE {token_parents.of_run()}",
        run=run_id,
    )
    source.query("CREATE INDEX temp.link_by_child ON link (child)")
    source.query("CREATE INDEX temp.link_by_parent ON link (parent)")
    _peel(source, above="parent", below="child")
    _peel(source, above="child", below="parent")
    left = source.query(f"SELECT child, parent FROM temp.link LIMIT {MAX_LISTED}").fetchall()
    if left:
        raise RunRefused(
            run_id,
            [
                problem(
                    code="CYCLE",
                    table="token_parents",
                    key=f"{child},{parent}",
                    column="parent_token_id",
                    message=f"token {child} is its own ancestor, by way of token {parent}",
                )
                for child, parent in left
            ],
        )


def _points_back(source: Source, token_parents: Table, *, run_id: str) -> bool:
    try:
        forward = source.query(
            "SELECT EXISTS (SELECT 1 FROM token_parents x "
            "JOIN tokens child ON child.token_id = x.token_id "
            "JOIN tokens parent ON parent.token_id = x.parent_token_id "
            f"WHERE parent.rowid >= child.rowid AND x.rowid IN "
            f"(SELECT rowid FROM token_parents WHERE {token_parents.of_run()}))",
            run=run_id,
        ).fetchone()[0]
    except sqlite3.OperationalError:  # a table without row numbers has no order to rely on
        return False
    return not forward


def _peel(source: Source, *, above: str, below: str) -> None:
    """Remove every link that starts at an end; what is left lies between two cycles or on one.

    Each round costs what it removes, so depth and width are paid for once.
    """
    for name in ("edge_now", "edge_next"):
        source.query(f"DROP TABLE IF EXISTS temp.{name}")
        source.query(f"CREATE TEMP TABLE {name} (token TEXT PRIMARY KEY)")
    source.query(
        f"INSERT OR IGNORE INTO temp.edge_now SELECT {above} FROM temp.link l "
        f"WHERE NOT EXISTS (SELECT 1 FROM temp.link x WHERE x.{below} = l.{above})"
    )
    while source.query("SELECT EXISTS (SELECT 1 FROM temp.edge_now)").fetchone()[0]:
        source.query("DELETE FROM temp.edge_next")
        source.query(
            f"INSERT OR IGNORE INTO temp.edge_next SELECT {below} FROM temp.link "
            f"WHERE {above} IN (SELECT token FROM temp.edge_now)"
        )
        source.query(f"DELETE FROM temp.link WHERE {above} IN (SELECT token FROM temp.edge_now)")
        source.query("DELETE FROM temp.edge_now")
        source.query(
            "INSERT INTO temp.edge_now SELECT token FROM temp.edge_next n "
            f"WHERE NOT EXISTS (SELECT 1 FROM temp.link x WHERE x.{below} = n.token)"
        )
