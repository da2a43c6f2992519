"""Names for models: a journal that survives torn lines, and a run that is named is not deleted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.errors import ApiError
from app.runs.names import JOURNAL, Aliases


def nothing() -> None:
    return None


def test_a_name_moves_and_remembers(tmp_path: Path) -> None:
    aliases = Aliases(tmp_path)
    assert aliases.runs_of("production") == ()
    for run in ("a", "b", "b", "a"):
        aliases.put("production", [run], nothing)
    aliases.put("night", ["a"], nothing)
    assert [change.run for change in aliases.history() if change.name == "production"] == ["a", "b", "a"]
    assert Aliases(tmp_path).of_run("a") == ["night", "production"]
    aliases.remove("night")
    assert list(aliases.current()) == ["production"]
    with pytest.raises(ApiError, match="night"):
        aliases.remove("night")


def test_moves_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    """Each looks at the moves before it while nobody else writes: two that move a name to the same run are one move."""

    def move(number: int) -> None:
        aliases = Aliases(tmp_path)
        aliases.put("shared", ["a"], nothing)
        aliases.put(f"own-{number}", [str(number)], nothing)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(move, range(24)))
    names = [move.name for move in Aliases(tmp_path).history()]
    assert sorted(names) == sorted(["shared", *(f"own-{number}" for number in range(24))])


def test_a_torn_line_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    aliases = Aliases(tmp_path)
    aliases.put("production", ["a"], nothing)
    with (tmp_path / JOURNAL).open("ab") as file:
        file.write(b'{"name":"production","ru')
    assert aliases.runs_of("production") == ("a",)
    aliases.put("production", ["b"], nothing)
    assert aliases.runs_of("production") == ("b",)
    assert len(aliases.history()) == 2


@pytest.mark.parametrize("name", ["latest", "", "Production", "a b", "../x", "é", "-x", "x" * 41])
def test_names_that_cannot_be(tmp_path: Path, name: str) -> None:
    with pytest.raises(ApiError) as caught:
        Aliases(tmp_path).put(name, ["a"], nothing)
    assert caught.value.status == 422


def test_a_run_with_a_name_is_not_deleted(tmp_path: Path) -> None:
    aliases = Aliases(tmp_path)
    aliases.put("production", ["a"], nothing)
    with pytest.raises(ApiError, match="production"), aliases.kept_unnamed("a"):
        raise AssertionError("it was let through")
    with aliases.kept_unnamed("b"):
        pass
    aliases.put("production", ["b"], nothing)
    with aliases.kept_unnamed("a"):
        pass


def test_an_ensemble_needs_each_of_its_runs(tmp_path: Path) -> None:
    aliases = Aliases(tmp_path)
    for runs in (["a"], ["a", "b"], ["a", "b"], ["b"], ["b", "c"]):
        aliases.put("production", runs, nothing)
        assert aliases.runs_of("production") == tuple(runs)
    assert [change.members for change in aliases.history()] == [("a",), ("a", "b"), ("b",), ("b", "c")]
    assert (aliases.of_run("a"), aliases.of_run("b"), aliases.of_run("c")) == ([], ["production"], ["production"])
    with pytest.raises(ApiError, match="production"), aliases.kept_unnamed("c"):
        raise AssertionError("it was let through")
