"""The pipeline of the demo, `claims_triage`: its settings, its nodes and its edges."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from audit import canonical, recorder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date, datetime

NAME = "claims_triage"
MODEL = "claims-large-2026-08"
SMALL_MODEL = "claims-small-2026-08"
BATCH_SIZE = 50
BRANCHES = ("coverage", "fraud_score", "summary")
TOLERANCE = Decimal("1.05")

# In the order of the pipeline; the three branches share a step.
STEPS = {
    "claims_csv": 0,
    "normalise": 1,
    "triage_model": 2,
    "conf_gate": 3,
    "coverage": 4,
    "fraud_score": 4,
    "summary": 4,
    "merge_checks": 5,
    "split_lines": 6,
    "price_line": 7,
    "tariff_gate": 8,
    "settle_batch": 9,
    "payments_csv": 10,
    "review_queue": 10,
}


class _Node(NamedTuple):
    kind: str
    plugin: str
    version: str
    determinism: str


_NODES = {
    "claims_csv": _Node("source", "csv", "1.4.0", "io_read"),
    "normalise": _Node("transform", "normalise_claim", "2.0.1", "deterministic"),
    "triage_model": _Node("transform", "llm_json", "1.8.2", "external_call"),
    "conf_gate": _Node("gate", "confidence_gate", "1.1.0", "deterministic"),
    "coverage": _Node("transform", "sql_lookup", "1.2.0", "external_call"),
    "fraud_score": _Node("transform", "http_json", "1.3.0", "external_call"),
    "summary": _Node("transform", "llm_text", "1.8.2", "external_call"),
    "merge_checks": _Node("coalesce", "union", "1.0.0", "deterministic"),
    "split_lines": _Node("transform", "expand_list", "1.0.3", "deterministic"),
    "price_line": _Node("transform", "llm_json", "1.8.2", "external_call"),
    "tariff_gate": _Node("gate", "tariff_gate", "1.2.0", "external_call"),
    "settle_batch": _Node("aggregation", "sum_by_claim", "1.0.0", "deterministic"),
    "payments_csv": _Node("sink", "csv_sink", "1.4.0", "io_write"),
    "review_queue": _Node("sink", "jsonl_sink", "1.4.0", "io_write"),
}
# From, label, to, and whether the token moves or is copied.
_EDGES = (
    ("claims_csv", "continue", "normalise", "move"),
    ("normalise", "continue", "triage_model", "move"),
    ("triage_model", "continue", "conf_gate", "move"),
    ("conf_gate", "low_confidence", "review_queue", "move"),
    *(("conf_gate", branch, branch, "copy") for branch in BRANCHES),
    *((branch, "continue", "merge_checks", "move") for branch in BRANCHES),
    ("merge_checks", "continue", "split_lines", "move"),
    ("split_lines", "continue", "price_line", "move"),
    ("price_line", "continue", "tariff_gate", "move"),
    ("tariff_gate", "over_tariff", "review_queue", "move"),
    ("tariff_gate", "within_tariff", "settle_batch", "move"),
    ("settle_batch", "continue", "payments_csv", "move"),
)
_FIELDS = (
    ("claim_id", "int"),
    ("policy", "str"),
    ("incident_date", "date"),
    ("reported_date", "date"),
    ("amount", "decimal"),
    ("lines", "int"),
)


@dataclass(frozen=True, kw_only=True)
class Version:
    """What changes from one configuration of the pipeline to the next."""

    prompt: str
    threshold: Decimal


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """The pipeline as one run has it: which ids its nodes and edges got."""

    run_id: str
    day: date
    version: Version
    nodes: Mapping[str, str]
    config_hashes: Mapping[str, str]
    edges: Mapping[tuple[str, str], str]

    @property
    def topology_hash(self) -> str:
        """What a checkpoint holds of the pipeline, to tell whether it is still the same."""
        return canonical.stable_hash([list(edge) for edge in _EDGES])


def made_id(run_id: str, *names: object) -> str:
    """An id that these names always have, whatever the day."""
    return hashlib.sha256("/".join(map(str, (run_id, *names))).encode()).hexdigest()[:32]


def begin(*, run_id: str, day: date, version: Version, at: datetime) -> Pipeline:
    """Begin a run and register its pipeline; told again, it finds both as they are."""
    configs = _configs(version)
    recorder.begin_run(
        run_id=run_id,
        settings={"pipeline": NAME, "nodes": configs, "concurrency": 8},
        source_schema={"fields": [{"name": name, "type": kind} for name, kind in _FIELDS]},
        at=at,
    )
    nodes: dict[str, str] = {}
    config_hashes: dict[str, str] = {}
    for name, node in _NODES.items():
        digest = canonical.stable_hash(configs[name])
        nodes[name] = f"{node.kind}_{name}_{digest[:12]}"
        config_hashes[name] = digest
        recorder.register_node(
            run_id=run_id,
            node_id=nodes[name],
            plugin_name=node.plugin,
            node_type=node.kind,
            plugin_version=node.version,
            determinism=node.determinism,
            sequence=STEPS[name],
            config=configs[name],
            schema_mode="strict" if node.kind == "source" else None,
            at=at,
        )
    edges: dict[tuple[str, str], str] = {}
    for start, label, end, mode in _EDGES:
        edges[start, label] = made_id(run_id, "edge", start, label)
        recorder.register_edge(
            run_id=run_id,
            edge_id=edges[start, label],
            from_node_id=nodes[start],
            to_node_id=nodes[end],
            label=label,
            mode=mode,
            at=at,
        )
    return Pipeline(
        run_id=run_id,
        day=day,
        version=version,
        nodes=nodes,
        config_hashes=config_hashes,
        edges=edges,
    )


def _configs(version: Version) -> dict[str, dict[str, Any]]:
    # No day in it: two days with the same settings have the same hash.
    retry = {"attempts": 3, "on": ["timeout", "connection"], "timeout_s": 2}
    return {
        "claims_csv": {"path": "/data/claims/{date}.csv", "on_invalid": "discard"},
        "normalise": {"currency": "EUR", "on_error": "discard"},
        "triage_model": {
            "model": MODEL,
            "prompt": version.prompt,
            "temperature": 0,
            "max_tokens": 400,
            "retry": retry | {"timeout_s": 20},
        },
        "conf_gate": {
            "condition": f"row['confidence'] >= {version.threshold}",
            "threshold": str(version.threshold),
            "routes": {"true": "fork", "false": "review_queue"},
            "fork_to": list(BRANCHES),
        },
        "coverage": {"database": "policies.example.net", "statement": "coverage_v3"},
        "fraud_score": {"url": "https://fraud.example.net/v2/score", "retry": retry},
        "summary": {"model": SMALL_MODEL, "prompt": "summary-v3", "temperature": 0},
        "merge_checks": {"branches": list(BRANCHES), "policy": "require_all", "merge": "union"},
        "split_lines": {"field": "lines", "at_most": 10_000},
        "price_line": {"model": SMALL_MODEL, "prompt": "tariff-code-v5", "retry": retry},
        "tariff_gate": {
            "condition": f"row['billed'] <= row['tariff'] * {TOLERANCE}",
            "price_list": "2026-Q4",
            "ask_for": ["T-44*"],
            "retry": retry,
        },
        "settle_batch": {"trigger": {"count": BATCH_SIZE}, "mode": "transform"},
        "payments_csv": {"path": "/data/payments/{date}/part-{part}.csv"},
        "review_queue": {"path": "/data/review/{date}/part-{part}.jsonl"},
    }
