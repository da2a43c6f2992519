"""The image's health check, as the Dockerfile has it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from app.supervisor import free_port
from tests.conftest import Server

DOCKERFILE = Path(__file__).parents[1] / "Dockerfile"


def health_check(port: int, **environment: str) -> int:
    found = re.search(r"^HEALTHCHECK .*\\\n +CMD (\[.*\])$", DOCKERFILE.read_text(), re.MULTILINE)
    assert found is not None
    program, *arguments = json.loads(found[1])
    assert program == "python"
    environment = {**os.environ, "TRACKSIDE_PORT": str(port), **environment}
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=environment, check=False, capture_output=True, timeout=60).returncode


def test_the_health_check_uses_no_proxy(server: Server) -> None:
    server.start("web")
    proxy = f"http://127.0.0.1:{free_port('127.0.0.1')}"  # nothing listens there
    names = ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY")
    assert health_check(server.settings.port, **dict.fromkeys(names, proxy)) == 0
    assert health_check(server.settings.port) == 0
    server.stop("web")
    assert health_check(server.settings.port) == 1
