"""The processes of `trackside serve --cluster`, and `trackside join`."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from app.cluster.join import NODE_FOLDER, command_of
from app.cluster.ray_process import (
    ClusterError,
    check_installed,
    head_command,
    home_node_command,
    join_command,
    private_folder,
    ray_environment,
    token_file,
)
from app.host.child import Child
from app.host.devices import devices_in_words, find_devices
from app.settings import Settings

PORT = 6379


def address_of(text: str, what: str) -> tuple[str, int]:
    """Split HOST:PORT. Raises ClusterError."""
    host, _, port = text.rpartition(":")
    if not host:
        host, port = text, str(PORT)
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise ClusterError(f"{text!r} is not {what}: HOST:PORT, as in 10.0.0.5:{PORT}.")
    return host, int(port)


def cluster_children(settings: Settings, listen: str, existing: str | None) -> list[Child]:
    """The head of a cluster, or a part of an `existing` one, and the process that trains on its nodes."""
    check_installed()
    if not listen and existing is None:
        raise ClusterError("--cluster needs an address that the other machines can reach: --listen 10.0.0.5:6379.")
    token = token_file(settings.home)
    folder = settings.home / "cluster"
    folder.mkdir(exist_ok=True)
    if existing is not None:
        host, port = address_of(existing, "the address of a cluster")
        name, command = "node", home_node_command(f"{host}:{port}")
    else:
        host, port = address_of(listen, "an address to listen on")
        name, command = "head", head_command(host, port, private_folder(f"trackside-ray-{os.getuid()}"))
    address_file(settings).write_text(f"{host}:{port}")
    environment = ray_environment(token)
    outpost = [sys.executable, "-m", "app.cli", "outpost", f"{host}:{port}"]
    # In this order they are ended: the outpost while the head is still there.
    return [
        Child("outpost", outpost, environment=environment, output=folder / "outpost.log", ends_with=name),
        Child(name, command, environment=environment, output=folder / f"{name}.log"),
    ]


def address_file(settings: Settings) -> Path:
    """Where the cluster of this home was reached when it was last served."""
    return settings.home / "cluster" / "address"


def how_to_join(settings: Settings, address: str) -> str:
    token = token_file(settings.home).resolve()
    return f"Other machines join with a copy of {token}: trackside join {address} --token-file cluster-token"


def join(address: str, name: str, token: Path, folder: Path, workers: str, cpu_devices: int = 1) -> None:
    """Be a node of the cluster at `address` until SIGTERM, in the place of this process. Raises ClusterError.

    Without a GPU, it has `cpu_devices`.
    """
    check_installed()
    if sys.platform != "linux":
        raise ClusterError("A node runs Linux: this machine can be the home of a cluster, but not join one.")
    host, port = address_of(address, "the address of a cluster")
    if not token.is_file():
        raise ClusterError(f"There is no token in {token}: copy the file cluster-token from the home of the server.")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s join %(message)s")
    devices = find_devices()
    for line in devices_in_words(devices):
        logging.warning("%s", line)
    names = devices.names(workers)
    command = command_of(join_command(f"{host}:{port}", name, names * cpu_devices if names == ["cpu"] else names))
    folder.mkdir(parents=True, exist_ok=True)
    os.execve(command[0], command, {**ray_environment(token), NODE_FOLDER: str(folder.resolve())})
