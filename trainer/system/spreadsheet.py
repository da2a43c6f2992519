"""Escape text in CSV files that are opened with a spreadsheet."""

from __future__ import annotations

# A spreadsheet evaluates text with these prefixes as a formula, the full-width signs included.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def safe_cell(text: str) -> str:
    """Prefix `text` with an apostrophe if a spreadsheet would evaluate it as a formula."""
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text
