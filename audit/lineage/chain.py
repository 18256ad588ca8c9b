"""The hash chain: does each visit begin with what the one before it handed on?

Hashes are compared as recorded. They cover the data of one row, with these exceptions, where a
break is expected: an aggregation takes and gives a whole batch, a coalesce gives the name of the
merged token, an expansion gives the list of all new rows, a sink gives a receipt of what it
wrote. A fork copies, a gate passes on what it was given, a retry begins as the attempt before.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from typing import TYPE_CHECKING

from audit.lineage.closure_facts import (
    AGREES,
    BATCH_HOP,
    BREAKS,
    BREAKS_EXPECTED,
    BY_BATCH,
    BY_EXPANSION,
    BY_MERGE,
    BY_UNKNOWN,
    CANNOT_TELL,
    CREATION_HOP,
    FROM_SOURCE,
    RETRY_HOP,
    SINK_HOP,
    VISIT_HOP,
    Hop,
)
from audit.vocabulary import NodeStateStatus, NodeType, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from audit.lineage.closure_facts import (
        BatchFacts,
        Closure,
        ParentLink,
        TokenFacts,
        VisitFacts,
    )

_FAILED = (NodeStateStatus.FAILED, NodeStateStatus.REJECTED)

# What a node gives instead of the row, by its kind.
_GIVES: dict[str, str] = {
    NodeType.AGGREGATION: "an aggregation gives the result of a whole batch",
    NodeType.COALESCE: "a coalesce gives the name of the merged token",
    NodeType.SINK: "a sink gives a receipt of what it wrote",
}
_MADE_ANEW = {
    BY_MERGE: "a merged token begins with data of its own",
    BY_EXPANSION: "an expansion gives the list of all new rows",
}
_CARRIES_A_BATCH = "carries what came out of a batch"
_TAKES_A_BATCH = "an aggregation takes the rows of a whole batch"

# What a node takes instead of the row.
_TAKES: dict[str, str] = {
    NodeType.AGGREGATION: _TAKES_A_BATCH,
    NodeType.COALESCE: "a coalesce takes what its branch brings",
}

_Verdict = tuple[str, str]


def judge(
    closure: Closure, *, row_hashes: Mapping[str, str], every_link: Iterable[ParentLink]
) -> tuple[Hop, ...]:
    """A verdict for every hop of a lineage, in the order of its tokens. Costs no query.

    `row_hashes` are those of the source rows; `every_link` names parents outside the lineage too.
    """
    return tuple(_Judge(closure, row_hashes, every_link).hops())


class _Judge:
    """The lineage by the ways in which a verdict needs it."""

    def __init__(
        self, closure: Closure, row_hashes: Mapping[str, str], links: Iterable[ParentLink]
    ) -> None:
        self.closure = closure
        self.row_hashes = row_hashes
        self.parents: dict[str, list[str]] = defaultdict(list)
        for link in links:
            self.parents[link.token_id].append(link.parent_id)
        self.states = {v.state_id: v for visits in closure.visits.values() for v in visits}
        self.made_by: dict[str, BatchFacts] = {}
        self.waited_in: dict[str, list[BatchFacts]] = defaultdict(list)
        for batch in closure.batches:
            for _kind, key in batch.outputs:
                self.made_by[key] = batch
            for key, _place in batch.members:
                self.waited_in[key].append(batch)

    def hops(self) -> Iterable[Hop]:
        for token in self.closure.tokens.values():
            visits = self.closure.visits.get(token.token_id, ())
            yield from self._begins(token, visits[0] if visits else None)
            for before, visit in itertools.pairwise(visits):
                yield self._goes_on(token, before, visit)
            yield from self._waits(token, visits)

    def _begins(self, token: TokenFacts, first: VisitFacts | None) -> Iterable[Hop]:
        if first is None:
            return
        if token.made == FROM_SOURCE:
            yield self._hop(CREATION_HOP, token, None, first, self._from_row(token, first))
        elif token.made == BY_BATCH:
            batch = self.made_by[token.token_id]
            state = self.states.get(batch.state_id or "")
            yield self._hop(BATCH_HOP, token, state, first, self._from_batch(batch, state, first))
        else:
            parents: list[str | None] = [*self.parents[token.token_id]]
            for parent in parents or [None]:
                visits = self.closure.visits.get(parent or "", ())
                state = visits[-1] if visits else None
                verdict = self._from_parent(token, parent, state, first)
                yield self._hop(CREATION_HOP, token, state, first, verdict, parent)

    def _from_row(self, token: TokenFacts, first: VisitFacts) -> _Verdict:
        if first.input_hash == self.row_hashes[token.row_id]:
            return AGREES, "begins with the source row"
        if self._kind(first) == NodeType.AGGREGATION:
            return BREAKS_EXPECTED, _TAKES_A_BATCH
        if self._carries_a_batch(token):
            return BREAKS_EXPECTED, _CARRIES_A_BATCH
        return BREAKS, "does not begin with the source row"

    def _from_batch(
        self, batch: BatchFacts, state: VisitFacts | None, first: VisitFacts
    ) -> _Verdict:
        if batch.state_id is None:
            return CANNOT_TELL, "no visit is on record that worked the batch"
        if state is None:
            return CANNOT_TELL, "the visit that worked the batch is not in this lineage"
        if state.output_hash is None:
            return CANNOT_TELL, "the visit that worked the batch has no output on record"
        if first.input_hash == state.output_hash:
            return AGREES, "begins with the result of the batch"
        return BREAKS_EXPECTED, _GIVES[NodeType.AGGREGATION]

    def _from_parent(
        self,
        token: TokenFacts,
        parent: str | None,
        state: VisitFacts | None,
        first: VisitFacts,
    ) -> _Verdict:
        if (unknown := self._unknown(token, parent)) is not None:
            return CANNOT_TELL, unknown
        if state is None:
            # A token that was split before it visited anything still is the source row.
            origin = self.closure.tokens[parent or ""]
            if origin.made == FROM_SOURCE and first.input_hash == self.row_hashes[origin.row_id]:
                return AGREES, "begins with the source row, as the parent carried it"
            return CANNOT_TELL, "the parent made no visit"
        if _handed_on(state) == first.input_hash:
            return AGREES, "begins with what the parent handed on"
        if token.made in _MADE_ANEW:
            return BREAKS_EXPECTED, _MADE_ANEW[token.made]
        return self._differs(token, state, first)

    def _unknown(self, token: TokenFacts, parent: str | None) -> str | None:
        if parent is None:
            return "no parent is on record"
        if parent in self.closure.ghosts:
            return "the parent is not in this database"
        if parent not in self.closure.tokens:
            return "the parent is not among the tokens told"
        if token.made == BY_UNKNOWN:
            return "how the token was made is not on record"
        return None

    def _differs(self, token: TokenFacts, before: VisitFacts, visit: VisitFacts) -> _Verdict:
        """What it means that a visit does not begin with what the one before it handed on."""
        gives = _GIVES.get(self._kind(before))
        gives = gives or _TAKES.get(self._kind(visit))
        if not gives and self._carries_a_batch(token):
            gives = _CARRIES_A_BATCH
        if gives:
            return BREAKS_EXPECTED, gives
        if _handed_on(before) is None:
            return CANNOT_TELL, "the visit before it has no output on record"
        return BREAKS, "does not begin with what the visit before it handed on"

    def _goes_on(self, token: TokenFacts, before: VisitFacts, visit: VisitFacts) -> Hop:
        if (before.node_id, before.step_index) == (visit.node_id, visit.step_index):
            verdict = (
                (AGREES, "begins as the attempt before it")
                if visit.input_hash == before.input_hash
                else (BREAKS, "does not begin as the attempt before it")
            )
            return self._hop(RETRY_HOP, token, before, visit, verdict)
        kind = SINK_HOP if self._kind(visit) == NodeType.SINK else VISIT_HOP
        if _handed_on(before) == visit.input_hash:
            verdict = AGREES, "begins with what the visit before it handed on"
        else:
            verdict = self._differs(token, before, visit)
        return self._hop(kind, token, before, visit, verdict)

    def _waits(self, token: TokenFacts, visits: Sequence[VisitFacts]) -> Iterable[Hop]:
        """Into each batch that the token waited in, from its last visit before the batch."""
        for batch in self.waited_in[token.token_id]:
            state = self.states.get(batch.state_id or "")
            if state is None:
                verdict = (
                    (CANNOT_TELL, "no visit is on record that worked the batch")
                    if batch.state_id is None
                    else (CANNOT_TELL, "the visit that worked the batch is not in this lineage")
                )
            else:
                verdict = (BREAKS_EXPECTED, _TAKES_A_BATCH)
            last = [
                visit
                for visit in visits
                if visit.state_id != batch.state_id
                and (state is None or visit.started_at <= state.started_at)
            ]
            yield self._hop(BATCH_HOP, token, last[-1] if last else None, state, verdict)

    def _carries_a_batch(self, token: TokenFacts) -> bool:
        """It waited in a batch and went on: what it carries since is the batch's."""
        return bool(self.waited_in[token.token_id]) and token.outcome != Outcome.CONSUMED_IN_BATCH

    def _kind(self, visit: VisitFacts) -> str:
        node = self.closure.nodes.get(visit.node_id)
        return node.kind if node else ""

    @staticmethod
    def _hop(  # noqa: PLR0913, PLR0917  # a hop has this many parts
        kind: str,
        token: TokenFacts,
        before: VisitFacts | None,
        after: VisitFacts | None,
        verdict: _Verdict,
        parent: str | None = None,
    ) -> Hop:
        return Hop(
            kind=kind,
            from_state=before.state_id if before else None,
            to_state=after.state_id if after else None,
            token_id=token.token_id,
            parent_id=parent,
            verdict=verdict[0],
            reason=verdict[1],
        )


def _handed_on(visit: VisitFacts) -> str | None:
    """The output; a failed visit leaves the token as it was given."""
    return visit.input_hash if visit.status in _FAILED else visit.output_hash
