"""The password: where one is sent to give it, how often it may be tried, and the way back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from http.cookies import SimpleCookie
from pathlib import Path

import httpx
import pytest

from app.auth.login_attempts import BY_PEER, IN_ALL, MOST_SECONDS, LoginAttempts, Turn, peer_of
from app.auth.password import PasswordFile, PasswordUnfit
from app.web.auth.routes import way_back
from tests.web.locked import CANARY, PASSWORD, PROXY, Locked, sign_in


def test_the_cookie_and_the_way_back(locked: Locked) -> None:
    with locked.client() as client:
        sent_away = client.get(f"/runs/{locked.run}?tab=log&x=%26")
        assert sent_away.status_code == 303
        form = client.get(sent_away.headers["location"])
        assert f'name="next" value="/runs/{locked.run}?tab=log&amp;x=%26"' in form.text
        answer = sign_in(client, next=f"/runs/{locked.run}?tab=log")
        assert answer.headers["location"] == f"/runs/{locked.run}?tab=log"
        morsel, known = (
            cookie for line in answer.headers.get_list("set-cookie") for cookie in SimpleCookie(line).values()
        )
        assert (known.key, known["path"], known["httponly"]) == (f"{locked.cookie_name}-browser", "/login", True)
        assert morsel.key == locked.cookie_name
        assert morsel["httponly"] is True
        assert morsel["samesite"].lower() == "lax"
        assert morsel["path"] == "/"
        assert not morsel["domain"]
        assert not morsel["secure"]
        assert int(morsel["max-age"]) == 30 * 86_400
        page = client.get(f"/runs/{locked.run}")
        assert page.status_code == 200
        assert CANARY in page.text


@pytest.mark.parametrize(
    ("wanted", "back"),
    [
        ("/", "/"),
        ("/runs/x?tab=log&a=%2F", "/runs/x?tab=log&a=%2F"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/x\\y", "/"),
        ("/\t/evil.example", "/"),
        ("/%09/evil", "/%09/evil"),
        ("https://evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("/a\r\nSet-Cookie: x=y", "/"),
        ("", "/"),
        ("runs", "/"),
        ("/login?next=/", "/"),
        ("/é", "/"),
    ],
)
def test_only_our_own_pages_are_gone_back_to(wanted: str, back: str) -> None:
    assert way_back(wanted) == back


@pytest.mark.parametrize(
    ("address", "secure"), [("127.0.0.1", False), (PROXY, True)], ids=["not believed", "a trusted proxy"]
)
def test_https_is_believed_of_a_trusted_proxy_alone(locked: Locked, address: str, secure: bool) -> None:
    with locked.client(address=address) as client:
        client.headers["x-forwarded-proto"] = "https"
        answer = sign_in(client)
    assert ("secure" in answer.headers["set-cookie"].lower()) is secure


def test_a_login_from_another_site_is_refused(locked: Locked) -> None:
    with locked.client() as client:
        for headers in ({"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}):
            assert client.post("/login", data={"password": PASSWORD}, headers=headers).status_code == 403


def wrong_guesses(locked: Locked, address: str, headers: dict[str, str] | None = None) -> list[httpx.Response]:
    """The answers to more wrong guesses at once than may wait for their turn."""
    with locked.client(address=address) as client, ThreadPoolExecutor(BY_PEER.burst + 5) as pool:
        client.headers.update(headers or {})
        return list(pool.map(lambda _: sign_in(client, "wrong"), range(BY_PEER.burst + 5)))


def test_wrong_guesses_are_limited_and_leave_room_for_the_right_password(locked: Locked) -> None:
    for answer in wrong_guesses(locked, "127.0.0.9"):
        assert answer.status_code in (401, 429)
        if answer.status_code == 429:
            assert 0 < int(answer.headers["retry-after"]) <= 10
            assert "Too many attempts" in answer.text
        else:
            assert "Wrong password" in answer.text
        assert "set-cookie" not in answer.headers
    for address in ("127.0.0.9", "127.0.0.10"):  # the same address, after a few seconds, and another one
        with locked.client(address=address) as client:
            assert sign_in(client).status_code == 303


def test_a_browser_that_signed_in_before_is_not_kept_out(locked: Locked) -> None:
    with locked.client(address="127.0.0.11") as client:
        assert sign_in(client).status_code == 303
        client.cookies.delete(locked.cookie_name)
        with ThreadPoolExecutor(1) as pool:
            others = pool.submit(wrong_guesses, locked, "127.0.0.11")
            while not others.done():
                assert sign_in(client).status_code == 303
        assert 429 in {answer.status_code for answer in others.result()}
        assert client.get("/").status_code == 200


def test_the_cookie_of_a_browser_gives_no_access(locked: Locked) -> None:
    with locked.client(address="127.0.0.12") as client:
        assert sign_in(client).status_code == 303
        known = client.cookies[f"{locked.cookie_name}-browser"]
    with locked.client() as client:
        client.cookies.set(locked.cookie_name, known)
        assert client.get("/api/runs").status_code == 401


def test_visitors_of_a_trusted_proxy_are_told_apart(locked: Locked) -> None:
    statuses = [answer.status_code for answer in wrong_guesses(locked, PROXY, {"x-forwarded-for": "192.0.2.6"})]
    assert 429 in statuses
    with locked.client(address=PROXY) as client:
        client.headers["x-forwarded-for"] = "192.0.2.7"
        assert sign_in(client).status_code == 303


def test_a_peer_waits_for_its_turn_and_is_refused_beyond_a_few_seconds() -> None:
    attempts = LoginAttempts()
    assert [attempts.take("a", 0.0) for _ in range(8)] == [
        *[Turn(0.0)] * 5, Turn(2.0), Turn(4.0), Turn(1.0, refused=True)
    ]  # fmt: skip
    assert attempts.take("a", 1.0) == Turn(5.0)
    assert attempts.take("b", 1.0) == Turn(0.0)
    assert attempts.take("a", 1.0, browser="known") == Turn(0.0)
    attempts.forget("a")
    assert attempts.take("a", 1.0) == Turn(0.0)
    assert attempts.take("b", 100.0) == Turn(0.0)


def test_a_peer_that_has_not_failed_does_not_wait_for_those_that_have() -> None:
    attempts, now = LoginAttempts(), 0.0
    for _ in range(1000):  # wrong guesses from six addresses
        now += 0.1
        for number in range(6):
            attempts.take(f"192.0.2.{number}", now)
    assert attempts.take("192.0.2.1", now).refused
    assert attempts.take("198.51.100.1", now) == Turn(0.0)


def test_no_number_of_addresses_guesses_faster_than_twice_a_second() -> None:
    attempts, checked = LoginAttempts(), 0
    for number in range(60_000):
        checked += not attempts.take(f"10.{number % 250}.{number % 7}.1", number / 100).refused
    assert checked <= 2 * (600 + IN_ALL.burst + MOST_SECONDS)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("192.0.2.1", "192.0.2.2", False),
        ("nonsense", "nonsense", True),
    ],
)
def test_who_counts_as_one_peer(one: str, other: str, same: bool) -> None:
    assert (peer_of(one) == peer_of(other)) is same


def test_a_password_is_slow_to_guess_and_the_same_from_any_keyboard(tmp_path: Path) -> None:
    file = PasswordFile(tmp_path)
    for unfit in ("", "seven77", "x" * 1025):
        with pytest.raises(PasswordUnfit):
            file.set(unfit)
    file.set("cafe\u0301 au lait")
    kept = file.current()
    assert kept is not None
    assert (kept.n, kept.r, kept.p, len(kept.salt), len(kept.secret)) == (2**17, 8, 1, 16, 32)
    assert kept.matches("caf\u00e9 au lait")
