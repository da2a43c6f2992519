"""Whether the server may listen where it was told to: off the loopback it needs a password. No HTTP here."""

from __future__ import annotations

import ipaddress

from app.auth.password import FILE
from app.settings import OWN_NAMES, Settings


class Exposed(RuntimeError):
    """Others could reach an address without a password."""


def is_loopback(host: str) -> bool:
    """A name other than localhost may stand for any address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_exposure(settings: Settings) -> None:
    """Raises Exposed: off the loopback, a password is set or `--insecure` said."""
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
    """What whoever starts the server should know."""
    lines = []
    strangers = settings.hosts - {f"[{settings.host}]", settings.host} - set(OWN_NAMES)
    if not (settings.access / FILE).exists() and (settings.insecure or strangers):
        names = ", ".join(sorted(strangers)) or settings.host
        lines.append(f"No password is set: whoever comes by way of {names} may launch, delete and download.")
    if settings.host in ("0.0.0.0", "::") and not strangers:
        lines.append(
            'Name this machine in TRACKSIDE_ALLOWED_HOSTS, as in \'["127.0.0.1", "machine.lan"]\', to be answered.'
        )
    return lines
