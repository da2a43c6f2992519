"""Settings as people write them in the environment, and what is said about those that are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli import main
from app.settings import Settings, misspelled
from app.storage.db import Database


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("lab.example.org", {"lab.example.org"}),
        ("a.example, B.example", {"a.example", "b.example"}),
        ('["a.example","Lab.Example.org"]', {"a.example", "lab.example.org"}),
        ("gpu_box,lab.example.net:8691", {"gpu_box", "lab.example.net"}),
        ("[2001:DB8::1]:8000,2001:db8::2,192.0.2.7", {"[2001:db8::1]", "[2001:db8::2]", "192.0.2.7"}),
        ("bücher.example", {"xn--bcher-kva.example"}),
        ("", set()),
        ("[]", set()),
        (",", set()),
    ],
)
def test_host_names_are_accepted_as_json_and_separated_by_commas(
    monkeypatch: pytest.MonkeyPatch, text: str, hosts: set[str]
) -> None:
    monkeypatch.setenv("TRACKSIDE_ALLOWED_HOSTS", text)
    assert Settings().hosts == {"127.0.0.1", "localhost", "[::1]"} | hosts


@pytest.mark.parametrize(
    ("text", "proxies"),
    [
        ("127.0.0.1", ("127.0.0.1",)),
        ('["127.0.0.1"]', ("127.0.0.1",)),
        ("10.0.0.0/8, [::1]", ("10.0.0.0/8", "::1")),
        ("*", ("*",)),
        ("", ()),
    ],
)
def test_proxies_are_addresses_or_networks(monkeypatch: pytest.MonkeyPatch, text: str, proxies: tuple[str]) -> None:
    monkeypatch.setenv("TRACKSIDE_TRUSTED_PROXIES", text)
    assert Settings().trusted_proxies == proxies


def test_empty_variables_count_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = Settings()
    for name in Settings.model_fields:
        monkeypatch.setenv(f"TRACKSIDE_{name.upper()}", "")
    assert Settings() == expected


@pytest.mark.parametrize("command", ["doctor", "datasets list", "tokens list", "reindex", "serve"])
@pytest.mark.parametrize(
    ("variable", "text", "valid"),
    [
        ("ALLOWED_HOSTS", "https://lab.example.org/", "machine.lan,trackside.example.org"),
        ("ALLOWED_HOSTS", "a b", "machine.lan,trackside.example.org"),
        ("ALLOWED_HOSTS", '["a"', "machine.lan,trackside.example.org"),
        ("ALLOWED_HOSTS", "[1]", "machine.lan,trackside.example.org"),
        ("TRUSTED_PROXIES", "proxy.lan", "127.0.0.1,10.0.0.0/8"),
        ("PORT", "8o00", "8000"),
        ("PORT", "99999", "8000"),
        ("MAX_ATTEMPTS", "0", "3"),
        ("LEASE_SECONDS", "inf", "15.0"),
        ("INSECURE", "perhaps", "False"),
        ("HOME", "~nobody-of-this-name/home", "home"),
        ("PREDICTOR_DEVICE", "gpu", "cpu"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it_and_a_valid_value(
    tmp_path: Path, command: str, variable: str, text: str, valid: str
) -> None:
    environment = {"TRACKSIDE_HOME": str(tmp_path / "home"), f"TRACKSIDE_{variable}": text}
    ended = CliRunner().invoke(main, command.split(), env=environment)
    assert ended.exit_code == 1
    assert ended.stdout == ""
    lines = ended.stderr.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"TRACKSIDE_{variable}={text}: ")
    assert lines[0].endswith(f"A valid value: TRACKSIDE_{variable}={valid}")
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    "url", ["postgres-ish", "nosuch://user:secret-word@host/name", "oracle://user:secret-word@h/n"]
)
def test_a_wrong_database_url_is_not_repeated(url: str) -> None:
    ended = CliRunner().invoke(main, ["doctor"], env={"TRACKSIDE_DATABASE_URL": url})
    assert ended.exit_code == 1
    assert ended.stderr.startswith("TRACKSIDE_DATABASE_URL=")
    assert len(ended.stderr.splitlines()) == 1
    assert "secret-word" not in ended.output


def test_a_tilde_is_the_users_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TRACKSIDE_HOME", "~/kept")
    assert Settings().home == tmp_path / "kept"


@pytest.mark.parametrize("name", ["what?now", "a#b", "50%20off", "a&mode=ro", "@home", "ein Ordner"])
def test_the_database_is_in_the_home_whatever_its_path(tmp_path: Path, name: str) -> None:
    settings = Settings(home=tmp_path / name)
    database = Database(settings.url)
    database.migrate()
    database.close()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name / "trackside.db").stat().st_size > 0


def test_misspelled_settings_are_named() -> None:
    environment = {"TRACKSIDE_ALOWED_HOSTS": "a", "TRACKSIDE_HOME": "b", "TRACKSIDE_TOKEN": "c", "PATH": "d"}
    assert list(misspelled(environment)) == [
        "TRACKSIDE_ALOWED_HOSTS is not a setting: is TRACKSIDE_ALLOWED_HOSTS meant?"
    ]
    assert list(misspelled({f"TRACKSIDE_{name.upper()}": "" for name in Settings.model_fields})) == []
