"""Checks the address that the server listens on: other than the loopback, it needs a password. Free of HTTP."""

from __future__ import annotations

import ipaddress

from app.auth.password import FILE
from app.errors import CommandError
from app.settings import OWN_NAMES, Settings


class Exposed(CommandError):
    """Other machines could reach the server, and no password is set."""


def is_loopback(host: str) -> bool:
    """Return whether `host` is a loopback address or localhost. Other names may resolve to any address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_exposure(settings: Settings) -> None:
    """Raises Exposed: the host is not the loopback, no password is set and `--insecure` was not given."""
    if is_loopback(settings.host) or settings.insecure or (settings.access / FILE).exists():
        return
    raise Exposed(
        f"Whoever reaches {settings.host} could launch, delete and download. Set a password first:\n"
        "    trackside password\n"
        f"(kept in {settings.home.resolve()}), or say --insecure if something else keeps others out. "
        "From a single other machine neither is needed:\n"
        f"    ssh -L {settings.port}:127.0.0.1:{settings.port} this-machine"
    )


def cautions(settings: Settings) -> list[str]:
    """Return warnings about the settings, to be shown when the server starts."""
    lines = []
    others = settings.hosts - {f"[{settings.host}]", settings.host} - set(OWN_NAMES)
    if not (settings.access / FILE).exists() and (settings.insecure or others):
        names = ", ".join(sorted(others)) or settings.host
        lines.append(f"No password is set: anyone who can reach {names} may launch, delete and download.")
    if settings.host in ("0.0.0.0", "::") and not others:
        lines.append(
            "Only requests that name the loopback are answered. To be reached by other names, list them: "
            "TRACKSIDE_ALLOWED_HOSTS=machine.lan,192.0.2.7"
        )
    return lines
