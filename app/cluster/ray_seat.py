"""The calls of a seat through Ray."""

from __future__ import annotations

import time
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from app.cluster.node_seat import NodeGreeting, NodeSeat
from app.cluster.ray_process import NAMESPACE, SEAT
from app.cluster.seats import NodeDevice
from app.worker.seat_calls import Unreachable
from trainer.node.calls import Beginning, Have, Pulled

ANSWER_SECONDS = 4.0  # in which a seat answers, besides what it may wait
BEGIN_SECONDS = 60.0  # a large dataset is hashed, a fork server loads torch
CALLS = 16  # that a seat answers at the same time


class RaySeat:
    """One device of a node. Its process is made anew by Ray if it dies; the trainer does not die with it."""

    def __init__(self, place: NodeDevice) -> None:
        node_id, host, number, device = place.node_id, place.host, place.number, place.kind
        self.there_since, self.address = time.monotonic(), place.address
        actor: Any = ray.remote(NodeSeat)
        self._actor = actor.options(
            name=f"seat/{host}/{number}/{node_id[:16]}",
            namespace=NAMESPACE,
            lifetime="detached",
            get_if_exists=True,
            max_restarts=-1,
            max_task_retries=0,
            num_cpus=0,
            num_gpus=1 if device.startswith("cuda") else 0,
            resources={SEAT: 1},
            max_concurrency=CALLS,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False),
        ).remote(host, number, "cuda:0" if device.startswith("cuda") else device)

    def greet(self, seconds: float = ANSWER_SECONDS) -> NodeGreeting:
        greeting: NodeGreeting = self._ask("greet", seconds)
        return greeting

    def missing(self, hashes: list[str]) -> dict[str, int]:
        found: dict[str, int] = self._ask("missing", ANSWER_SECONDS, hashes)
        return found

    def put(self, sha256: str, offset: int, data: bytes, *, last: bool) -> None:
        self._ask("put", BEGIN_SECONDS if last else ANSWER_SECONDS, sha256, offset, data, last=last)

    def begin(self, what: Beginning) -> int | None:
        pid: int | None = self._ask("begin", BEGIN_SECONDS, what)
        return pid

    def pull(self, run: str, claim: int, attempt: int, have: Have, wait_seconds: float) -> Pulled:
        pulled: Pulled = self._ask("pull", ANSWER_SECONDS + wait_seconds, run, claim, attempt, have, wait_seconds)
        return pulled

    def read(self, run: str, claim: int, path: str, offset: int, size: int) -> bytes:
        data: bytes = self._ask("read", ANSWER_SECONDS, run, claim, path, offset, size)
        return data

    def request(self, run: str, claim: int, name: str, stamp: int) -> None:
        self._ask("request", ANSWER_SECONDS, run, claim, name, stamp)

    def signal(self, run: str, claim: int, attempt: int, number: int) -> None:
        self._ask("signal", ANSWER_SECONDS, run, claim, attempt, number)

    def end(self, run: str, claim: int, attempt: int) -> None:
        self._ask("end", BEGIN_SECONDS, run, claim, attempt)

    def _ask(self, name: str, seconds: float, *arguments: Any, **named: Any) -> Any:
        """Call a method of the seat. Raises Unreachable, and what the method raises."""
        try:
            return ray.get(getattr(self._actor, name).remote(*arguments, **named), timeout=seconds)
        except RayTaskError as error:
            if isinstance(error.cause, OSError) and not isinstance(error.cause, FileNotFoundError):
                raise Unreachable(f"its disk: {error.cause}") from error
            raise error.cause from error  # as the seat raised it
        except (GetTimeoutError, RayError) as error:
            raise Unreachable(f"{type(error).__name__}: {error}") from error
