"""Types of the settings that are read from environment variables."""

from __future__ import annotations

import ipaddress
import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator
from pydantic_settings import NoDecode
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

OWN_PATHS = frozenset({
    "api", "compare", "datasets", "docs", "healthz", "lanes", "login", "logout", "metrics", "models", "openapi.json",
    "predict", "readyz", "results", "runs", "static", "system", "tokens", "v2",
})  # fmt: skip
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[0-9a-z._-]+)(:[0-9]{1,5})?", re.IGNORECASE)


def host_name(host: str) -> str | None:
    """Return the host name in a Host header, in lower case and without the port; None if the header is invalid."""
    match = _HOST.fullmatch(host)
    return None if match is None else match[1].lower()


def _items(value: Any) -> Any:
    """Return the items of a list written in JSON or separated by commas. Other values are returned as they are."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text.startswith(("[]", '["', "[ ")):  # not an IPv6 address
        try:
            return json.loads(text)
        except ValueError:
            raise ValueError("the JSON list is malformed") from None
    return [item for item in map(str.strip, text.split(",")) if item]


def _host(value: str) -> str:
    with suppress(ValueError):  # a name, or with a port
        address = ipaddress.ip_address(value)
        return f"[{address}]" if address.version == 6 else str(address)
    try:
        name = host_name(value if value.isascii() else value.encode("idna").decode())  # browsers send the encoded form
        if name is not None and name.startswith("["):
            _address(name)
    except ValueError:
        name = None
    if name is None:
        raise ValueError(f"{value!r} is not a host name")
    return name


def _proxy(value: str) -> str:
    try:
        return value if value == "*" else str(ipaddress.ip_network(value) if "/" in value else _address(value))
    except ValueError:
        raise ValueError(f"{value!r} is not an IP address or network") from None


def _address(value: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(value.removeprefix("[").removesuffix("]"))


def _expanded(value: Path) -> Path:
    try:
        return value.expanduser()
    except RuntimeError:
        raise ValueError("the home directory that ~ stands for is unknown") from None


def _database_url(value: str) -> str:
    try:
        url = make_url(value)
        if url.drivername == "postgresql":
            url = url.set(drivername="postgresql+psycopg")
        url.get_dialect().import_dbapi()
    except ArgumentError:  # also NoSuchModuleError
        raise ValueError("it is not the URL of a supported database") from None
    except ImportError as error:
        hint = "; install trackside[postgres]" if value.startswith("postgresql") else ""
        raise ValueError(f"the database's driver is not installed ({error}){hint}") from None
    return url.render_as_string(hide_password=False)


def _device(value: str) -> str:
    if re.fullmatch(r"cpu(:[0-9]{1,3})?|mps|cuda(:[0-9]{1,3}|:(MIG|GPU)-[0-9A-Za-z/-]{1,90})?", value) is None:
        raise ValueError("cpu or cuda:N is expected")
    return value


def root_path(value: str) -> str:
    """Return a path such as /trackside, or "" for the top of a host. Raises ValueError: it is not one."""
    text = value.strip().removesuffix("/")
    path = text if text.startswith("/") else f"/{text}"
    if re.fullmatch(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*|/", path) is None:
        raise ValueError("a path of letters, digits, dots, dashes and underscores is expected")
    if path.split("/")[1] in OWN_PATHS:
        raise ValueError(f"{path} is an address of Trackside itself")
    return "" if path == "/" else path


# NoDecode: pydantic-settings would accept JSON only.
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_items)]
HostNames = Annotated[tuple[Annotated[str, AfterValidator(_host)], ...], NoDecode, BeforeValidator(_items)]
ProxyAddresses = Annotated[tuple[Annotated[str, AfterValidator(_proxy)], ...], NoDecode, BeforeValidator(_items)]
HomePath = Annotated[Path, AfterValidator(_expanded)]
DatabaseUrl = Annotated[str, AfterValidator(_database_url)]
RootPath = Annotated[str, AfterValidator(root_path)]
DeviceName = Annotated[str, AfterValidator(_device)]
