"""`run.summary`: the latest value of each series, and what a script sets itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, Callable

from trackside.values import flatten, to_json


class Summary(MutableMapping[str, Any]):
    """`latest` gives the latest value of each series; values set here hide them."""

    def __init__(self, write: Callable[[dict[str, Any]], None], latest: Callable[[], Mapping[str, Any]]) -> None:
        object.__setattr__(self, "_values", {})
        object.__setattr__(self, "_write", write)
        object.__setattr__(self, "_latest", latest)

    def update(self, d: Any = None, **values: Any) -> None:  # type: ignore[override]
        new = dict(flatten({**(d or {}), **values}))
        self._values.update(new)
        if new:
            self._write({name: to_json(value) for name, value in new.items()})

    def __getitem__(self, key: str) -> Any:
        return self._values[key] if key in self._values else self._latest()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.update({key: value})

    def __delitem__(self, key: str) -> None:
        self._values.pop(key, None)
        self._write({key: None})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"summary has no {name!r}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __iter__(self) -> Iterator[str]:
        return iter({**self._latest(), **self._values})

    def __len__(self) -> int:
        return len({**self._latest(), **self._values})

    def __repr__(self) -> str:
        return repr(dict(self))
