"""How Ray's own processes are started: their command lines and environment. Ray itself is not imported."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import secrets
import stat
import sys
from contextlib import suppress
from pathlib import Path

from app.errors import CommandError

NAMESPACE = "trackside"
TOKEN_FILE = "cluster-token"  # in the home
SEAT = "trackside_seat"  # a resource of a node: one per device
STORE_BYTES = 200 << 20  # of shared memory; messages are at most a few MiB
INSTALL = "Install it with: pip install 'trackside[cluster]'"
# So that a node that is silent is noticed after about 15 s.
HEALTH = {"health_check_period_ms": 2000, "health_check_timeout_ms": 2000, "health_check_failure_threshold": 5}


class ClusterError(CommandError):
    """The cluster cannot be started or joined."""


def check_installed() -> None:
    """Raises ClusterError: Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise ClusterError(f"Ray is not installed, which connects the machines of a cluster. {INSTALL}")


def token_file(home: Path) -> Path:
    """The file with the cluster's token, made with a new one if it is missing. Only its owner can read it."""
    path = home / TOKEN_FILE
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path
    with os.fdopen(fd, "w") as file:
        file.write(secrets.token_hex(32))
    return path


def private_folder(name: str, root: Path = Path("/tmp")) -> Path:
    """The folder `root/name`, made if it is missing: Ray's sockets in it can be reached by this user alone.

    It is not in the home, since the path of a socket is at most 107 bytes long. Raises ClusterError.
    """
    folder = root / name
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise ClusterError(f"{folder}, which Ray needs, is not a folder of your own: delete it, or have it deleted.")
    folder.chmod(0o700)
    return folder


def ray_environment(token: Path) -> dict[str, str]:
    """The environment of all processes of Ray. Its token authentication is always on."""
    root = str(Path(__file__).parents[2])  # the folder that holds the package app
    others = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path != root]
    return {
        **os.environ,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token.resolve()),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_memory_monitor_refresh_ms": "0",  # it would kill seats for the memory of trainers
        "RAY_gcs_rpc_server_reconnect_timeout_s": "10",  # a node without its head ends Ray, and joins anew
        # Statistics that nobody reads.
        "RAY_enable_metrics_collection": "0",
        "RAY_task_events_report_interval_ms": "0",
        "RAY_worker_niceness": "0",  # it is 15 by default, also of the trainers that a seat starts
        "PYTHONPATH": os.pathsep.join([root, *others]),
    }


def head_command(host: str, port: int, folder: Path) -> list[str]:
    temporary = folder / "ray"
    # A head that was killed leaves this file, for which Ray refuses to start another one.
    forget = f"import pathlib; pathlib.Path({str(temporary / 'ray_current_cluster')!r}).unlink(missing_ok=True); "
    return [
        *_start(forget), "--block", "--head", f"--node-ip-address={host}", f"--port={port}",
        "--include-dashboard=false",
        "--num-cpus=0", "--num-gpus=0", f"--temp-dir={temporary}", "--labels=trackside=home",
        f"--system-config={json.dumps(HEALTH)}",
    ]  # fmt: skip


def join_command(address: str, name: str, devices: list[str]) -> list[str]:
    """Join as a node with these devices: `cpu`, or GPUs in the order of CUDA_VISIBLE_DEVICES. Raises ClusterError."""
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", name):
        raise ClusterError(f"{name!r} cannot be the name of a node: use letters, digits, dots and hyphens.")
    gpus = sum(device.startswith("cuda") for device in devices)
    return [
        *_start(), f"--address={address}", f"--num-gpus={gpus}", f"--resources={json.dumps({SEAT: len(devices)})}",
        f"--labels=trackside=node,host={name},devices={len(devices)}.{'cuda' if gpus else 'cpu'}",
    ]  # fmt: skip


def home_node_command(address: str) -> list[str]:
    """Join an existing cluster as the home, on which nothing is placed."""
    return [*_start(), "--block", f"--address={address}", "--num-cpus=0", "--num-gpus=0", "--labels=trackside=home"]


def status_command(address: str) -> list[str]:
    """Ask the head, with the token of the environment."""
    return [*_ray(), "status", f"--address={address}"]


def _start(before: str = "") -> list[str]:
    store = f"--object-store-memory={STORE_BYTES}"
    quiet = ["--disable-usage-stats", "--include-log-monitor=false"]  # logs stay in Ray's session folder
    return [*_ray(before), "start", *quiet, store]


def _ray(before: str = "") -> list[str]:
    return [sys.executable, "-c", before + "from ray.scripts.scripts import main; main()"]
