"""The nodes of a cluster: which there are, and whether they take runs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, Field

from app.host.nodes import Draining, Node, Nodes
from app.storage.tables import Worker
from app.web.errors import described
from app.web.root import root
from app.web.services import DatabaseDep, SettingsDep

router = APIRouter()
NO_NODE = described({404: "No such node"})


def nodes_of(settings: SettingsDep, database: DatabaseDep) -> Nodes:
    return Nodes(settings, database)


NodesDep = Annotated[Nodes, Depends(nodes_of)]


class NodePublic(BaseModel):
    name: str
    draining: Draining | None = Field(description="It takes no new runs. Those that it trains finish, or move.")
    devices: list[Worker]


class DrainRequest(BaseModel):
    runs: Draining = Field(Draining.FINISH, description="finish: they go on to their end. move: saved, queued again.")


@router.get("/api/nodes", tags=["workers"])
def list_nodes(nodes: NodesDep) -> list[NodePublic]:
    """The nodes of the cluster that are connected, and those that are drained."""
    return [_public(node) for node in nodes.all()]


@router.post("/api/nodes/{name}/drain", tags=["workers"], responses=NO_NODE)
def drain(name: str, nodes: NodesDep, body: DrainRequest | None = None) -> NodePublic:
    """Have the node take no new runs, until it is resumed. This outlives restarts of the node and of the server."""
    return _public(nodes.drain(name, (body or DrainRequest()).runs))


@router.post("/api/nodes/{name}/resume", tags=["workers"], responses=NO_NODE)
def resume(name: str, nodes: NodesDep) -> NodePublic:
    """Have a drained node take runs again."""
    return _public(nodes.resume(name))


@router.post("/system/nodes/{name}/drain", include_in_schema=False)
def drain_form(name: str, nodes: NodesDep, runs: Annotated[Draining, Form()] = Draining.FINISH) -> Response:
    nodes.drain(name, runs)
    return RedirectResponse(f"{root()}/system", 303)


@router.post("/system/nodes/{name}/resume", include_in_schema=False)
def resume_form(name: str, nodes: NodesDep) -> Response:
    nodes.resume(name)
    return RedirectResponse(f"{root()}/system", 303)


def _public(node: Node) -> NodePublic:
    return NodePublic(name=node.name, draining=node.draining, devices=list(node.devices))
