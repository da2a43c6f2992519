"""`trackside password` and `trackside tokens`. A running server applies changes from its next request on."""

from __future__ import annotations

import getpass
import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from app.auth.scopes import Scope
from app.commands.console import fail
from app.commands.home import home_settings

tokens_app = typer.Typer(no_args_is_help=True, help="Tokens for programs: Authorization: Bearer …")


def password(
    remove: Annotated[bool, typer.Option("--remove", help="Ask for no password any more.")] = False,
    sign_out: Annotated[bool, typer.Option("--sign-out", help="End all sessions; the password stays.")] = False,
) -> None:
    """Set the password that the server asks for: typed twice, or the first line of a pipe. Ends all sessions."""
    from app.auth.password import PasswordFile, PasswordUnfit
    from app.host.home import open_home

    settings = home_settings()
    file = PasswordFile(settings.access)
    if remove and sign_out:
        raise fail("Either --remove or --sign-out.")
    if remove:
        typer.echo("The password is removed." if file.remove() else "There was no password.")
    elif sign_out:
        typer.echo("All sessions are ended." if file.sign_everyone_out() else "There is no password, and no session.")
    else:
        try:
            file.set(_typed())
        except PasswordUnfit as error:
            raise fail(str(error)) from None
        open_home(settings, private=True)
        typer.echo(f"The password of {settings.home.resolve()} is set, and all sessions are ended.")


def _typed() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    first = getpass.getpass("Password: ")
    if getpass.getpass("Once more: ") != first:
        raise fail("The two passwords differ.")
    return first


@tokens_app.command("add")
def add_token(
    name: str,
    scope: Annotated[list[Scope], typer.Option(help="read, predict, launch (with both), or admin; as often as needed")],
) -> None:
    """Make a token and show it, this once."""
    from app.auth.tokens import Tokens
    from app.errors import ApiError

    try:
        typer.echo(Tokens(home_settings().access).add(name, scope))
    except ApiError as error:
        raise fail(error.message) from None


@tokens_app.command("list")
def list_tokens() -> None:
    """Name, scopes, when made, when last used (to the minute)."""
    from app.auth.tokens import Tokens
    from app.settings import Settings

    for token, used in Tokens(Settings().access).list():
        last = f"last used {_moment(used)}" if used else "never used"
        typer.echo(f"{token.name}: {', '.join(token.scopes)}, made {_moment(token.created)}, {last}")


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M UTC}"


@tokens_app.command("revoke")
def revoke_token(name: str) -> None:
    """From the next request on it is refused; its live streams end within a minute."""
    from app.auth.tokens import Tokens
    from app.errors import ApiError

    try:
        Tokens(home_settings().access).revoke(name)
    except ApiError as error:
        raise fail(error.message) from None
    typer.echo(f"The token {name} is revoked.")
