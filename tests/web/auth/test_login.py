"""The password: where one is sent to give it, how often it may be tried, and the way back."""

from __future__ import annotations

from http.cookies import SimpleCookie
from pathlib import Path

import pytest

from app.auth.login_attempts import BY_PEER, IN_ALL, LoginAttempts, peer_of
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
        (morsel,) = SimpleCookie(answer.headers["set-cookie"]).values()
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


def test_passwords_are_tried_a_few_times_a_minute(locked: Locked) -> None:
    with locked.client(address="127.0.0.9") as client:
        for _ in range(5):
            answer = sign_in(client, "wrong")
            assert answer.status_code == 401
            assert "That is not the password" in answer.text
        for password in ("wrong", PASSWORD):
            answer = sign_in(client, password)
            assert answer.status_code == 429
            assert 0 < int(answer.headers["retry-after"]) <= 61
            assert "set-cookie" not in answer.headers
    # A proxy's visitors are told apart; what others claim of themselves is not believed.
    with locked.client(address=PROXY) as client:
        for status, visitor in ((429, "127.0.0.9"), (303, "192.0.2.7")):
            client.headers["x-forwarded-for"] = visitor
            assert sign_in(client).status_code == status
    with locked.client(address="127.0.0.9") as client:
        client.headers["x-forwarded-for"] = "192.0.2.8"
        assert sign_in(client).status_code == 429


def test_a_few_attempts_a_minute_by_each_and_by_all() -> None:
    attempts = LoginAttempts()
    assert [attempts.take("a", now) for now in range(BY_PEER)] == [0.0] * BY_PEER
    assert attempts.take("a", 10.0) == 50.0
    attempts.forget("a")
    assert attempts.take("a", 10.0) == 0.0
    for number in range(1, IN_ALL):
        assert attempts.take(f"192.0.2.{number}", 20.0) == 0.0
    assert attempts.take("198.51.100.1", 30.0) == 40.0
    assert attempts.take("198.51.100.1", 71.0) == 0.0
    assert attempts.take("198.51.100.1", 79.9) > 0  # 29 of that minute and this one
    assert attempts.take("198.51.100.1", 80.0) == 0.0


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
