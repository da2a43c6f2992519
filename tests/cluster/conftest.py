"""A network of machines for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.machines import Network, network
from tests.conftest import Server


@pytest.fixture
def lan(server: Server, tmp_path: Path) -> Iterator[Network]:
    with network(tmp_path, server.home) as made:
        yield made
