"""The ledger and the journeys of a run once more, record by record, as one would by hand."""

from collections import Counter, defaultdict

from audit.models import (
    Batch,
    BatchMember,
    BatchOutput,
    Node,
    NodeState,
    RoutingEvent,
    Row,
    Run,
    Token,
    TokenOutcome,
    TokenParent,
    ValidationError,
)

PASSES_ON = {"forked", "expanded", "coalesced"}
ENDS = {"completed", "routed", "failed", "quarantined", "consumed_in_batch"}
WORST_FIRST = [
    "unaccounted",
    "failed",
    "quarantined",
    "refused",
    "open",
    "buffered",
    "routed",
    "completed",
    "delivered",
    "consumed_in_batch",
    "coalesced",
    "forked",
    "expanded",
]


class Naive:
    """Everything of one run, read whole."""

    def __init__(self, run_id):
        of = {"run_id": run_id}
        self.run = Run.objects.get(run_id=run_id)
        self.kinds = dict(Node.objects.filter(**of).values_list("node_id", "node_type"))
        self.rows = list(Row.objects.filter(**of).order_by("row_index"))
        self.tokens = list(Token.objects.filter(**of))
        self.by_row = defaultdict(list)
        for token in self.tokens:
            self.by_row[token.row_id].append(token)
        self.parents = {link.parent_token_id for link in TokenParent.objects.filter(**of)}
        self.put_out = {
            each.output_id for each in BatchOutput.objects.filter(**of, output_type="token")
        }
        self.states = defaultdict(list)
        for state in NodeState.objects.filter(**of):
            self.states[state.token_id].append(state)
        self.verdicts = {}
        for verdict in TokenOutcome.objects.filter(**of).order_by(
            "is_terminal", "recorded_at", "outcome_id"
        ):
            self.verdicts[verdict.token_id] = verdict
        self.edges = defaultdict(set)
        for event in RoutingEvent.objects.filter(**of):
            self.edges[event.state_id].add(event.edge_id)
        self.batch_nodes = dict(
            Batch.objects.filter(**of).values_list("batch_id", "aggregation_node_id")
        )
        self.waited = defaultdict(set)
        for member in BatchMember.objects.filter(**of):
            self.waited[member.token_id].add(self.batch_nodes[member.batch_id])
        self.refused = set(ValidationError.objects.filter(**of).values_list("row_id", flat=True))
        self.lost_word = (
            "unaccounted"
            if self.run.status in {"completed", "completed_with_failures", "empty"}
            else "open"
        )

    def outcome(self, token):
        verdict = self.verdicts.get(token.token_id)
        return verdict.outcome if verdict else ""

    def delivered(self, token):
        return any(
            state.status == "completed" and self.kinds[state.node_id] == "sink"
            for state in self.last_attempts(token)
        )

    def last_attempts(self, token):
        places = {}
        for state in sorted(self.states[token.token_id], key=lambda each: each.attempt):
            places[state.step_index, state.node_id] = state
        return [places[place] for place in sorted(places)]

    def standing(self, token):
        outcome = self.outcome(token)
        if outcome in ENDS:
            return outcome
        if outcome in PASSES_ON and token.token_id in self.parents:
            return outcome
        if self.delivered(token):
            return "delivered"
        return outcome if outcome == "buffered" else self.lost_word

    def made(self, token):
        if token.join_group_id is not None:
            return "merge"
        if token.fork_group_id is not None:
            return "fork"
        if token.expand_group_id is not None:
            return "expansion"
        return "batch" if token.token_id in self.put_out else "source"

    def unconfirmed(self, token):
        return self.outcome(token) in {"completed", "routed"} and not self.delivered(token)

    def place(self, token):
        verdict = self.verdicts.get(token.token_id)
        if verdict and verdict.batch_id:
            return self.batch_nodes[verdict.batch_id]
        visits = self.last_attempts(token)
        return visits[-1].node_id if visits else None

    def of_row(self, row):
        return self.by_row[row.row_id]

    def tokenless(self, row):
        return "refused" if row.row_id in self.refused else self.lost_word

    def row_standing(self, row):
        words = [self.standing(token) for token in self.of_row(row)] or [self.tokenless(row)]
        return min(words, key=WORST_FIRST.index)

    def path(self, token):
        return (
            self.made(token),
            token.branch_name,
            self.standing(token),
            self.outcome(token),
            getattr(self.verdicts.get(token.token_id), "sink_name", None),
            tuple(
                (s.node_id, s.status, s.attempt > 0, frozenset(self.edges[s.state_id]))
                for s in self.last_attempts(token)
            ),
        )

    def journeys(self):
        """How many rows took each set of paths; a path is taken by one token or by several."""
        taken = Counter()
        for row in self.rows:
            paths = Counter(self.path(token) for token in self.of_row(row))
            told = [(path, count > 1) for path, count in paths.items()]
            taken[frozenset(told or [self.tokenless(row)])] += 1
        return taken

    def nodes(self):
        """Node by node: what came in, and where it stands or that it went on."""
        accounts = defaultdict(Counter)
        for token in self.tokens:
            visited = {state.node_id for state in self.states[token.token_id]}
            for node_id in visited | self.waited[token.token_id]:
                if self.kinds[node_id] != "source" or node_id in self.waited[token.token_id]:
                    ended = node_id == self.place(token)
                    accounts[node_id][self.standing(token) if ended else "passed_on"] += 1
        for row in self.rows:
            tokens = sorted(self.of_row(row), key=lambda t: (self.made(t) != "source", t.token_id))
            word = self.tokenless(row)
            if tokens:
                stays = self.place(tokens[0]) in {None, row.source_node_id}
                word = self.standing(tokens[0]) if stays else "passed_on"
            accounts[row.source_node_id][word] += 1
        return {node_id: dict(words) for node_id, words in accounts.items()}
