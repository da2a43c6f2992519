"""Promise 21: a search that is killed anywhere goes on with the same trials and values."""

from __future__ import annotations

import os
import random
import signal
from functools import partial

import httpx

from tests.conftest import Server, wait_for
from tests.web.search.test_search import ended, search_for

KILLS = int(os.environ.get("TRACKSIDE_TEST_KILLS", "3"))
TRIALS = 3
COMPARED = ("number", "params", "value", "state", "rung", "step")


def test_a_search_that_is_killed_goes_on_with_the_same_trials(server: Server) -> None:
    server.start("web", "worker")
    with server.client() as client:
        undisturbed = ended(client, search_for(client, trials=TRIALS, name="undisturbed")["id"])
        began = search_for(client, trials=TRIALS, name="killed")["id"]
        draws, kills = random.Random(0), 0
        while kills < KILLS and client.get(f"/api/searches/{began}").json()["status"] == "running":
            seen = progress(client, began)
            limit = seen + draws.randrange(1, 12)
            wait_for(partial(is_at, client, began, limit), 120, "steps")
            kill(server, draws.choice(["worker", "trainer", "both"]), client, began)
            kills += 1
        killed = ended(client, began)
    assert kills >= min(KILLS, TRIALS)
    for name in COMPARED:
        assert [t[name] for t in killed["trials"]] == [t[name] for t in undisturbed["trials"]], name
    assert winner(killed) == winner(undisturbed)


def progress(client: httpx.Client, search_id: str) -> int:
    """The steps of all trials; the number of trials breaks ties, so that it rises at each start too."""
    return sum(1 + trial["step"] for trial in client.get(f"/api/searches/{search_id}").json()["trials"])


def is_at(client: httpx.Client, search_id: str, limit: int) -> bool:
    """Whether that many steps were made, or the search has finished."""
    is_finished = client.get(f"/api/searches/{search_id}").json()["status"] == "finished"
    return is_finished or progress(client, search_id) >= limit


def kill(server: Server, what: str, client: httpx.Client, search_id: str) -> None:
    running = [t["run"] for t in client.get(f"/api/searches/{search_id}").json()["trials"] if t["state"] == "running"]
    if what in ("worker", "both"):
        server.stop("worker", signal.SIGKILL)
    for run in running if what in ("trainer", "both") else []:
        if (pid := server.trainer_pid(run)) is not None:
            os.kill(pid, signal.SIGKILL)
    if what in ("worker", "both"):
        server.start("worker")


def winner(search: dict[str, object]) -> int | None:
    trials = search["trials"]
    assert isinstance(trials, list)
    return next((trial["number"] for trial in trials if trial["run"] == search["winner"]), None)
