"""The devices of the nodes of a cluster, as Ray lists the nodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class NodeDevice:
    """`node_id` is Ray's, another one whenever the node joins anew. `kind`: cpu, cpu:N or cuda:N. `address` of the node
    in the cluster.
    """

    node_id: str
    host: str
    number: int
    kind: str
    address: str = ""

    @property
    def name(self) -> str:
        """The device's name in the home, as of no device of the home itself."""
        return f"{self.host}/{self.kind}"


def devices_of(nodes: Sequence[dict[str, Any]]) -> Iterator[NodeDevice]:
    """The devices of the nodes that are alive and were joined by `trackside join`."""
    for node in nodes:
        labels = node.get("Labels", {})
        if not node["Alive"] or labels.get("trackside") != "node":
            continue
        count, _, kind = labels["devices"].partition(".")
        for number in range(int(count)):
            name = f"cuda:{number}" if kind == "cuda" else kind if number == 0 else f"{kind}:{number}"
            yield NodeDevice(node["NodeID"], labels["host"], number, name, node["NodeManagerAddress"])
