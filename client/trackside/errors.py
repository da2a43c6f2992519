"""What the client raises. A script that logs gets only errors of its own calls, none of the server or the network.

Error
├── UsageError   an argument is not valid
├── ConfigError  a value of the config is changed without `allow_val_change`
└── ApiError     a call of `Client` has failed
"""

from __future__ import annotations

from typing import Any


class Error(Exception):
    """A call that cannot be carried out: `log` before `init`, a resume of a run that does not exist."""


class UsageError(Error):
    """An argument is not valid."""


class ConfigError(Error):
    """A value of the config that was set is changed without `allow_val_change`."""


class ApiError(Error):
    """A call of `Client` that has failed: the server has refused it, or has not answered.

    status: the HTTP status; 0 if there was no answer.
    code: a stable word for programs: that of the server's answer, `unreachable` without one, else `http_<status>`.
    message: a sentence for people.
    detail: what the server adds; where fields are wrong, a list of {"field", "message"}.
    retry_after: seconds after which the server asks to try again; 0 if it does not say.
    """

    def __init__(self, status: int, code: str, message: str, detail: Any = None, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.detail = detail
        self.retry_after = retry_after

    @property
    def is_temporary(self) -> bool:
        """Whether the same call may succeed later: there was no answer, or one that says so."""
        return self.status in (0, 408, 425, 429, 502, 503, 504)
