"""The connection that carries many questions at once, over real sockets."""

from __future__ import annotations

import asyncio
import socket
import tracemalloc
from collections.abc import Awaitable, Callable

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from app.prediction.wire import Connection, Header, RpcClient, RpcServer, WireError, pack

HEADERS = st.dictionaries(st.text(max_size=5), st.integers(0, 9), max_size=3)
FRAMES = st.lists(st.tuples(HEADERS, st.binary(max_size=50)), max_size=6)


def talk(answer: Callable[[Header, bytes], Awaitable[Header]], work: Callable[[RpcClient], Awaitable[None]]) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        other, _ = await loop.create_connection(lambda: RpcServer(answer), sock=theirs)
        _, line = await loop.create_connection(RpcClient, sock=ours)
        await work(line)
        line.close()
        other.close()

    asyncio.run(run())


@given(FRAMES, st.integers(1, 40))
def test_frames_come_whole_however_they_are_cut(frames: list[tuple[Header, bytes]], size: int) -> None:
    found = []

    class Collecting(Connection):
        def received(self, header: Header, payload: bytes) -> None:
            found.append((header, payload))

    async def run() -> None:
        line = Collecting()
        sent = b"".join(pack(header, payload) for header, payload in frames)
        for at in range(0, len(sent), size):
            line.data_received(sent[at : at + size])

    asyncio.run(run())
    assert found == frames


def test_each_question_gets_its_own_answer_whatever_their_order() -> None:
    turn = asyncio.Event()

    async def answer(header: Header, payload: bytes) -> Header:
        if header["of"] == 0:
            await turn.wait()  # the first is answered last
        if header["of"] == 99:
            turn.set()
        return {"of": header["of"], "length": len(payload)}

    async def work(line: RpcClient) -> None:
        answers = await asyncio.gather(*(line.ask({"of": number}, bytes(1000 * number)) for number in range(100)))
        assert [header for header, _ in answers] == [{"of": n, "length": 1000 * n} for n in range(100)]

    talk(answer, work)


def test_who_does_not_wait_any_more_disturbs_nobody() -> None:
    gate = asyncio.Event()

    async def answer(header: Header, payload: bytes) -> Header:
        await gate.wait()
        return header

    async def work(line: RpcClient) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(line.ask({"of": 1}), 0.01)
        gate.set()
        assert await line.ask({"of": 2}) == ({"of": 2}, b"")

    talk(answer, work)


def test_all_get_to_know_when_the_other_side_goes() -> None:
    async def run() -> None:
        ours, theirs = socket.socketpair()
        _, line = await asyncio.get_running_loop().create_connection(RpcClient, sock=ours)
        asked = [asyncio.create_task(line.ask({})) for _ in range(3)]
        await asyncio.sleep(0)
        theirs.close()
        for one in asked:
            with pytest.raises(WireError):
                await one
        with pytest.raises(WireError):
            await line.ask({})

    asyncio.run(run())


def test_what_is_not_read_is_thrown_away_when_it_is_closed() -> None:
    async def run() -> None:
        ours, theirs = socket.socketpair()
        _, line = await asyncio.get_running_loop().create_connection(RpcClient, sock=ours)
        stuck = [line.is_stuck]
        with theirs:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(line.ask({}, bytes(10_000_000)), 0.05)
            stuck.append(line.is_stuck)
            line.close()
            stuck.append(line.is_stuck)
        assert stuck == [False, True, False]

    asyncio.run(run())


def test_large_images_are_sent_without_a_copy() -> None:
    images = [bytes(4 << 20) for _ in range(8)]

    async def run() -> int:
        ours, theirs = socket.socketpair()
        with theirs:  # which nobody reads
            _, client = await asyncio.get_running_loop().create_connection(RpcClient, sock=ours)
            tracemalloc.start()
            asking = asyncio.create_task(client.ask({}, *images))
            while not client.is_stuck:
                await asyncio.sleep(0)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            client.close()
            with pytest.raises(WireError):
                await asking
        return peak

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(run()) < 4 << 20


def test_a_question_that_nobody_waits_for_is_withdrawn() -> None:
    withdrawn: list[int] = []

    async def answer(header: Header, payload: bytes) -> Header:
        if header["of"] < 3:
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                withdrawn.append(header["of"])
        return header

    async def work(line: RpcClient) -> None:
        for number, wait in ((1, 0.01), (2, 0)):  # the second is withdrawn before it is sent
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(line.ask({"of": number}), wait)
        assert await line.ask({"of": 3}) == ({"of": 3}, b"")
        assert withdrawn == [1]

    talk(answer, work)


def test_questions_of_a_client_that_is_gone_are_withdrawn() -> None:
    withdrawn = asyncio.Event()

    async def answer(header: Header, payload: bytes) -> Header:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            withdrawn.set()
        return header

    async def work(line: RpcClient) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(asked := asyncio.create_task(line.ask({}))), 0.01)
        line.close()
        await asyncio.wait_for(withdrawn.wait(), 10)
        with pytest.raises(WireError):
            await asked

    talk(answer, work)
