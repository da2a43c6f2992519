"""A quarter of a minute of requests that schemathesis generates from the OpenAPI document; `make fuzz` runs longer."""

from __future__ import annotations

import pytest

from tests.fuzz import fuzz


@pytest.mark.timeout(240)
def test_odd_requests_get_documented_answers_and_never_a_5xx() -> None:
    assert fuzz(0.25, seed=0, examples=2) == 0
