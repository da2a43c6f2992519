"""`python -m tests.fuzz [--minutes M] [--seed N]`: schemathesis on every operation of the OpenAPI document.

A real server on a fresh home with a run that has ended. Never a 5xx, nothing undocumented, no bad data taken. Half a
minute of it is a test (tests/web/test_odd_requests.py), as are the fuzzers of event files and images
(tests/app/jobs/test_fuzz_ingest.py, tests/web/test_promise_14_uploads.py).
"""

from __future__ import annotations

import argparse
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
LEFT_OUT = "/api/(runs/.*/)?events$|/onnx$"  # streams never end; without a worker an export is 503


def fuzz(minutes: float, *, seed: int, examples: int) -> int:
    """schemathesis's exit status: 0 where nothing was found."""
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
            server.stop("worker")  # what is launched from here on waits
            command = [
                sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json",
                "--checks", CHECKS, "--mode", "all",
                "--max-examples", str(examples), "--seed", str(seed),
                "--exclude-path-regex", LEFT_OUT,
                "--max-time", str(int(60 * minutes)), "--continue-on-failure", "--request-timeout", "30",
            ]  # fmt: skip
            return subprocess.run(command, check=False).returncode
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
