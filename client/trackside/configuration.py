"""`run.config`: the settings of a script, by attribute and by item."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any, Callable

from trackside.errors import ConfigError
from trackside.values import config_of, to_json


class Config(MutableMapping[str, Any]):
    """Every change is written to the run's events at once."""

    def __init__(self, write: Callable[[dict[str, Any]], None]) -> None:
        object.__setattr__(self, "_values", {})
        object.__setattr__(self, "_write", write)

    def update(self, d: Any = None, allow_val_change: bool | None = None, **values: Any) -> None:  # type: ignore[override]
        """Set values. Raises ConfigError: one was set before to something else, without `allow_val_change`."""
        new = {**config_of(d), **values}
        if not allow_val_change:
            for name, value in new.items():
                self._check(name, value)
        self._values.update(new)
        if new:
            self._write({name: to_json(value) for name, value in new.items()})

    def setdefaults(self, d: Any) -> None:
        self.update({name: value for name, value in config_of(d).items() if name not in self._values})

    def as_dict(self) -> dict[str, Any]:
        return dict(self._values)

    def get(self, key: str, default: Any = None) -> Any:
        return self._values.get(key, default)

    def persist(self) -> None:
        """Does nothing: values are written when they are set."""

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.update({key: value})

    def __delitem__(self, key: str) -> None:
        raise ConfigError(f"config[{key!r}] cannot be deleted: it is recorded.")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self._values[name]
        except KeyError:
            raise AttributeError(f"config has no {name!r}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(self._values)

    def _check(self, name: str, value: Any) -> None:
        if name in self._values and to_json(self._values[name]) != to_json(value):
            raise ConfigError(
                f"config[{name!r}] is {self._values[name]!r} and would become {value!r}: "
                "use config.update(…, allow_val_change=True) to change it."
            )
