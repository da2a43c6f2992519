"""A checkpoint served by LitServe as in its documentation: one worker, batch size up to 32, batch timeout 2 ms.

`python -m tests.benchmarks.peer_litserve PORT RUN_DIR DATASETS`. LitServe reads the annotations at runtime, so this
module does not import `annotations` from `__future__`.
"""

import sys
from pathlib import Path

import litserve
from fastapi import Request

from tests.benchmarks.peer_plain import Named, Pixels, decoded, load, named


class Api(litserve.LitAPI):
    def __init__(self, run_dir: Path, datasets: Path) -> None:
        super().__init__(max_batch_size=32, batch_timeout=0.002)
        self.paths = run_dir, datasets

    def setup(self, device: str) -> None:
        self.classifier = load(*self.paths)

    def decode_request(self, request: Request) -> Pixels:
        return decoded(request["file"].file.read(), self.classifier.size)

    def batch(self, inputs: list[Pixels]) -> list[Pixels]:
        return inputs

    def predict(self, images: list[Pixels]) -> list[Named]:
        return named(self.classifier, images)

    def unbatch(self, output: list[Named]) -> list[Named]:
        return output

    def encode_response(self, output: Named) -> Named:
        return output


if __name__ == "__main__":
    port, run_dir, datasets = sys.argv[1:]
    server = litserve.LitServer(Api(Path(run_dir), Path(datasets)), accelerator="cpu", workers_per_device=1)
    server.run(port=int(port), num_api_servers=1, log_level="warning", generate_client_file=False)
