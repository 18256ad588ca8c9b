"""Closures made by hand: no database, any shape."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from audit.lineage.closure_facts import (
    BatchFacts,
    Closure,
    ParentLink,
    PlacedNode,
    RouteTaken,
    TokenFacts,
    VisitFacts,
)
from audit.lineage.runs import RunFacts

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def run_facts():
    return RunFacts(
        run_id="run",
        status="completed",
        imported=False,
        started_at=NOON,
        completed_at=NOON + timedelta(seconds=10),
        config_hash="c",
        grade=None,
        export_status=None,
        figures=None,
    )


def node(name, layer, kind="transform"):
    return PlacedNode(
        node_id=name,
        name=name,
        kind=kind,
        plugin=name,
        version="1",
        determinism="deterministic",
        layer=layer,
    )


class Story:
    """Tokens told one after another; `closure` puts them together."""

    def __init__(self, *nodes):
        self.nodes = {one.node_id: one for one in nodes}
        self.tokens, self.visits, self.links, self.batches = {}, {}, [], []
        self.ghosts = set()
        self.groups = []

    def token(self, key, *parents, made="source", ordinal=0, outcome="completed", **more):
        sink = more.pop("sink", None)
        self.tokens[key] = TokenFacts(
            token_id=key,
            row_id=more.pop("row_id", "row"),
            row_index=more.pop("row_index", 0),
            branch_name=more.pop("branch", None),
            made=made,
            group_id=None,
            ordinal=ordinal,
            outcome=outcome,
            is_terminal=outcome not in (None, "buffered"),
            sink_name=sink,
            error_hash=None,
            batch_id=more.pop("batch", None),
            created_at=NOON,
        )
        assert not more
        self.links += [
            ParentLink(token_id=key, parent_id=parent, ordinal=place)
            for place, parent in enumerate(parents)
        ]
        return key

    def visit(self, key, node_id, step=1, status="completed", attempt=0, seconds=0.0, **more):
        start = NOON + timedelta(seconds=seconds or step)
        made = VisitFacts(
            state_id=more.pop("state", f"{key}-{node_id}-{step}-{attempt}"),
            token_id=key,
            node_id=node_id,
            step_index=step,
            attempt=attempt,
            attempts=attempt + 1,
            status=status,
            started_at=start,
            completed_at=None if status == "open" else start + timedelta(milliseconds=20),
            duration_ms=None if status == "open" else 20.0,
            input_hash="a",
            output_hash="a",
            error_hash=None,
            calls=0,
            calls_failed=0,
            routes=tuple(
                RouteTaken(label=label, mode="move", edge_id=label, to_node_id=to)
                for label, to in more.pop("routes", ())
            ),
        )
        assert not more
        self.visits.setdefault(key, []).append(made)
        return made

    def batch(
        self, key, node_id, members, outputs=(), *, state=None, total=None, status="completed"
    ):
        self.batches.append(
            BatchFacts(
                batch_id=key,
                node_id=node_id,
                state_id=state,
                status=status,
                trigger_type="count",
                attempt=0,
                members_total=total or len(members),
                members=tuple((member, place) for place, member in enumerate(members)),
                outputs=tuple(("token", one) for one in outputs),
                inferred=False,
            )
        )

    def closure(self, focus=None):
        ancestors, edge = set(), [focus]
        while edge:
            key = edge.pop()
            for link in self.links:
                if link.token_id == key and link.parent_id not in ancestors:
                    ancestors.add(link.parent_id)
                    edge.append(link.parent_id)
        return Closure(
            run=run_facts(),
            focus_id=focus,
            row_ids=("row",),
            tokens=dict(self.tokens),
            links=tuple(self.links),
            visits={key: tuple(visits) for key, visits in self.visits.items()},
            batches=tuple(self.batches),
            groups=tuple(self.groups),
            ghosts=frozenset(self.ghosts),
            ancestors=frozenset(ancestors - {focus}),
            nodes=self.nodes,
            hops=(),
            tokens_total=len(self.tokens),
            visits_total=sum(map(len, self.visits.values())),
            limits=(),
        )


def shuffled(closure, random):
    """The same closure, told in another order."""

    def mixed(items):
        items = list(items)
        random.shuffle(items)
        return items

    return replace(
        closure,
        tokens=dict(mixed(closure.tokens.items())),
        links=tuple(mixed(closure.links)),
        visits=dict(mixed(closure.visits.items())),
        batches=tuple(mixed(closure.batches)),
        nodes=dict(mixed(closure.nodes.items())),
    )


def expanded(siblings=500, failed=(), away=()):
    """One token expanded into many, of which some failed and some were sent away."""
    story = Story(
        node("split", 1), node("price", 2), node("out", 3, "sink"), node("review", 3, "sink")
    )
    story.token("root", outcome="expanded")
    story.visit("root", "split")
    for number in range(siblings):
        key = f"part{number:04}"
        bad = number in failed
        outcome, sink = ("failed", None) if bad else ("completed", "out")
        if number in away:
            outcome, sink = "routed", "review"
        story.token(key, "root", made="expansion", ordinal=number, outcome=outcome, sink=sink)
        story.visit(key, "price", 2, "failed" if bad else "completed")
        if not bad:
            story.visit(key, sink, 3)
    return story
