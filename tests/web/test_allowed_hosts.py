"""The names under which the web process answers, as its settings name them."""

from __future__ import annotations

from pathlib import Path

from tests.web.conftest import web_process


def test_named_hosts_are_answered_without_regard_to_case_and_port(tmp_path: Path, shapes: Path) -> None:
    names = "Lab.Example.org, gpu_box,lab.example.net:8691"
    with web_process(tmp_path, shapes, TRACKSIDE_ALLOWED_HOSTS=names) as web, web.client() as client:
        named = ("lab.example.org", "LAB.example.ORG:80", "gpu_box", "GPU_box:8691", "lab.example.net", "127.0.0.1")
        found = {name: client.get("/healthz", headers={"host": name}).status_code for name in named}
        assert found == dict.fromkeys(named, 200)
        for name in ("example.org", "gpu_box.example", "a,b", ""):
            assert client.get("/healthz", headers={"host": name}).status_code == 400
