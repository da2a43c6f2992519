"""Browsers in which somebody has signed in before: a signed cookie, which gives no access.

Its attempts to sign in are counted apart, so that others' wrong guesses do not keep the owner out ("device cookies":
https://owasp.org/www-community/Slow_Down_Online_Guessing_Attacks_with_Device_Cookies).
"""

from __future__ import annotations

import hashlib
import secrets

from itsdangerous import BadSignature, Signer

KNOWN_SECONDS = 365 * 86_400


def new_browser(secret: bytes) -> str:
    """Return the cookie value of a browser: a random name and its signature with the password's secret."""
    return _signer(secret).sign(secrets.token_urlsafe(12)).decode()


def browser_of(secret: bytes, cookie: str | None) -> str | None:
    """Return the name of the browser that has sent `cookie`, None if it is not known."""
    try:
        return _signer(secret).unsign((cookie or "").encode(errors="replace")).decode()
    except BadSignature:
        return None


def _signer(secret: bytes) -> Signer:
    """The salt keeps these values from being valid as sessions, which the same secret signs."""
    return Signer(secret, salt=b"known browser", key_derivation="hmac", digest_method=hashlib.sha256)
