"""How the ranks of a run that are on seats of their own meet: rank 0 listens, and the others prove who they are.

What they say to each other afterwards is in clear. Free of torch.
"""

from __future__ import annotations

import hmac
import secrets
import socket
import struct
from dataclasses import asdict, dataclass

import orjson
import psutil

from trainer.errors import TrainerError

CONNECT_SECONDS = 30.0
PROOF_SECONDS = 10.0
SILENT_SECONDS = 15  # a machine that has not acknowledged anything for so long is gone
NO_CONNECTION = "no connection to rank 0"  # in the output of a rank that could not connect
NONCE_BYTES = 32
CLAIM = struct.Struct("!HB")  # a rank, and what its connection is for
PROOF = struct.Struct("!HB32s")  # the same, and their HMAC
LINK, STORE = 0, 1  # what a connection is for: rank 0's instructions, or torch.distributed's store


class NoSuchAddress(TrainerError):
    """No network interface of this machine has the address under which the cluster knows it."""

    code = "no_such_address"


@dataclass(frozen=True)
class Meeting:
    """Rank 0 waits at `address` and `port` for ranks that know the `secret`."""

    address: str
    port: int
    secret: str

    def as_bytes(self) -> bytes:
        return orjson.dumps(asdict(self))


def listen(address: str) -> socket.socket:
    """Listen at a free port of `address`. Raises NoSuchAddress."""
    try:
        return socket.create_server((address, 0), family=_family(address), backlog=128)
    except OSError as error:
        raise NoSuchAddress(f"This machine does not have the address {address}: {error.strerror}.") from error


def connect(meeting: Meeting, rank: int, use: int = LINK) -> socket.socket:
    """Return a connection of `rank` to rank 0. Raises OSError."""
    link = socket.create_connection((meeting.address, meeting.port), CONNECT_SECONDS)
    try:
        nonce = _receive(link, NONCE_BYTES)
        link.sendall(PROOF.pack(rank, use, _proof(meeting.secret, rank, use, nonce)))
        return _kept(link)
    except OSError:
        link.close()
        raise


def proven(link: socket.socket, secret: str) -> tuple[int, int] | None:
    """Return the rank of who has connected, and what for; None if it does not prove to know the `secret` in time."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    link.settimeout(PROOF_SECONDS)
    try:
        link.sendall(nonce)
        rank, use, proof = PROOF.unpack(_receive(link, PROOF.size))
        _kept(link)
    except OSError:
        return None
    return (rank, use) if hmac.compare_digest(proof, _proof(secret, rank, use, nonce)) else None


def interface_of(address: str) -> str:
    """Return the network interface that has `address`. Raises NoSuchAddress."""
    for name, found in psutil.net_if_addrs().items():
        if any(each.address.partition("%")[0] == address for each in found):
            return name
    raise NoSuchAddress(f"No network interface of this machine has the address {address}.")


def _proof(secret: str, rank: int, use: int, nonce: bytes) -> bytes:
    return hmac.digest(secret.encode(), CLAIM.pack(rank, use) + nonce, "sha256")


def _receive(link: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = link.recv(size - len(data))
        if not piece:
            raise ConnectionError("the connection was closed")
        data += piece
    return data


def _kept(link: socket.socket) -> socket.socket:
    """Have the kernel notice within SILENT_SECONDS that the other end's machine is gone, whoever sends or waits."""
    link.settimeout(None)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, SILENT_SECONDS // 3)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, SILENT_SECONDS // 3)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 2)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENT_SECONDS * 1000)
    return link


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET
