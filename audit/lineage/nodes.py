"""Nodes of a pipeline as pages name them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from audit.models import Node

if TYPE_CHECKING:
    from collections.abc import Iterable

# The recorder's form: kind, configured name, twelve digits of the config hash, and for
# transforms their place. Ids that a caller chose himself look different and stay as they are.
_DERIVED_ID = re.compile(
    r"(?:source|transform|sink|config_gate|gate|aggregation|coalesce|queue)"
    r"_(?P<name>.+)_[0-9a-f]{12}(?:_\d+)?",
    re.DOTALL,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeFacts:
    """What a page says about a node wherever it names one."""

    node_id: str
    name: str
    kind: str
    plugin: str
    version: str
    determinism: str


def node_name(node_id: str) -> str:
    """The part of a node id that a person gave; the whole id where no part can be told."""
    match = _DERIVED_ID.fullmatch(node_id)
    return match["name"] if match else node_id


def node_facts(node: Node) -> NodeFacts:
    """Describe a loaded node. Costs no query."""
    return NodeFacts(
        node_id=node.node_id,
        name=node_name(node.node_id),
        kind=node.node_type,
        plugin=node.plugin_name,
        version=node.plugin_version,
        determinism=node.determinism,
    )


def read_nodes(run_id: str, node_ids: Iterable[str]) -> dict[str, NodeFacts]:
    """Describe these nodes of a run, without their configuration. One query."""
    # Not select_related from the records: a hundred visits would carry a hundred configurations.
    nodes = Node.objects.filter(run_id=run_id, node_id__in=set(node_ids)).defer("config_json")
    return {node.node_id: node_facts(node) for node in nodes}
