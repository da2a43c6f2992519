"""How a run differs from its preset or its parent: as a list of changes, and as a default name.

A name holds one word per setting, such as `lr3e-4`: never an old value beside a new one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.display.formatting import number
from app.display.labels import SHORT_WORDS

Changed = Mapping[str, tuple[Any, Any]]  # (old, new) by dotted field
MOST_CHARACTERS = 120


def default_name(changed: Changed, stem: str) -> str:
    """Return the name of the preset or parent with the changes, for instance `baseline-cnn lr3e-4 epochs3`.

    A word of `stem` that says the old value of a changed setting gives way to the new one.
    """
    name = stem
    for field, (old, new) in changed.items():
        word = setting_word(field, new)
        name, found = _replaced(name, _words_for(field, old), word)
        if word and not found:
            name = f"{name} {word}"
    return name[:MOST_CHARACTERS]


def member_name(values: Mapping[str, Any], stem: str) -> str:
    """Return the name of one of several variants: the stem with each setting that varies among them."""
    return default_name({field: (None, value) for field, value in values.items()}, stem)


def setting_word(field: str, value: Any) -> str:
    """Return the word for a setting in a name: `lr3e-4`, `sgd`, `flip`, `no-flip`. Empty for None."""
    if value is None:
        return ""
    last = field.rsplit(".", 1)[-1]
    short = SHORT_WORDS.get(field, last)
    if isinstance(value, bool):
        return last if value else f"no-{last}"
    if isinstance(value, str):
        return value if last == "name" else f"{short}-{value}"
    if isinstance(value, list | tuple):
        return f"{last}{'-'.join(map(str, value))}" if value else f"no-{last}"
    return f"{short}{number(value)}"


def _words_for(field: str, value: Any) -> tuple[str, ...]:
    """Return the words that a name may hold for this value: today's, and those of older versions."""
    last = field.rsplit(".", 1)[-1]
    text = "-".join(map(str, value)) if isinstance(value, list | tuple) else str(value).lower()
    older = f"{last}{number(value) if isinstance(value, float) else text}"
    return tuple(word for word in (setting_word(field, value), older) if word and value is not None)


def _replaced(name: str, words: tuple[str, ...], new: str) -> tuple[str, bool]:
    """Replace the last of the words that is in the name. Returns whether there was one.

    In the name of a preset it may come after a dash: `baseline-cnn-lr1e-4`.
    """
    for word in words:
        for before in (" ", "-") if any(letter.isdigit() for letter in word) else (" ",):
            whole = f"{name} "
            at = whole.rfind(f"{before}{word} ")
            if at >= 0:
                rest = whole[at + len(before) + len(word) : -1]
                return f"{name[:at]}{' ' + new if new else ''}{rest}", True
    return name, False


def changes(changed: Changed) -> list[dict[str, Any]]:
    """Return the changes in the form of the API and the database."""
    return [{"field": field, "from": old, "to": new} for field, (old, new) in changed.items()]
