"""`trackside sync` and later scripts send what a spool holds."""

from __future__ import annotations

import sys

from tests.client.conftest import Scripts, finished
from tests.client.protocol_server import ProtocolServer
from tests.client.test_sending import COUNT, EXPECTED, spool_is_empty
from tests.conftest import wait_for
from trackside.starting import NOTHING_REPLACED

SYNC = [sys.executable, "-m", "trackside", "sync"]
UNTIL_ENOUGH = """
import itertools, os, time
run = trackside.init(id="same")
for i in itertools.count():
    run.log({"loss": i})
    if os.path.exists("enough"): break
    time.sleep(0.005)
"""


def test_an_offline_run_is_sent_when_asked_for(scripts: Scripts) -> None:
    errors = scripts.run(f'trackside.init(mode="offline", name="kept")\n{COUNT}')
    assert "trackside sync" in errors
    scripts.run("trackside.init(id='other')")
    assert list(scripts.server.runs) == ["other"]
    said = finished(scripts.command(SYNC))
    (run_id,) = set(scripts.server.runs) - {"other"}
    assert f"{run_id} is sent" in said
    assert scripts.server.runs[run_id].points("loss") == EXPECTED
    assert scripts.server.runs[run_id].announced["name"] == "kept"
    wait_for(lambda: spool_is_empty(scripts), what="the removal of the spool")


def test_the_next_script_sends_what_is_left(scripts: Scripts, protocol_server: ProtocolServer) -> None:
    protocol_server.stop()
    process = scripts.start(f'trackside.init(id="first")\n{COUNT}', TRACKSIDE_FINISH_SECONDS="0")
    errors = finished(process)
    assert "trackside sync" in errors
    protocol_server.start()
    scripts.run("trackside.init(id='second')")
    wait_for(lambda: set(protocol_server.runs) == {"first", "second"}, what="both runs")
    first = protocol_server.runs["first"]
    wait_for(lambda: first.events("end"), what="the end")
    assert first.points("loss") == EXPECTED


def test_a_resumed_run_continues_its_steps(scripts: Scripts) -> None:
    scripts.run(f'trackside.init(id="a")\n{COUNT}')
    scripts.run('run = trackside.init(id="a", resume="must")\nassert run.step == 100\nrun.log({"loss": 7})')
    run = scripts.server.runs["a"]
    assert run.points("loss") == [*EXPECTED, (100, 7)]
    assert run.events("start")[0]["from_step"] == 100


def test_a_resumed_run_repeats_steps_on_purpose(scripts: Scripts) -> None:
    scripts.run(f'trackside.init(id="a")\n{COUNT}')
    scripts.run('run = trackside.init(id="a")\nrun.log({"loss": 7}, step=50)\nrun.log({"loss": 8}, step=51)')
    assert [event["from_step"] for event in scripts.server.runs["a"].events("start")] == [100, 50]


def test_a_resume_without_the_server_follows_the_session_before(
    scripts: Scripts, protocol_server: ProtocolServer
) -> None:
    protocol_server.stop()
    for _ in range(2):
        finished(scripts.start(f'trackside.init(id="a")\n{COUNT}', TRACKSIDE_FINISH_SECONDS="0"))
    protocol_server.start()
    scripts.run('trackside.init(id="a").log({"loss": 3})')
    run = wait_for(lambda: protocol_server.runs.get("a"), what="the run")
    wait_for(lambda: len(run.sessions) == 3 and run.events("end"), 60, "three sessions")
    assert [step for step, _ in run.points("loss")] == list(range(201))
    assert [run.events("start", session)[0]["from_step"] for session in run.sessions] == [NOTHING_REPLACED, 100, 200]


def test_must_and_never(scripts: Scripts) -> None:
    assert "not found" in scripts.run('trackside.init(id="none", resume="must")', status=1)
    scripts.run('trackside.init(id="a")')
    assert "run exists" in scripts.run('trackside.init(id="a", resume="never")', status=1)
    assert [folder.name for folder in scripts.spool.iterdir() if folder.name in ("none",)] == []


def test_of_two_scripts_with_one_id_the_first_is_superseded(scripts: Scripts) -> None:
    first = scripts.start(UNTIL_ENOUGH)
    wait_for(lambda: len(scripts.only_run().points("loss")) > 20, what="points")
    before = scripts.only_run().newest
    scripts.run('trackside.init(id="same").log({"other": 1})')
    wait_for(lambda: '"superseded"' in "".join(p.read_text() for p in scripts.spool.glob("same/*.json")), what="it")
    (scripts.folder / "enough").touch()
    errors = finished(first)
    assert "another process logs to run same" in errors
    assert "trackside sync" in errors
    finished(scripts.command(SYNC))
    copy = scripts.server.runs["same-2"]
    values = copy.points("loss")
    assert values == [(i, i) for i in range(len(values))]
    assert list(copy.sessions) == [before]


def test_a_revoked_token_is_told_once_and_replaced(scripts: Scripts, protocol_server: ProtocolServer) -> None:
    token = scripts.folder / "token"
    token.write_text("old\n")
    protocol_server.token = "old"
    process = scripts.start(UNTIL_ENOUGH, TRACKSIDE_TOKEN_FILE=str(token))
    wait_for(lambda: len(scripts.only_run().points("loss")) > 20, what="points")
    protocol_server.token = "new"
    wait_for(lambda: (scripts.spool / "same").exists() and "refuses the token" in logs_of(scripts), what="a refusal")
    token.write_text("new\n")
    before = len(scripts.only_run().points("loss"))
    wait_for(lambda: len(scripts.only_run().points("loss")) > before, what="new points")
    (scripts.folder / "enough").touch()
    errors = finished(process)
    assert errors.count("refuses the token") == 1
    values = scripts.only_run().points("loss")
    assert values == [(i, i) for i in range(len(values))]


def test_a_deleted_run_is_kept_here(scripts: Scripts, protocol_server: ProtocolServer) -> None:
    process = scripts.start(UNTIL_ENOUGH)
    wait_for(lambda: len(scripts.only_run().points("loss")) > 20, what="points")
    protocol_server.deleted.add("same")
    wait_for(lambda: "was deleted" in logs_of(scripts), what="the notice")
    (scripts.folder / "enough").touch()
    assert "run same was deleted" in finished(process)
    (kept,) = scripts.spool.glob("same/*.jsonl")
    assert kept.read_bytes().splitlines()[-1].startswith(b'{"e":"end"')


def test_a_run_that_is_sent_late_replaces_no_other_of_its_id(scripts: Scripts) -> None:
    kept = scripts.folder / "kept"
    run = 'run = trackside.init(id="same", mode="{mode}")\nrun.log({{"loss": {value}}})'
    scripts.run(run.format(mode="offline", value=1), TRACKSIDE_SPOOL=str(kept))
    # As if it had been begun on a machine that has heard that the run is new.
    (path,) = kept.glob("same/*.jsonl")
    path.write_bytes(path.read_bytes().replace(str(NOTHING_REPLACED).encode(), b"0"))
    (facts,) = kept.glob("same/*.json")
    facts.write_text(facts.read_text().replace('"resume": "allow"', '"resume": "never"'))
    scripts.run(run.format(mode="online", value=2))
    said = finished(scripts.command([*SYNC, str(kept)]))
    assert "same is sent as same-2" in said
    assert scripts.server.runs["same"].points("loss") == [(0, 2)]
    assert scripts.server.runs["same-2"].points("loss") == [(0, 1)]


def test_a_new_run_says_that_it_is_new(scripts: Scripts) -> None:
    scripts.run("trackside.init()")
    assert scripts.only_run().announced["resume"] == "never"


def test_what_the_server_would_not_accept_is_shortened(scripts: Scripts) -> None:
    scripts.run('trackside.init(name="two\\nlines" + "x" * 300, tags=["", "a\\tb"] * 40, notes="n\\n\\0m" * 9000)')
    said = scripts.only_run().announced
    assert said["name"] == "two lines" + "x" * 191
    assert said["tags"] == ["a b"]
    assert said["notes"].startswith("n\nm")
    assert len(said["notes"]) == 20_000


def test_a_spool_that_cannot_be_made(scripts: Scripts) -> None:
    (scripts.folder / "file").touch()
    elsewhere = scripts.folder / "temporary"
    elsewhere.mkdir()
    errors = scripts.run(
        f"trackside.init()\n{COUNT}", TRACKSIDE_SPOOL=str(scripts.folder / "file" / "spool"), TMPDIR=str(elsewhere)
    )
    assert "Not a directory" in errors
    assert "instead" in errors
    assert scripts.only_run().points("loss") == EXPECTED
    errors = scripts.run(f"trackside.init()\n{COUNT}", TRACKSIDE_SPOOL="file/spool", TMPDIR=str(scripts.folder / "no"))
    assert "instead" in errors or "not recorded" in errors


def test_sync_without_a_server(scripts: Scripts, protocol_server: ProtocolServer) -> None:
    scripts.run('trackside.init(mode="offline")')
    protocol_server.stop()
    assert "cannot be reached" in finished(scripts.command(SYNC), 1)
    assert not spool_is_empty(scripts)


def logs_of(scripts: Scripts) -> str:
    return "".join(path.read_text() for path in scripts.spool.glob("*/*.log"))
