"""`meta.yaml`: one name and scalar per line, as PyYAML writes them."""

from __future__ import annotations

import re

ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)
LETTERS = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    "0": "\0",
    "e": "\x1b",
    "N": "\x85",
    "_": "\xa0",
    "L": "\u2028",
    "P": "\u2029",
}


def read_meta(text: str) -> dict[str, str]:
    """Return the values by name, as texts; "" for null. A scalar may go on in indented lines."""
    found: dict[str, str] = {}
    name = ""
    for line in text.split("\n"):
        if line.startswith(" ") or (name and not line):
            found[name] = _joined(found.get(name, ""), line.strip())
        else:
            name, _, value = line.partition(":")
            found[name] = value.strip()
    return {name: _scalar(value) for name, value in found.items()}


def _joined(before: str, line: str) -> str:
    """Line breaks within a scalar are spaces, empty lines are line breaks."""
    if before.startswith('"') and before.endswith("\\"):
        return before[:-1] + line
    if not line:
        return before + "\n"
    return before + line if before.endswith("\n") else f"{before} {line}"


def _scalar(value: str) -> str:
    value = value.strip()
    if len(value) > 1 and value[0] == value[-1] == "'":
        return value[1:-1].replace("''", "'")
    if len(value) > 1 and value[0] == value[-1] == '"':
        return ESCAPE.sub(_letter, value[1:-1])
    return "" if value == "null" else value


def _letter(match: re.Match[str]) -> str:
    digits = match[1] or match[2] or match[3]
    if digits:
        code = int(digits, 16)
        return chr(code) if code < 0x110000 else ""
    return LETTERS.get(match[4], match[4])
