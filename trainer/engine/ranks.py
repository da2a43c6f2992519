"""The processes that train one run together, a rank each, and what they exchange. The only place of torch.distributed.

Rank 0 decides everything and tells the other ranks what to do, over a socket each: it does not wait for them. Tensors
are summed, shared and gathered by collective operations, which every rank calls in the same order: gloo on CPUs, NCCL
on GPUs.
"""

from __future__ import annotations

import os
import socket
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

import orjson
import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import Store

from trainer.models.device import device_named

# A rank that has died is noticed at once by its process; one that waits while rank 0 measures or compiles is not lost.
PATIENCE = timedelta(days=30)
# Between machines, a connection of two other ranks may be lost without rank 0 noticing it.
NETWORK_PATIENCE = timedelta(minutes=30)


class RankLost(RuntimeError):
    """Another rank has ended: an exchange with it has failed."""


class Rendezvous(Protocol):
    """Where the ranks of a run meet. They exchange tensors through the network's `interface`."""

    @property
    def interface(self) -> str: ...
    @property
    def patience(self) -> timedelta: ...
    def store(self, size: int) -> Store: ...


@dataclass(frozen=True)
class FileRendezvous:
    """`path` of a file that all ranks see, which are on one machine."""

    path: str
    interface: str = "lo" if sys.platform == "linux" else "lo0"
    patience: timedelta = PATIENCE

    def store(self, size: int) -> Store:
        return dist.FileStore(self.path, size)  # type: ignore[attr-defined]


@dataclass(frozen=True)
class NetworkRendezvous:
    """`port` of `address`, which leads to rank 0; that has the `descriptor` of the socket that listens there."""

    address: str
    port: int
    interface: str
    descriptor: int | None = None
    patience: timedelta = NETWORK_PATIENCE

    def store(self, size: int) -> Store:
        # It asks for the host name of the address that it connects to, only to log it, which takes ten seconds where
        # no name server answers. The resolver reads its options once in each thread.
        options = os.environ.get("RES_OPTIONS")
        os.environ["RES_OPTIONS"] = f"{options or ''} timeout:1 attempts:1"
        try:
            with ThreadPoolExecutor(1) as thread:
                return thread.submit(self._store, size).result()
        finally:
            del os.environ["RES_OPTIONS"]
            if options is not None:
                os.environ["RES_OPTIONS"] = options

    def _store(self, size: int) -> Store:
        serves = self.descriptor is not None
        return dist.TCPStore(  # type: ignore[attr-defined]
            self.address, self.port, size, serves, self.patience,
            wait_for_workers=False, master_listen_fd=self.descriptor,
        )  # fmt: skip


@dataclass(eq=False)
class Ranks:
    """`rank` 0 of `size` decides, and knows the devices of the `others`.

    `links` are rank 0's sockets to ranks 1, 2, …, or another rank's one to rank 0. `sharing` of the ranks are on this
    machine.
    """

    rank: int = 0
    size: int = 1
    links: list[socket.socket] = field(default_factory=list)
    others: tuple[str, ...] = ()
    sharing: int = 1
    _files: list[Any] = field(default_factory=list, repr=False)

    @property
    def are_several(self) -> bool:
        return self.size > 1

    def join(self, rendezvous: Rendezvous, device_name: str) -> None:
        """Meet the other ranks. This process's current device is `device_name`."""
        if not self.are_several:
            return
        os.environ["GLOO_SOCKET_IFNAME"] = rendezvous.interface
        if isinstance(rendezvous, NetworkRendezvous):
            os.environ["NCCL_SOCKET_IFNAME"] = f"={rendezvous.interface}"  # without "=" it is a prefix
        backend = "cpu:gloo,cuda:nccl" if device_named(device_name).type == "cuda" else "gloo"
        with _noticing():
            store, patience = rendezvous.store(self.size), rendezvous.patience
            dist.init_process_group(backend, store=store, rank=self.rank, world_size=self.size, timeout=patience)

    def tell(self, message: Mapping[str, Any]) -> None:
        """Tell all other ranks what to do next. Raises RankLost."""
        for link in self.links:
            try:
                link.sendall(orjson.dumps(message, option=orjson.OPT_APPEND_NEWLINE))
            except OSError as error:
                raise RankLost("a rank does not listen any more") from error

    def hear(self) -> dict[str, Any]:
        """Return rank 0's next message. Raises RankLost."""
        if not self._files:
            self._files.append(self.links[0].makefile("rb"))
        line = self._files[0].readline()
        if not line:
            raise RankLost("rank 0 has ended")
        message: dict[str, Any] = orjson.loads(line)
        return message

    def sum(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all ranks, in one operation per kind of number."""
        if not self.are_several:
            return
        kinds: defaultdict[torch.dtype, list[Tensor]] = defaultdict(list)
        for tensor in tensors:
            kinds[tensor.dtype].append(tensor)
        for same in kinds.values():
            flat = torch.cat([tensor.detach().reshape(-1) for tensor in same])
            with _noticing():
                dist.all_reduce(flat)
            parts = torch.split(flat, [tensor.numel() for tensor in same])
            views = [part.view(tensor.shape) for part, tensor in zip(parts, same, strict=True)]
            torch._foreach_copy_([tensor.detach() for tensor in same], views)

    def share(self, tensors: Mapping[str, Tensor] | None, device: torch.device) -> dict[str, Tensor]:
        """Return rank 0's `tensors` in every rank, on the device they have there; other ranks pass None."""
        if self.rank == 0:
            assert tensors is not None
            shapes = {
                name: [str(value.dtype).removeprefix("torch."), list(value.shape), value.device.type]
                for name, value in tensors.items()
            }
            self.tell({"shapes": shapes})
            found = {name: value.detach().contiguous() for name, value in tensors.items()}
        else:
            found = {
                name: torch.empty(shape, dtype=getattr(torch, dtype), device="cpu" if kind == "cpu" else device)
                for name, (dtype, shape, kind) in self.hear()["shapes"].items()
            }
        with _noticing():
            for value in found.values():
                dist.broadcast(value, 0)
        return found

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """Return each rank's `tensor` to rank 0, in the order of the ranks, and [] to the others. All are on CPUs."""
        received = [torch.empty_like(tensor) for _ in range(self.size)] if self.rank == 0 else None
        with _noticing():
            dist.gather(tensor, received)
        return received or []

    def share_of(self, count: int) -> slice:
        """Return this rank's part of `count` things, in order; the first parts are larger if they are uneven."""
        size, larger = divmod(count, self.size)
        start = self.rank * size + min(self.rank, larger)
        return slice(start, start + size + (self.rank < larger))


ALONE = Ranks()


@contextmanager
def _noticing() -> Iterator[None]:
    """Raise RankLost for whatever a collective operation raises: each rank's own errors are raised elsewhere."""
    try:
        yield
    except RuntimeError as error:
        raise RankLost(f"{error}".split("\n")[0][:300]) from error
