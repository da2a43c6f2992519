"""What `trackside doctor` says of a cluster: on its home, and on a machine that is to join it."""

from __future__ import annotations

import re
import socket
import stat
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from app.cluster.ray_process import INSTALL, TOKEN_FILE, ray_environment, status_command
from app.cluster.versions import versions
from app.commands.cluster import address_file, address_of
from app.host.nodes import Nodes
from app.settings import Settings
from app.storage.db import Database

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 40.0  # Ray itself gives up after 20


def examine_home_cluster(settings: Settings, database: Database, facts: list[str], problems: list[str]) -> None:
    """Add what is known of the cluster of this home; nothing if it never had one."""
    token = settings.home / TOKEN_FILE
    if not token.exists():
        return
    if examine_ray(facts, problems) and examine_token(token, facts, problems):
        known = address_file(settings)
        if known.exists():
            examine_head(known.read_text(), token, facts, problems)
    for node in Nodes(settings, database).all():
        drained = "" if node.draining is None else " (drained)"
        if not node.devices:
            facts.append(f"node {node.name}{drained}: not connected")
        for device in node.devices:
            said = f"node {node.name}{drained}: {device.device}, {device.description}"
            (problems if device.description.startswith("not used") and not drained else facts).append(said)


def examine_join(address: str, token: Path, facts: list[str], problems: list[str]) -> None:
    """Add whether this machine can join the cluster at `address`. Raises ClusterError: that is no address."""
    host, port = address_of(address, "the address of a cluster")
    if examine_ray(facts, problems) and examine_token(token, facts, problems):
        examine_head(f"{host}:{port}", token, facts, problems)


def examine_ray(facts: list[str], problems: list[str]) -> bool:
    """Return whether Ray is installed, in whichever version."""
    wanted = next((line for line in requires("trackside") or [] if re.match(r"ray\b", line)), "")
    match = re.match(r"ray==([0-9.]+)", wanted)
    try:
        installed = version("ray")
    except PackageNotFoundError:
        problems.append(f"cluster: Ray is not installed. {INSTALL}")
        return False
    python = sys.version.split()[0]
    named = ", ".join(f"{name} {number}" for name, number in versions().items())
    facts.append(f"cluster: Ray {installed}, Python {python}, {named}, which must be the same on all machines")
    if match is not None and installed != match[1]:
        problems.append(f"cluster: Ray {installed} is installed, and Trackside needs {match[1]}. {INSTALL}")
    return True


def examine_token(token: Path, facts: list[str], problems: list[str]) -> bool:
    """Return whether there is one that can be read."""
    try:
        text, mode = token.read_text().strip(), stat.S_IMODE(token.stat().st_mode)
    except OSError as error:
        problems.append(f"cluster: the token in {token} cannot be read ({error.strerror}): copy it from the home")
        return False
    if not text:
        problems.append(f"cluster: {token} is empty: copy it from the home")
        return False
    facts.append(f"cluster: token in {token.resolve()}, mode {mode:04o}")
    if mode & 0o077:
        problems.append(f"cluster: others may read the token, with which any code can be run: chmod 600 {token}")
    return True


def examine_head(address: str, token: Path, facts: list[str], problems: list[str]) -> None:
    """Connect to the head, then have Ray ask it with the token."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        problems.append(
            f"cluster: nothing answers at {address} ({error.strerror or error}): `trackside serve --cluster` must run "
            "there, and firewalls leave its ports open"
        )
        return
    try:
        asked = subprocess.run(
            status_command(address), env=ray_environment(token), capture_output=True, text=True, timeout=ANSWER_SECONDS
        )
    except subprocess.TimeoutExpired:
        problems.append(f"cluster: what listens at {address} does not answer as the head of a cluster")
        return
    if asked.returncode == 0:
        facts.append(f"cluster: the head at {address} answers, and accepts the token")
    elif "InvalidAuthToken" in asked.stderr:
        problems.append(f"cluster: the head at {address} refuses the token in {token}: copy it again from its home")
    else:
        last = (asked.stderr.strip().splitlines() or [f"exit status {asked.returncode}"])[-1]
        problems.append(f"cluster: what listens at {address} does not answer as the head of a cluster: {last[:300]}")
