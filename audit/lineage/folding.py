"""Equal siblings told together: which tokens and batches get a lane, and which one stands for many.

Never folded: the focus and what it came from, as far as no batch stands between; up to three of
each kind of trouble; what the address opens or asks for.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from audit.lineage.kinship import BATCH, GHOST, TOKEN, Item, Kinship, rank
from audit.lineage.siblings import OPENED, group_key
from audit.lineage.signatures import NORMAL, QUARANTINED, named, span_ms

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from audit.lineage.closure_facts import Closure, GroupFacts

FOLD = "fold"
_EXEMPLARS_OF_TROUBLE = 3
_FEWEST_FOLDED = 2


@dataclass(kw_only=True, slots=True)
class Fold:
    """Equal siblings that share one lane. `tokens` counts them, `hidden` what came of them too.

    `of` is how many siblings there are in all, `example` the equal one that has its own lane.
    """

    key: str
    kind: str
    example: Item | None
    group: GroupFacts | None
    parents: tuple[Item, ...]
    members: tuple[Item, ...]
    of: int
    severity: int
    rank: tuple[int, str]
    is_open: bool
    tokens: int = 0
    hidden: int = 0
    p50_ms: float | None = None
    p95_ms: float | None = None


@dataclass(kw_only=True, slots=True)
class Folded:
    """What stands in a lane of its own, what is folded, and the key that folds a lane again."""

    pinned: frozenset[Item]
    hidden_in: dict[Item, str] = field(default_factory=dict)
    folds: dict[str, Fold] = field(default_factory=dict)
    class_of: dict[Item, tuple[int, tuple[int, str]]] = field(default_factory=dict)
    opened_by: dict[Item, str] = field(default_factory=dict)


def fold(
    closure: Closure, kin: Kinship, *, opened: Collection[str], wanted: Iterable[str] = ()
) -> Folded:
    """Fold equal siblings; `opened` are keys of folds, `wanted` tokens that must be seen."""
    folded = Folded(pinned=_pinned(closure, kin, wanted))
    groups: dict[str, list[GroupFacts]] = defaultdict(list)
    for group in closure.groups:
        groups[group.example_id].append(group)
    siblings = _classes(closure, kin)
    of = _siblings_of(closure, kin)
    decided: set[Item] = set()
    for item in kin.order:
        if item in decided:
            continue
        members = siblings[_class(kin, item)]
        decided.update(members)
        hiding = _hiding(kin, folded, item)
        if hiding is not None:
            free = [one for one in members if one not in folded.pinned]
            folded.hidden_in.update(dict.fromkeys(free, hiding))
            folded.folds[hiding].hidden += sum(one[0] == TOKEN for one in free)
            members = [one for one in members if one in folded.pinned]
            if not members:
                continue
        _fold_class(closure, kin, folded, members, groups, of, opened)
    for group in closure.groups:
        if (TOKEN, group.example_id) not in kin.parents:
            _fold_group(closure, kin, folded, group, of)
    return folded


def _pinned(closure: Closure, kin: Kinship, wanted: Iterable[str]) -> frozenset[Item]:
    """The focus, what was asked for, and what they came from; a batch is pinned, no member is."""
    edge = [(TOKEN, key) for key in wanted if key in closure.tokens]
    if closure.focus_id in closure.tokens:
        edge.append((TOKEN, str(closure.focus_id)))
    pinned: set[Item] = set()
    while edge:
        item = edge.pop()
        if item not in pinned:
            pinned.add(item)
            if item[0] != BATCH:
                edge += kin.parents[item]
    return frozenset(pinned)


def _class(kin: Kinship, item: Item) -> object:
    if item[0] == GHOST:
        return item
    if item[0] == BATCH:
        return BATCH, kin.forms[item]
    parents = kin.parents[item]
    if parents:
        return parents, kin.forms[item]
    # What came from the source is told together only where it waited together.
    batches = tuple(child for child in kin.children.get(item, ()) if child[0] == BATCH)
    return (batches or item), kin.forms[item]


def _classes(closure: Closure, kin: Kinship) -> Mapping[object, list[Item]]:
    classes: dict[object, list[Item]] = defaultdict(list)
    for item in kin.order:
        classes[_class(kin, item)].append(item)
    for members in classes.values():
        members.sort(key=lambda one: rank(closure, one))
    return classes


def _siblings_of(closure: Closure, kin: Kinship) -> Mapping[object, int]:
    """How many stand beside each other: of the same parents, or of the same batch."""
    counts: dict[object, int] = defaultdict(int)
    for item in kin.order:
        counts[_beside(kin, item)] += 1
    for group in closure.groups:
        counts[(TOKEN, group.parent_id),] += group.tokens
    return counts


def _beside(kin: Kinship, item: Item) -> object:
    if item[0] == BATCH:
        return BATCH
    return kin.parents[item] or tuple(
        child for child in kin.children.get(item, ()) if child[0] == BATCH
    )


def _hiding(kin: Kinship, folded: Folded, item: Item) -> str | None:
    """The fold that holds everything this came from; batches stand for themselves."""
    parents = kin.parents[item]
    if item[0] == BATCH or not parents:
        return None
    if all(parent in folded.hidden_in for parent in parents):
        return folded.hidden_in[parents[0]]
    return None


def _fold_class(  # noqa: PLR0913, PLR0917  # one decision, and all that it rests on
    closure: Closure,
    kin: Kinship,
    folded: Folded,
    members: Sequence[Item],
    groups: Mapping[str, Sequence[GroupFacts]],
    of: Mapping[object, int],
    opened: Collection[str],
) -> None:
    first = members[0]
    severity = kin.severities[first]
    place = (severity, rank(closure, first))
    folded.class_of.update(dict.fromkeys(members, place))
    beyond = [group for _kind, key in members for group in groups.get(key, ())]
    many = len(members) + sum(group.tokens for group in beyond)
    exemplars = _EXEMPLARS_OF_TROUBLE if severity <= QUARANTINED else 1
    if many - exemplars < _FEWEST_FOLDED:
        return
    key = beyond[0].group_key if beyond else _key(closure, kin, first)
    is_open = key in opened
    shown = exemplars + (OPENED if is_open else 0)
    alone = [one for one in members if one in folded.pinned]
    free = [one for one in members if one not in folded.pinned]
    # The exemplar is the same whoever is in focus, so that lanes do not move.
    alone += [one for one in members[:shown] if one not in folded.pinned]
    free = [one for one in free if one not in set(members[:shown])]
    if is_open:
        folded.opened_by.update(dict.fromkeys(alone, key))
    if len(free) + sum(group.tokens for group in beyond) < _FEWEST_FOLDED:
        return
    made = Fold(
        key=key,
        kind=first[0],
        example=first,
        group=beyond[0] if beyond else None,
        parents=kin.parents[first],
        members=tuple(free),
        of=of[_beside(kin, first)],
        severity=severity,
        rank=place[1],
        is_open=is_open,
        tokens=len(free) + sum(group.tokens for group in beyond),
    )
    made.hidden = made.tokens if first[0] == TOKEN else 0
    made.p50_ms, made.p95_ms = _spread(closure, free, beyond)
    folded.folds[key] = made
    folded.hidden_in.update(dict.fromkeys(free, key))


def _fold_group(
    closure: Closure, kin: Kinship, folded: Folded, group: GroupFacts, of: Mapping[object, int]
) -> None:
    """A group whose example is not among the tokens told: nothing of it has a lane."""
    parent = (TOKEN, group.parent_id)
    token = closure.tokens.get(group.parent_id)
    severity = QUARANTINED if group.outcome in {"failed", "quarantined"} else NORMAL
    if token is None or parent not in kin.parents:
        return
    folded.folds[group.group_key] = Fold(
        key=group.group_key,
        kind=TOKEN,
        example=None,
        group=group,
        parents=(parent,),
        members=(),
        of=of[parent,],
        severity=severity,
        rank=(0, group.example_id),
        is_open=False,
        tokens=group.tokens,
        hidden=group.tokens,
        p50_ms=group.p50_ms,
        p95_ms=group.p95_ms,
    )


def _key(closure: Closure, kin: Kinship, item: Item) -> str:
    """The name of a fold: that of a group in SQL where nothing came of the tokens."""
    kind, key = item
    alone = all(child[0] == BATCH for child in kin.children.get(item, ()))
    if kind == TOKEN and alone and kin.parents[item]:
        token = closure.tokens[key]
        return group_key(
            parent_id=kin.parents[item][0][1],
            made=token.made,
            branch_name=token.branch_name,
            path=kin.paths[key],
            outcome=token.outcome,
            sink_name=token.sink_name,
        )
    return named([_class(kin, item)])


def _spread(
    closure: Closure, free: Sequence[Item], beyond: Sequence[GroupFacts]
) -> tuple[float | None, float | None]:
    """The median and the 95th percentile of how long they took, in milliseconds."""
    if beyond:
        return beyond[0].p50_ms, beyond[0].p95_ms
    spans = sorted(
        span
        for kind, key in free
        if kind == TOKEN and (span := span_ms(closure.visits.get(key, ()))) is not None
    )
    if not spans:
        return None, None
    return spans[(len(spans) - 1) // 2], spans[min(len(spans) - 1, len(spans) * 95 // 100)]
