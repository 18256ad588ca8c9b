"""The whole lineage of a token or a row, in at most twelve queries whatever its size."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from audit.lineage.absent import refuse
from audit.lineage.chain import judge
from audit.lineage.closure_facts import BY_BATCH, Closure
from audit.lineage.closure_parts import (
    came_out,
    read_batches,
    read_links,
    read_tokens,
    read_visits,
)
from audit.lineage.columns import NODES_READ, read_pipeline
from audit.lineage.runs import describe_run
from audit.lineage.siblings import PARENTS_GROUPED, group_children
from audit.lineage.traversal import WIDE, Reach, roots_of, walk

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from audit.lineage.closure_facts import GroupFacts, ParentLink, TokenFacts
    from audit.lineage.columns import Pipeline
    from audit.lineage.runs import RunFacts

CAP = 20_000
DEEPEST = 10_000
VISITS_READ = 100_000


def gather_closure(
    *,
    run_id: str,
    token_id: str,
    run: RunFacts | None = None,
    open_groups: Collection[str] = frozenset(),
    cap: int = CAP,
) -> Closure:
    """Everything that a token came from, and everything that came of that.

    So its siblings are there too, and the branches that it was merged with. Of more than 200
    children of one token, equal ones are told in groups; of a group that is open, the next
    hundred are told one by one. At most twelve queries; one less with the facts of the `run`.

    Raises:
        NotRecorded: there is no such run, or no such token.
        RunMismatch: the token belongs to another run.
    """
    run = run or describe_run(run_id=run_id)
    reach = walk(run_id=run_id, seeds=[token_id], cap=cap)
    if token_id not in reach.tokens:
        refuse("token", token_id, run_id=run_id)
    reach.ancestors.discard(token_id)
    return _gather(run, reach, open_groups, cap, starts=[token_id], focus_id=token_id)


def gather_row(  # noqa: PLR0913  # what is asked, and what is known
    *,
    run_id: str,
    row_id: str,
    run: RunFacts | None = None,
    sink: str | None = None,
    open_groups: Collection[str] = frozenset(),
    cap: int = CAP,
) -> Closure:
    """Everything that came of a row: the whole tree, whatever became of its branches.

    `sink` keeps the tokens that ended there and what they came from. At most twelve queries; one
    less with the facts of the `run`.

    Raises:
        NotRecorded: there is no such run, or no such row.
        RunMismatch: the row belongs to another run.
    """
    run = run or describe_run(run_id=run_id)
    roots = roots_of(run_id=run_id, row_id=row_id, cap=cap)
    if not roots:
        refuse("row", row_id, run_id=run_id)
    reach = walk(run_id=run_id, seeds=roots, cap=cap)
    reach.ancestors.clear()
    whole = _gather(run, reach, open_groups, cap, starts=roots, focus_id=None)
    whole = replace(whole, row_ids=tuple(dict.fromkeys((row_id, *whole.row_ids))))
    return whole if sink is None else _ending_in(whole, sink)


def _gather(  # noqa: PLR0913  # the parts of one answer
    run: RunFacts,
    reach: Reach,
    open_groups: Collection[str],
    cap: int,
    *,
    starts: Collection[str],
    focus_id: str | None,
) -> Closure:
    pipeline = read_pipeline(run_id=run.run_id)
    limits = []
    if pipeline.cut:
        limits.append(f"The pipeline has more than {NODES_READ:,} nodes; the first are read.")
    groups, counted, words = _fold(run.run_id, reach, pipeline, open_groups, cap)
    limits += words
    if reach.cut:
        limits.append(f"The lineage has more than {cap:,} tokens; the nearest {cap:,} are told.")
    every_link = read_links(run_id=run.run_id, tokens=reach.tokens)
    near = _near(every_link, reach, starts)
    if len(near) < len(reach.tokens):
        limits.append(
            f"The lineage is more than {DEEPEST:,} generations deep; "
            f"{len(reach.tokens) - len(near):,} tokens beyond them are not told."
        )
    tokens, row_hashes = read_tokens(run_id=run.run_id, tokens=near, links=every_link)
    links = tuple(link for link in every_link if link.token_id in tokens and link.parent_id in near)
    visits, visits_cut = read_visits(run_id=run.run_id, tokens=tokens, limit=VISITS_READ)
    if visits_cut:
        limits.append(f"The lineage has more than {VISITS_READ:,} visits; the first are told.")
    batches = (
        read_batches(run_id=run.run_id, batches=reach.batches, tokens=tokens, links=links)
        if reach.batches
        else ()
    )
    for key in came_out(tokens, batches):
        tokens[key] = replace(tokens[key], made=BY_BATCH)
    facts = Closure(
        run=run,
        focus_id=focus_id,
        row_ids=tuple(dict.fromkeys(token.row_id for token in tokens.values())),
        tokens=tokens,
        links=links,
        visits=visits,
        batches=batches,
        groups=groups,
        ghosts=frozenset(near - tokens.keys()),
        ancestors=frozenset(reach.ancestors & tokens.keys()),
        nodes=pipeline.nodes,
        hops=(),
        tokens_total=len(tokens) + sum(group.tokens for group in groups),
        visits_total=counted.visits
        + sum(len(made) for key, made in visits.items() if key not in counted.tokens),
        limits=tuple(limits),
    )
    return replace(facts, hops=judge(facts, row_hashes=row_hashes, every_link=every_link))


@dataclass(kw_only=True)
class _Counted:
    """The visits that were counted by SQL, and those of these tokens are among them."""

    visits: int = 0
    tokens: set[str] = field(default_factory=set)


def _fold(
    run_id: str,
    reach: Reach,
    pipeline: Pipeline,
    open_groups: Collection[str],
    cap: int,
) -> tuple[tuple[GroupFacts, ...], _Counted, list[str]]:
    """Group the children of wide tokens; the reach grows by those told one by one, and theirs."""
    groups: list[GroupFacts] = []
    words: list[str] = []
    counted = _Counted()
    untold = 0
    wide = list(reach.wide)
    # Twice: what an exemplar became may be wide itself. Deeper ones are only named.
    for last in (False, True):
        if not wide:
            break
        folded = group_children(
            run_id=run_id,
            parents=wide[:PARENTS_GROUPED],
            apart=reach.tokens,
            nodes=tuple(pipeline.nodes),
            edges=pipeline.edges,
            gates=pipeline.choosing,
            open_groups=open_groups,
        )
        untold += max(0, len(wide) - PARENTS_GROUPED)
        groups += folded.groups
        counted.visits += folded.visits
        counted.tokens.update(folded.told)
        if folded.groups_untold:
            words.append(
                f"{folded.tokens_untold:,} tokens in {folded.groups_untold:,} further groups "
                "are not told."
            )
        room = max(0, cap - len(reach.tokens))
        if last:
            reach.tokens |= dict.fromkeys(folded.told[:room])
            reach.cut |= len(folded.told) > room
            wide = []
        elif folded.told:
            theirs = walk(run_id=run_id, seeds=folded.told, cap=max(1, room), upwards=False)
            wide = [key for key in theirs.wide if key not in reach.tokens]
            reach.tokens |= theirs.tokens
            reach.batches |= theirs.batches
            reach.cut |= theirs.cut
        else:
            wide = []
    if any(group.outcome in _GOES_ON for group in groups):
        words.append(
            "What became of grouped tokens is told for the example of each group; open the group "
            "for the next hundred."
        )
    if untold:
        words.append(
            f"{untold:,} further tokens have more than {WIDE} children each; these are not told."
        )
    return tuple(groups), counted, words


_GOES_ON = ("forked", "expanded", "coalesced", "consumed_in_batch")


def _near(links: Iterable[ParentLink], reach: Reach, starts: Iterable[str]) -> set[str]:
    """The tokens within so many generations of where the walk began; batches are not counted."""
    if len(reach.tokens) <= DEEPEST:
        return set(reach.tokens)
    beside: dict[str, list[str]] = defaultdict(list)
    for link in links:
        beside[link.token_id].append(link.parent_id)
        beside[link.parent_id].append(link.token_id)
    far = set()
    seen, edge = set(starts), list(starts)
    generation = 0
    while edge:
        edge = list(dict.fromkeys(key for each in edge for key in beside[each] if key not in seen))
        seen.update(edge)
        generation += 1
        if generation > DEEPEST:
            far.update(edge)
    return set(reach.tokens) - far


def _ending_in(whole: Closure, sink: str) -> Closure:
    """The tokens that ended in a sink, and those that they came from."""
    parents: dict[str, list[str]] = defaultdict(list)
    for link in whole.links:
        parents[link.token_id].append(link.parent_id)
    for batch in whole.batches:
        for _kind, key in batch.outputs:
            parents[key] += [member for member, _place in batch.members]
    groups = tuple(group for group in whole.groups if group.sink_name == sink)
    edge = [key for key, token in whole.tokens.items() if token.sink_name == sink]
    edge += [group.parent_id for group in groups]
    kept: set[str] = set()
    while edge:
        key = edge.pop()
        if key not in kept:
            kept.add(key)
            edge += parents[key]
    return _only(whole, kept, groups)


def _only(whole: Closure, kept: set[str], groups: tuple[GroupFacts, ...]) -> Closure:
    tokens: Mapping[str, TokenFacts] = {
        key: token for key, token in whole.tokens.items() if key in kept
    }
    visits = {key: made for key, made in whole.visits.items() if key in kept}
    return replace(
        whole,
        tokens=tokens,
        links=tuple(link for link in whole.links if link.token_id in kept),
        visits=visits,
        batches=tuple(
            replace(
                batch,
                members=tuple(one for one in batch.members if one[0] in kept),
                outputs=tuple(one for one in batch.outputs if one[0] != "token" or one[1] in kept),
            )
            for batch in whole.batches
            if any(key in kept for key, _place in batch.members)
        ),
        groups=groups,
        hops=tuple(hop for hop in whole.hops if hop.token_id in kept),
        tokens_total=len(tokens) + sum(group.tokens for group in groups),
        visits_total=sum(map(len, visits.values()))
        + sum(group.tokens * len(group.path) for group in groups),
    )
