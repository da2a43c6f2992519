"""`python -m tests.fuzz [--minutes M] [--seed N]`: run schemathesis on every operation of the OpenAPI document.

The target is a real server on a new home with one finished run. Checks that there is no 5xx, and that status, content
type and body of each response are documented. tests/web/test_odd_requests.py runs half a minute of it; the fuzz tests
of event files and images are tests/app/jobs/test_fuzz_ingest.py and tests/web/test_promise_14_uploads.py.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from app.settings import Settings
from app.storage.db import Database
from app.supervisor import free_port
from tests.conftest import NARROW, Server
from trainer.data.sources.shapes import make_shapes100

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
EXCLUDED = "/api/(runs/.*/)?events$|/onnx$"  # event streams do not end; an export without a worker answers 503


def fuzz(minutes: float, *, seed: int, examples: int) -> int:
    """Run schemathesis and return its exit status: 0 if no check failed."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        make_shapes100(home / "datasets", train_per_class=10, test_per_class=5)
        settings = Settings(home=home, port=free_port("127.0.0.1"))
        database = Database(settings.url)
        database.migrate()
        database.close()
        server = Server(home, settings)
        server.start("web", "worker", "predictor")
        try:
            server.wait_status(server.launch(overrides={**NARROW, "max_steps": 5}), "finished")
            server.stop("worker")  # runs launched by the fuzzer stay queued
            command = [
                sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json",
                "--checks", CHECKS, "--mode", "all",
                "--max-examples", str(examples), "--seed", str(seed),
                "--exclude-path-regex", EXCLUDED,
                "--max-time", str(int(60 * minutes)), "--continue-on-failure", "--request-timeout", "30",
            ]  # fmt: skip
            environment = {**os.environ, "SCHEMATHESIS_HOOKS": "tests.fuzz_hooks"}
            return subprocess.run(command, env=environment, check=False).returncode
        finally:
            server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--examples", type=int, default=200, help="of each operation, at most")
    arguments = parser.parse_args()
    sys.exit(fuzz(arguments.minutes, seed=arguments.seed, examples=arguments.examples))


if __name__ == "__main__":
    main()
