"""Curves of a class equal scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from app.diagnosis.class_curves import MOST_POINTS, class_curves


@settings(max_examples=200, deadline=None)
@given(
    images=st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0]), st.booleans()), min_size=2, max_size=60)
)
def test_curves(images: list[tuple[float, bool]]) -> None:
    scores, is_own = np.array([score for score, _ in images]), np.array([own for _, own in images])
    found = class_curves(scores, is_own, 3, "cat")
    if is_own.all() or not is_own.any():
        assert found is None
        return
    assert found is not None
    assert found.auc == pytest.approx(roc_auc_score(is_own, scores))
    assert found.average_precision == pytest.approx(average_precision_score(is_own, scores))
    false, recall, _ = roc_curve(is_own, scores, drop_intermediate=False)
    assert found.roc == pytest.approx(np.stack([false, recall], 1))
    precision, recall, _ = precision_recall_curve(is_own, scores)
    assert found.precision_recall[1:] == pytest.approx(np.stack([recall, precision], 1)[-2::-1])


def test_many_points_are_thinned_for_drawing_alone() -> None:
    rng = np.random.default_rng(0)
    scores, is_own = rng.random(5000), rng.random(5000) < 0.3
    found = class_curves(scores.astype(np.float16), is_own, 0, "cat")
    assert found is not None
    assert len(found.roc) == MOST_POINTS
    assert found.auc == pytest.approx(roc_auc_score(is_own, scores.astype(np.float16)))
    assert found.roc_path.startswith("M0.0 100.0L")
    assert found.roc_path.endswith("L100.0 0.0")
