"""Tokens and batches of a closure as one forest: what stands before what, and what is equal.

A token comes from its parents; one that a batch made comes from the batch, and the batch from
its members. So ancestry and membership are walked together and told apart by the kind of item.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from audit.lineage.closure_facts import BY_BATCH
from audit.lineage.signatures import FAILED, NORMAL, named, path_of, severity_of
from audit.vocabulary import BatchStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from audit.lineage.closure_facts import BatchFacts, Closure, PathStep, VisitFacts

TOKEN, BATCH, GHOST = "token", "batch", "ghost"

Item = tuple[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Kinship:
    """Every item in an order that follows creation, with what it came from and what came of it.

    `forms` name an item and all tokens that came of it: equal forms, equal stories; batches are
    left out, so members of several are still equal. `severities` are the worst of the same.
    `circular` when a parent comes of its own child.
    """

    order: tuple[Item, ...]
    parents: Mapping[Item, tuple[Item, ...]]
    children: Mapping[Item, tuple[Item, ...]]
    paths: Mapping[str, tuple[PathStep, ...]]
    forms: Mapping[Item, str]
    severities: Mapping[Item, int]
    batches: Mapping[str, BatchFacts]
    batch_visits: Mapping[str, VisitFacts]
    circular: bool


def rank(closure: Closure, item: Item) -> tuple[int, str]:
    """The place of an item among its siblings, where they are equally bad."""
    kind, key = item
    token = closure.tokens.get(key) if kind == TOKEN else None
    if token is None:
        return 0, key
    return (token.row_index if token.made == "source" else token.ordinal), key


def kinship(closure: Closure) -> Kinship:
    """Read the forest out of a closure. Costs no query, and no recursion however deep it is."""
    batches = {batch.batch_id: batch for batch in closure.batches}
    parents = _parents(closure)
    order, circular = _in_order(closure, parents)
    place = {item: number for number, item in enumerate(order)}
    # On a circle, the link that leads back is left out: the page says so.
    parents = {
        item: tuple(one for one in ones if place[one] < place[item])
        for item, ones in parents.items()
    }
    children: dict[Item, list[Item]] = defaultdict(list)
    for item in order:
        for one in parents[item]:
            children[one].append(item)
    worked = {batch.state_id for batch in closure.batches}
    # Of a folded member no visit is read: the batch brings that which worked it.
    batch_visits = {batch.visit.state_id: batch.visit for batch in closure.batches if batch.visit}
    batch_visits |= {
        visit.state_id: visit
        for visits in closure.visits.values()
        for visit in visits
        if visit.state_id in worked
    }
    paths = {
        key: path_of(v for v in closure.visits.get(key, ()) if v.state_id not in batch_visits)
        for key in closure.tokens
    }
    grouped = {(TOKEN, group.parent_id) for group in closure.groups}
    forms: dict[Item, str] = {}
    severities: dict[Item, int] = {}
    for item in reversed(order):
        came_of_it = [child for child in children.get(item, ()) if child[0] == TOKEN]
        form, severity = _itself(closure, item, paths, batches)
        theirs = [forms[child] for child in came_of_it]
        # Of a group in SQL more or fewer are told, as the address opens it: that is no other form.
        forms[item] = named([form, sorted(set(theirs) if item in grouped else theirs)])
        severities[item] = min([severity, *(severities[child] for child in came_of_it)])
    return Kinship(
        order=order,
        parents=parents,
        children={item: tuple(ones) for item, ones in children.items()},
        paths=paths,
        forms=forms,
        severities=severities,
        batches=batches,
        batch_visits=batch_visits,
        circular=circular,
    )


def _parents(closure: Closure) -> dict[Item, tuple[Item, ...]]:
    made_by = {
        key: (BATCH, batch.batch_id)
        for batch in sorted(closure.batches, key=lambda one: one.batch_id)
        for kind, key in batch.outputs
        if kind == TOKEN and key in closure.tokens and closure.tokens[key].made == BY_BATCH
    }
    linked: dict[str, list[Item]] = defaultdict(list)
    for link in sorted(closure.links, key=lambda one: (one.ordinal, one.parent_id)):
        known = link.parent_id in closure.tokens
        if link.token_id != link.parent_id and (known or link.parent_id in closure.ghosts):
            linked[link.token_id].append((TOKEN if known else GHOST, link.parent_id))
    parents: dict[Item, tuple[Item, ...]] = {(GHOST, key): () for key in sorted(closure.ghosts)}
    for key in closure.tokens:
        batch = made_by.get(key)
        parents[TOKEN, key] = (batch,) if batch else tuple(dict.fromkeys(linked[key]))
    for batch_facts in closure.batches:
        parents[BATCH, batch_facts.batch_id] = tuple(
            (TOKEN, key) for key, _place in batch_facts.members if key in closure.tokens
        )
    return parents


def _in_order(
    closure: Closure, parents: Mapping[Item, tuple[Item, ...]]
) -> tuple[tuple[Item, ...], bool]:
    children: dict[Item, list[Item]] = defaultdict(list)
    missing = {}
    for item, ones in parents.items():
        missing[item] = len(ones)
        for one in ones:
            children[one].append(item)
    ready = [(rank(closure, item), item) for item, count in missing.items() if not count]
    heapq.heapify(ready)
    stuck: list[Item] | None = None
    order: list[Item] = []
    circular = False
    while len(order) < len(parents):
        if not ready:
            # Everything left stands on a circle or behind one: the least of it begins.
            circular = True
            stuck = stuck or sorted(
                (item for item, count in missing.items() if count > 0), reverse=True
            )
            while missing[stuck[-1]] <= 0:
                stuck.pop()
            item = stuck.pop()
            ready = [(rank(closure, item), item)]
            missing[item] = 0
        item = heapq.heappop(ready)[1]
        missing[item] = -1
        order.append(item)
        for child in children[item]:
            missing[child] -= 1
            if not missing[child]:
                heapq.heappush(ready, (rank(closure, child), child))
    return tuple(order), circular


def _itself(
    closure: Closure,
    item: Item,
    paths: Mapping[str, tuple[PathStep, ...]],
    batches: Mapping[str, BatchFacts],
) -> tuple[object, int]:
    kind, key = item
    if kind == BATCH:
        batch = batches[key]
        form: object = [kind, batch.node_id, batch.status, batch.trigger_type, batch.attempt]
        return form, FAILED if batch.status == BatchStatus.FAILED else NORMAL
    if kind == GHOST:
        return [kind, key], NORMAL
    token = closure.tokens[key]
    path = paths[key]
    steps = [[s.node_id, s.step_index, s.status, s.retried, s.label] for s in path]
    form = [kind, token.made, token.branch_name, steps, token.outcome, token.sink_name]
    return form, severity_of(token, path)
