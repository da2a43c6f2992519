"""The average of a series is that of a loop over its points, and leaves outliers out."""

from __future__ import annotations

import math
import subprocess
from pathlib import Path

import numpy as np
import orjson
import pytest
from playwright._impl._driver import compute_driver_executable

from app.metrics.points import Points
from app.metrics.smoothing import outlier_fence, smoothed

ROOT = Path(__file__).parents[3]
# Prints what the page computes for the points that it is given.
SCRIPT = """
import { halfLifeOf, smooth } from "./static/js/lib/smooth.js";
import { outlierFence } from "./static/js/lib/scale.js";
const { steps, values, weight } = JSON.parse(process.argv[1]);
const fence = outlierFence(values, true);
console.log(JSON.stringify({ fence, averages: smooth(steps, values, halfLifeOf(steps, weight), fence) }));
"""


def series(count: int) -> Points:
    """Logged at each of the first 16 steps, then at every fourth, with a spike and a NaN."""
    steps = np.concatenate([np.arange(1, 17), 16 + 4 * np.arange(1, count - 15)])
    values = 1 + 3 * np.exp(-steps / 200) + np.random.default_rng(0).normal(0, 0.1, count)
    values[5], values[9] = 5984.0, np.nan
    return Points(steps, values, steps / 10)


@pytest.mark.parametrize("weight", [0.0, 0.6, 0.99])
@pytest.mark.parametrize("count", [40, 3000])
def test_the_server_and_the_page_compute_the_same_average(count: int, weight: float) -> None:
    points = series(count)
    node, _ = compute_driver_executable()
    given = {"steps": points.steps.tolist(), "values": points.values.tolist(), "weight": weight}
    command = [node, "--input-type=module", "--eval", SCRIPT, orjson.dumps(given).decode()]
    page = orjson.loads(subprocess.run(command, capture_output=True, check=True, timeout=60, cwd=ROOT).stdout)
    average, fence = smoothed(points, weight, keep_start=True)
    assert fence == pytest.approx(page["fence"])
    expected = [math.nan if value is None else value for value in page["averages"]]
    np.testing.assert_allclose(average, expected, rtol=1e-9)
    assert np.isnan(average[[5, 9]]).all()
    assert np.isfinite(np.delete(average, [5, 9])).all()


def test_few_points_have_no_outliers() -> None:
    assert outlier_fence(np.array([1.0, 900.0])) == math.inf
    assert len(smoothed(Points.of([]), 0.9)[0]) == 0
