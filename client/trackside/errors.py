"""What the client raises: only for mistakes in a call. A server that cannot be reached never raises in a script."""

from __future__ import annotations


class Error(Exception):
    """A call that cannot be carried out: `log` before `init`, a resume of a run that does not exist."""


class UsageError(Error):
    """An argument is not valid."""


class ConfigError(Error):
    """A value of the config that was set is changed without `allow_val_change`."""
