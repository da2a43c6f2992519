"""Why a machine could not join, in words, from what `ray start` has written."""

from __future__ import annotations

import re

_VERSIONS = re.compile(r"Version mismatch: .*? started with:\n(.*?)This process .*? started with:\n(.*)", re.DOTALL)


def why(output: str) -> str:
    if "InvalidAuthToken" in output:
        return "the home refuses the token: copy the file cluster-token from it again"
    if match := _VERSIONS.search(output):
        there, here = map(_named, match.groups())
        return f"the home has {there}, and this machine {here}: install the same versions"
    if "Failed to connect to GCS" in output or "GCS has been unavailable" in output:
        return "the home does not answer"
    lines = output.strip().splitlines()
    return lines[-1] if lines else "Ray gives no reason"


def _named(lines: str) -> str:
    """Each line is a name and a version."""
    return " and ".join(" ".join(pair) for pair in re.findall(r"^\s*(\w+): (\S+)\s*$", lines, re.MULTILINE))
