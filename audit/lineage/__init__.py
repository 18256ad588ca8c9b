"""Questions to the audit trail. Answers are frozen; nothing here writes.

Every question costs a number of queries that does not grow with the run.
"""

from __future__ import annotations

from audit.lineage.closure import gather_closure, gather_row
from audit.lineage.closure_facts import Closure
from audit.lineage.house import HouseFacts, describe_house, schema_fits
from audit.lineage.rows import NO_OUTCOME, RowsPage, RowStory, explain_row, list_rows
from audit.lineage.runs import (
    NEEDS_A_PERSON,
    RunFacts,
    RunFilter,
    RunLine,
    RunsPage,
    RunStory,
    any_run_exists,
    describe_run,
    explain_run,
    list_runs,
)
from audit.lineage.tokens import TokenStory, explain_token

__all__ = [
    "NEEDS_A_PERSON",
    "NO_OUTCOME",
    "Closure",
    "HouseFacts",
    "RowStory",
    "RowsPage",
    "RunFacts",
    "RunFilter",
    "RunLine",
    "RunStory",
    "RunsPage",
    "TokenStory",
    "any_run_exists",
    "describe_house",
    "describe_run",
    "explain_row",
    "explain_run",
    "explain_token",
    "gather_closure",
    "gather_row",
    "list_rows",
    "list_runs",
    "schema_fits",
]
