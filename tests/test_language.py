"""No text that people see uses a word that the interface has given up."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GIVEN_UP = (
    "told from", "try it:", "done at", "no device yet", "then nothing", "has been seen", "waits for work", "i expect",
    "came to", "call it", "set the name", "wind down over", "where in the program", "what to train", "steps an epoch",
    "images a step", "operations an image", "about 200 an epoch", "what the network sees", "just before the net",
    "is drawn from", "the origin", "made from what differs", "measured here", "minutes instead", "most steps",
    "weight average", "the rest by", "rate of the rest", "smaller at first", "smaller until", "each to",
    "rate at the end", "mirrored too", "crop's padding", "by heart", "free outputs", "inputs zeroed",
    "twin that", "one example at a time", "knows nothing", "was answered", "taken for", "p(its class)", "p(answer)",
    "images are right", "what they obtained", "told apart", "tell apart", "the same but for", "how good it is",
    "where it ends", "take it away", "taken away", "take away", "stood for", "made with", "right answer among",
    "what speaks for", "beside it", "perhaps not like", "loaded for this", "a class in turn", "as stored",
    "least contrast", "name them all", "leave them out", "crop the middle", "drawn from a seed", "last bit",
    "hold the most", "paused view", "back to live", "it may", "that is not the password", "tried too often",
    "not on this line", "cannot be done", "no room", "end is missing", "cannot be had", "goes without", "goes on after",
    "comes by way of", "where this project began", "optimis", "regularis", "normalis", "labelled",
    "data set",
)  # fmt: skip
OLD_WORD = re.compile(rf"(?<![a-z])(?:{'|'.join(map(re.escape, GIVEN_UP))})")
# Values of the API and names, which stay as they are.
NAMES = {"cannot tell apart", "baseline-cnn-regularised", "aria-labelledby"}


def python_texts(path: Path) -> Iterator[tuple[int, str]]:
    """The string constants of a module, without its docstrings."""
    tree = ast.parse(path.read_text("utf-8"))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docs = {id(node.body[0].value) for node in ast.walk(tree) if isinstance(node, documented) and node.body
            and isinstance(node.body[0], ast.Expr)}  # fmt: skip
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.lineno, node.value


def command_texts(path: Path) -> Iterator[tuple[int, str]]:
    """The docstrings of commands, which `--help` shows."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef) and node.decorator_list:
            yield node.lineno, ast.get_docstring(node) or ""


def lines_of(path: Path) -> Iterator[tuple[int, str]]:
    text = path.read_text("utf-8")
    if path.suffix == ".js":
        text = re.sub(
            r"/\*.*?\*/|(?m:^\s*//.*$|\s//\s.*$)", lambda found: "\n" * found[0].count("\n"), text, flags=re.S
        )
    yield from enumerate(text.splitlines(), 1)


def texts() -> Iterator[tuple[Path, int, str]]:
    for package in ("app", "trainer"):
        for path in (ROOT / package).rglob("*.py"):
            yield from ((path, line, text) for line, text in python_texts(path))
    for path in (ROOT / "app" / "cli.py", *(ROOT / "app" / "commands").glob("*.py")):
        yield from ((path, line, text) for line, text in command_texts(path))
    for path in (*(ROOT / "templates").rglob("*.html"), *(ROOT / "static" / "js").rglob("*.js"),
                 *(ROOT / "trainer" / "spec" / "presets").glob("*.toml")):  # fmt: skip
        yield from ((path, line, text) for line, text in lines_of(path))


def old_words(text: str) -> list[str]:
    for name in NAMES:
        text = text.replace(name, "")
    return OLD_WORD.findall(text.lower())


def test_no_visible_text_has_a_word_that_was_given_up() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {word!r} in {text.strip()[:120]!r}"
        for path, line, text in texts()
        for word in old_words(text)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("text", "found"), [("What to train", ["what to train"]), ("cannot tell apart", []), ("Preset", [])]
)
def test_old_words_are_found(text: str, found: list[str]) -> None:
    assert old_words(text) == found
