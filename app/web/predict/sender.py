"""The name under which a client takes turns with others: its token, or its address."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_network

from fastapi import Request

from app.auth.authenticate import Principal

PREFIX_BITS = 64  # of an IPv6 address: a host chooses the rest itself


def sender_of(request: Request) -> str:
    """Return the sender's name. Behind one of the trusted proxies, the address is that of X-Forwarded-For."""
    principal: Principal | None = request.state.principal
    if principal is not None and principal.token is not None:
        return f"token {principal.token}"
    address = request.client.host if request.client else ""
    if ":" not in address:
        return address
    try:
        return str(ip_network((IPv6Address(address.partition("%")[0]), PREFIX_BITS), strict=False))
    except ValueError:
        return address
