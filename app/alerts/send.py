"""`python -m app.alerts.send`: send one message, in a process of its own that can be killed and may only reach public
addresses.

Reads {"target", "title", "body", "allow_private"} from its input. Exits with 0 once the service has taken the message;
otherwise the last line of its error output says why not.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import sys
from typing import Any


class PrivateAddress(OSError):
    """A connection to an address of this machine or of its network, which a service or a redirect has asked for."""


def main() -> int:
    asked = json.load(sys.stdin)
    if not asked["allow_private"]:
        # Every connection of this process is seen here, with the address it has come to: after DNS and redirects.
        sys.addaudithook(_refuse_private)
    import apprise

    told = _Last()
    logging.getLogger("apprise").addHandler(told)
    service = apprise.Apprise.instantiate(asked["target"])
    if service is None:
        return _fail("the target cannot be read: see the service's page at https://github.com/caronc/apprise/wiki")
    if service.notify(body=asked["body"], title=asked["title"]):
        return 0
    return _fail(_refused[-1] if _refused else told.text or "the service did not take the message")


_refused: list[str] = []


def _refuse_private(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "socket.connect":
        return
    address = arguments[1]
    host = address[0] if isinstance(address, tuple) else None
    if host is None or not is_public(str(host)):
        _refused.append(
            f"{host or 'a local socket'} is not a public address; TRACKSIDE_ALLOW_PRIVATE_ALERTS permits it"
        )
        raise PrivateAddress(_refused[-1])


def is_public(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_global and not address.is_multicast


class _Last(logging.Handler):
    text = ""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            self.text = record.getMessage()


def _fail(reason: str) -> int:
    sys.stderr.write(f"\n{' '.join(reason.split())}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
