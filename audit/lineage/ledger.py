"""The conservation ledger of a run: what came in equals what came of it, or the rest is listed.

Rows are counted once each, under the worst that befell any of their tokens; tokens under their
last verdict. A node's account has what was there on one side, and on the other what went on to
another node or ended here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from audit.lineage.nodes import NodeFacts, node_name, read_nodes
from audit.lineage.runs import RunFacts, describe_run
from audit.models import RunSummary
from audit.summaries.facts import OPEN, REFUSED, STANDINGS, UNACCOUNTED
from audit.summaries.ledger import PASSED_ON
from audit.vocabulary import NodeType, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

# As pages list them: what arrived first, what is missing last.
ORDER = (
    Outcome.COMPLETED.value,
    "delivered",
    Outcome.ROUTED.value,
    Outcome.CONSUMED_IN_BATCH.value,
    Outcome.COALESCED.value,
    Outcome.FORKED.value,
    Outcome.EXPANDED.value,
    REFUSED,
    Outcome.QUARANTINED.value,
    Outcome.FAILED.value,
    Outcome.BUFFERED.value,
    OPEN,
)
MADE_ORDER = ("source", "fork", "merge", "expansion", "batch")

assert {*ORDER, UNACCOUNTED} == set(STANDINGS)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of an account: a word of `ORDER` or `MADE_ORDER`, and how many."""

    word: str
    count: int


@dataclass(frozen=True, kw_only=True)
class NodeAccount:
    """What was at a node: rows at a source, tokens elsewhere.

    `unconfirmed` of those that ended here are said to be at a sink that has not seen them.
    """

    node: NodeFacts
    came: int
    passed_on: int
    ended: tuple[Entry, ...]
    unconfirmed: int

    @property
    def unaccounted(self) -> int:
        """What came and neither went on nor ended."""
        return self.came - self.passed_on - sum(entry.count for entry in self.ended)

    @property
    def went(self) -> int:
        """What is accounted for."""
        return self.came - self.unaccounted


@dataclass(frozen=True, kw_only=True)
class Lost:
    """A record to look at. `token_id` is None for a row that never became a token.

    `claimed` is the sink that is said to have it; `last_seen` the node where it was last.
    """

    row_index: int
    row_id: str
    token_id: str | None
    claimed: str | None
    last_seen: str | None


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """Both accounts of a run, those of its nodes, and what does not add up.

    `lost` and `unconfirmed_list` hold the first hundred of theirs.
    """

    sources: tuple[tuple[NodeFacts, int], ...]
    rows: tuple[Entry, ...]
    made: tuple[Entry, ...]
    tokens: tuple[Entry, ...]
    unconfirmed: int
    nodes: tuple[NodeAccount, ...]
    lost: tuple[Lost, ...]
    unconfirmed_list: tuple[Lost, ...]

    @property
    def rows_in(self) -> int:
        """How many rows the sources delivered."""
        return sum(count for _, count in self.sources)

    @property
    def rows_out(self) -> int:
        """How many of them are accounted for."""
        return sum(entry.count for entry in self.rows)

    @property
    def rows_unaccounted(self) -> int:
        """Rows of which nothing says what became of them."""
        return self.rows_in - self.rows_out

    @property
    def tokens_made(self) -> int:
        """How many tokens there ever were."""
        return sum(entry.count for entry in self.made)

    @property
    def tokens_ended(self) -> int:
        """How many of them are accounted for."""
        return sum(entry.count for entry in self.tokens)

    @property
    def tokens_unaccounted(self) -> int:
        """Tokens of which nothing says what became of them."""
        return self.tokens_made - self.tokens_ended

    @property
    def open(self) -> int:
        """Tokens that never ended: they wait in a batch, or the run stopped."""
        return sum(entry.count for entry in self.tokens if entry.word in {OPEN, Outcome.BUFFERED})

    @property
    def nodes_balanced(self) -> int:
        """How many accounts of nodes balance."""
        return sum(not account.unaccounted for account in self.nodes)

    @property
    def balances(self) -> bool:
        """Whether nothing is unaccounted for anywhere."""
        return not self.rows_unaccounted and not self.tokens_unaccounted


@dataclass(frozen=True, kw_only=True)
class LedgerPage:
    """The ledger of a run; None while it is still to be counted."""

    run: RunFacts
    ledger: Ledger | None


def explain_ledger(*, run_id: str) -> LedgerPage:
    """The ledger of a run as it was counted when the run ended. A fixed number of queries.

    Raises:
        NotRecorded: there is no such run.
    """
    run = describe_run(run_id=run_id)
    return LedgerPage(run=run, ledger=read_ledger(run_id))


def read_ledger(run_id: str) -> Ledger | None:
    """The ledger of a run, None while it is to be counted. Two queries."""
    stored = (
        RunSummary.objects.current()
        .filter(run_id=run_id)
        .values_list("ledger_json", flat=True)
        .first()
    )
    if stored is None:
        return None
    told = json.loads(stored)
    nodes = read_nodes(run_id, {*told["rows_in"], *told["nodes"]})
    return Ledger(
        sources=tuple((nodes[node_id], rows) for node_id, rows in told["rows_in"].items()),
        rows=_entries(told["rows_out"], ORDER),
        made=_entries(told["made"], MADE_ORDER),
        tokens=_entries(told["ended"], ORDER),
        unconfirmed=told["unconfirmed"],
        nodes=tuple(sorted((_account(nodes[key], told) for key in told["nodes"]), key=_place)),
        lost=tuple(
            Lost(row_index=index, row_id=row, token_id=token, claimed=None, last_seen=_seen(place))
            for index, row, token, _outcome, place in told["listed"]["unaccounted"]
        ),
        unconfirmed_list=tuple(
            Lost(row_index=index, row_id=row, token_id=token, claimed=sink, last_seen=_seen(place))
            for index, row, token, sink, place in told["listed"]["unconfirmed"]
        ),
    )


def _entries(counts: Mapping[str, int], order: tuple[str, ...]) -> tuple[Entry, ...]:
    return tuple(Entry(word=word, count=counts[word]) for word in order if counts.get(word))


def _account(node: NodeFacts, told: Mapping[str, Any]) -> NodeAccount:
    account = told["nodes"][node.node_id]
    return NodeAccount(
        node=node,
        came=account["in"],
        passed_on=account["out"].get(PASSED_ON, 0),
        ended=_entries(account["out"], ORDER),
        unconfirmed=account["unconfirmed"],
    )


def _place(account: NodeAccount) -> tuple[bool, int, str]:
    """What does not balance first; then sources, then the rest, then sinks."""
    ends = {NodeType.SOURCE.value: 0, NodeType.SINK.value: 2}
    return (not account.unaccounted, ends.get(account.node.kind, 1), account.node.node_id)


def _seen(node_id: str | None) -> str | None:
    return None if node_id is None else node_name(node_id)
