"""Points of a series: as arrays, packed into a blob, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.rundir.events import nonfinite_name


@dataclass(frozen=True)
class Points:
    """`steps` int64 (n,), strictly increasing; `values` and `times` (UNIX seconds) float64 (n,)."""

    steps: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]
    times: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.steps)

    def take(self, index: Any) -> Points:
        return Points(self.steps[index], self.values[index], self.times[index])

    def pack(self) -> bytes:
        return (
            self.steps.astype("<i8").tobytes()
            + self.values.astype("<f8").tobytes()
            + self.times.astype("<f8").tobytes()
        )

    @classmethod
    def unpack(cls, data: bytes) -> Points:
        count = len(data) // 24
        values = np.frombuffer(data, "<f8", offset=8 * count)
        return cls(np.frombuffer(data, "<i8", count), values[:count], values[count:])

    @classmethod
    def of(cls, rows: Sequence[tuple[int, float, float]]) -> Points:
        """Build from (step, value, time) rows in any order; the last value of a repeated step is kept."""
        unique = sorted({step: (value, time) for step, value, time in rows}.items())
        return cls(
            np.array([step for step, _ in unique], dtype=np.int64),
            np.array([pair[0] for _, pair in unique], dtype=np.float64),
            np.array([pair[1] for _, pair in unique], dtype=np.float64),
        )

    @classmethod
    def join(cls, parts: Sequence[Points]) -> Points:
        """Concatenate parts in step order; if two parts contain a step, the later part's value is kept."""
        if not parts:
            return cls.of([])
        steps = np.concatenate([part.steps for part in parts])
        values = np.concatenate([part.values for part in parts])
        times = np.concatenate([part.times for part in parts])
        if np.all(np.diff(steps) > 0):
            return cls(steps, values, times)
        last_of = len(steps) - 1 - np.unique(steps[::-1], return_index=True)[1]
        return cls(steps[last_of], values[last_of], times[last_of])


def encode(points: Points) -> dict[str, Any]:
    """Encode for JSON: non-finite values become null and are listed under `nonfinite`."""
    finite = np.isfinite(points.values)
    values: list[float | None] = points.values.tolist()
    body: dict[str, Any] = {"step": points.steps.tolist(), "value": values, "time": points.times.tolist()}
    if not finite.all():
        bad = np.flatnonzero(~finite).tolist()
        body["nonfinite"] = [
            {"step": body["step"][index], "kind": nonfinite_name(points.values[index])} for index in bad
        ]
        for index in bad:
            values[index] = None
    return body
