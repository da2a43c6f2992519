"""What `serve` cannot do is said in one sentence, without a traceback."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli import main
from app.supervisor import CannotListen, check_address
from tests.app.commands.unprivileged import trackside
from tests.databases import home_environment


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        ("--host nosuch.invalid", 1, "The host name nosuch.invalid is unknown."),
        ("--host a..b", 1, "The host name a..b is unknown."),
        ("--host 192.0.2.1", 1, "192.0.2.1 is not an address of this machine."),
        ("--host 2001:db8::1", 1, "2001:db8::1"),
        ("--workers two", 2, "'two' is neither 'auto' nor a number of workers"),
        ("--workers -1", 2, "'-1' is neither 'auto' nor a number of workers"),
        ("--workers 1.5", 2, "'1.5' is neither 'auto' nor a number of workers"),
        ("--port 99999", 2, "--port"),
        ("--port -1", 2, "--port"),
        ("--port http", 2, "--port"),
    ],
)
def test_it_is_said_in_a_sentence(tmp_path: Path, options: str, status: int, said: str) -> None:
    environment = {**home_environment(tmp_path / "home"), "COLUMNS": "200"}
    ended = CliRunner().invoke(main, ["serve", "--insecure", *options.split()], env=environment)
    assert ended.exit_code == status
    assert said in ended.stderr
    assert "Traceback" not in ended.output
    assert len(ended.stderr.splitlines()) == (1 if status == 1 else 5)
    assert not (tmp_path / "home").exists()


def test_a_taken_port_and_a_free_one() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(CannotListen, match=f"Port {port} on 127.0.0.1 is taken"):
            check_address("127.0.0.1", port)
    check_address("127.0.0.1", port)


def test_a_port_that_this_user_may_not_listen_on() -> None:
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 80:
        pytest.skip("every user may listen on port 80 here")
    ended = trackside("serve", "--port", "80")
    assert ended.returncode == 1
    assert ended.stderr == "This user may not listen on port 80. Use one from 1024 on, as in --port 8000.\n"


@pytest.mark.parametrize("command", ["serve", "doctor", "reindex", "password", "tokens add x --scope read"])
def test_a_home_that_may_not_be_written(tmp_path: Path, command: str) -> None:
    tmp_path.chmod(0o755)
    home = tmp_path / "read-only"
    home.mkdir(mode=0o555)
    for path in (home, home / "new"):
        ended = (
            trackside(*command.split(), "--port", "0", TRACKSIDE_HOME=str(path))
            if command == "serve"
            else (trackside(*command.split(), TRACKSIDE_HOME=str(path)))
        )
        assert ended.returncode == 1
        assert f"The home {path} cannot be used: Permission denied. Set TRACKSIDE_HOME" in ended.stderr + ended.stdout
        assert "Traceback" not in ended.stderr
    assert list(home.iterdir()) == []


def test_a_home_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for home in (tmp_path / "file", tmp_path / "file" / "home"):
        for command in ("doctor", "reindex"):
            ended = CliRunner().invoke(main, [command], env=home_environment(home))
            assert ended.exit_code == 1
            assert f"The home {home} cannot be used: " in ended.output
            assert "Permission denied" not in ended.output
    assert os.listdir(tmp_path) == ["file"]  # noqa: PTH208
