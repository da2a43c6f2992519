"""torch.compile on the simulated device: Inductor and Triton build real kernels down to ptxas."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import wait_for
from tests.cuda.build import PACKAGES
from tests.cuda.conftest import CudaServer

PTXAS = PACKAGES / "triton" / "backends" / "nvidia" / "bin" / "ptxas"
BLOCKED = """#!/bin/sh
if [ "$1" != --version ]; then
    echo $$ >> "{folder}/started"
    read -r line < "{folder}/release"
fi
exec "{ptxas}" "$@"
"""


@contextmanager
def blocked_ptxas(folder: Path) -> Iterator[Path]:
    """An assembler that writes its pid to `started` beside it, and then blocks until the end of this context."""
    os.mkfifo(folder / "release")
    script = folder / "ptxas"
    script.write_text(BLOCKED.format(folder=folder, ptxas=PTXAS))
    script.chmod(0o755)
    writer = os.open(folder / "release", os.O_RDWR)  # with a writer, reading blocks
    try:
        yield script
    finally:
        os.write(writer, b"\n" * 1000)
        (folder / "release").unlink()  # nothing blocks any more
        os.close(writer)


@pytest.mark.long
@pytest.mark.timeout(180)
def test_a_stop_while_compiling_leaves_a_checkpoint(cuda_server: CudaServer, tmp_path: Path) -> None:
    with blocked_ptxas(tmp_path) as ptxas:
        cuda_server.start("web")
        cuda_server.start_worker("cuda:0", TRITON_PTXAS_PATH=str(ptxas), TRACKSIDE_STOP_SECONDS="5")
        run_id = cuda_server.launch(overrides={"model.name": "mlp", "epochs": 5, "compile": "on", "checks": "off"})
        wait_for((tmp_path / "started").exists, 60, "the assembler")
        assert cuda_server.run(run_id)["phase"] == "compile"
        run = cuda_server.stop_run(run_id)
    with cuda_server.client() as client:
        checkpoints = client.get(f"/api/runs/{run_id}/checkpoints").json()
    assert run["step"] in {entry["step"] for entry in checkpoints}  # beside that of the epoch's end
