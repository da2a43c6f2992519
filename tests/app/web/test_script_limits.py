"""How much a script may send: the allowances, with times that the test sets."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from app.errors import ApiError
from app.web.script_limits import MOST_CREATIONS, MOST_REQUESTS, MOST_WAITING, Allowance, ScriptLimits


def test_an_allowance_fills_up_again() -> None:
    allowance = Allowance.full(rate=2, most=10, now=100)
    assert [allowance.take(5, 100), allowance.take(5, 100)] == [0, 0]
    assert allowance.take(1, 100) == 0.5
    assert allowance.take(1, 100.5) == 0
    assert allowance.take(11, 200) == 0  # more than there ever is: once it is full


def test_a_run_that_sends_too_often_is_told_to_wait_and_others_are_not() -> None:
    async def send() -> None:
        limits = ScriptLimits()
        sent = 0
        with suppress(ApiError):
            while sent < 100 * MOST_REQUESTS:
                async with limits.turn("a", 0):
                    sent += 1
        assert MOST_REQUESTS <= sent < 100 * MOST_REQUESTS
        async with limits.turn("b", 0):
            pass

    asyncio.run(send())


def test_only_some_requests_of_a_run_wait() -> None:
    async def send() -> None:
        limits = ScriptLimits()
        leave = asyncio.Event()

        async def request() -> int:
            try:
                async with limits.turn("a", 0):
                    await leave.wait()
            except ApiError as error:
                return error.status
            return 200

        tasks = [asyncio.create_task(request()) for _ in range(MOST_WAITING + 3)]
        await asyncio.sleep(0)
        async with limits.turn("b", 0):
            leave.set()
        assert sorted(await asyncio.gather(*tasks)) == [200] * MOST_WAITING + [429] * 3

    asyncio.run(send())


def test_a_sender_creates_only_so_many_runs_at_once() -> None:
    limits = ScriptLimits()
    created = 0
    with suppress(ApiError):
        while created < 100 * MOST_CREATIONS:
            limits.check_creation("token a")
            created += 1
    assert MOST_CREATIONS <= created < 100 * MOST_CREATIONS
    limits.check_creation("token b")
