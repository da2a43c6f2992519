"""Control characters in names of other origin: a terminal executes them, and a page shows another name."""

import re

# C0, DEL and C1; line separators; marks that turn the direction of text; halves of surrogate pairs.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def without_controls(text: str) -> str:
    return _CONTROLS.sub("", text)


def escape_controls(text: str) -> str:
    """The text with each control character as Python writes it, such as \\x1b."""
    return _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)
