"""What a share link opens: its page, the curves of the runs on it, and their live events. Nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set

PAGE = "/shared"
PREFIX = f"{PAGE}/"
LIVE_KINDS = frozenset({"metrics", "rewind", "deleted", "resync"})  # other events say more than the page does
_METRICS = re.compile(r"/api/runs/([^/]+)/metrics(?:\.csv)?")


def split_address(path: str) -> tuple[str, str]:
    """Return the secret of an address below PREFIX, and the path behind it: PAGE for the page itself."""
    secret, _, rest = path.removeprefix(PREFIX).partition("/")
    return secret, f"/{rest}" if rest else PAGE


def opens_always(path: str) -> bool:
    """Return whether every link opens the path, which follows its secret: the page and its files."""
    return path == PAGE or path.startswith("/static/")


def opens(path: str, query: Mapping[str, Sequence[str]], runs: Set[str]) -> bool:
    """Return whether a link that shows `runs` opens the path besides: their curves and live events."""
    if (found := _METRICS.fullmatch(path)) is not None:
        return found[1] in runs
    if path == "/api/events":
        asked, kinds = _listed(query, "runs"), _listed(query, "kinds")
        return bool(asked) and asked <= runs and bool(kinds) and kinds <= LIVE_KINDS
    return False


def _listed(query: Mapping[str, Sequence[str]], name: str) -> Set[str]:
    """Return the comma-separated values of a parameter; none if it is given twice, as it is then read differently."""
    values = query.get(name, ())
    return {value for value in values[0].split(",") if value} if len(values) == 1 else frozenset()
