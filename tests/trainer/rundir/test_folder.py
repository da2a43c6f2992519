"""The names on disk, which other versions and people's scripts rely on, and that no other module spells them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from trainer.rundir.folder import JobDir, RunDir, TaskDir, is_job_id

ROOT = Path(__file__).parents[3]
SHARED = {
    "committed": "committed",
    "journal": "meta.jsonl",
    "events_folder": "events",
    "lock": "lock",
    "owner": "owner",
    "output": "output.log",
}
RUN = SHARED | {
    "spec": "spec.json",
    "dataset": "dataset.json",
    "initial_weights": "initial.safetensors",
    "sent_weights": "sent-weights",
    "decisions": "decisions.jsonl",
    "pause": "pause",
    "finish_early": "wind-down",
    "hold": "hold",
    "meeting": "meeting",
    "checkpoints": "checkpoints",
    "artifacts": "artifacts",
    "answers_folder": "artifacts/val",
    "checks": "artifacts/checks",
    "features": "artifacts/features.safetensors",
    "calibration": "artifacts/calibration.json",
    "threshold": "artifacts/threshold.json",
    "git_state": "git.json",
    "git_diff": "git.diff",
    "script": "script.json",
    "sessions": "sessions.jsonl",
    "append_lock": "append.lock",
    "heard": "last-heard",
    "logged_files": "logged-files",
    "selected": "artifacts/selected.safetensors",
}
TASK = SHARED | {
    "request": "task.json",
    "upload": "upload.zip",
    "manifest": "manifest",
    "evaluation": "evaluation.json",
    "evaluated": "evaluated.safetensors",
    "predictions": "predictions.csv",
    "result": "result.json",
}
NAMES = {part for path in (RUN | TASK).values() for part in path.split("/")}

# Names that are also series, tabs and kinds of events: they count where a path is built.
WORDS = frozenset({"val", "checks", "checkpoints", "wind-down", "manifest"})
# Files of other folders that have the same name: the lock of the access folder, and a dataset's own record.
ELSEWHERE = frozenset({("app/auth/private_files.py", "lock"), ("trainer/data/format.py", "dataset.json")})
PATH_CALLS = frozenset({"Path", "joinpath", "with_name", "glob", "rglob", "join", "open"})


@pytest.mark.parametrize(("job", "expected"), [(JobDir, SHARED), (RunDir, RUN), (TaskDir, TASK)])
def test_each_file_has_its_place(job: type[JobDir], expected: dict[str, str]) -> None:
    folder = job(Path("/runs/abc"))
    named = {name for name in dir(job) if isinstance(getattr(job, name), property)}
    found = {name: str(getattr(folder, name).relative_to("/runs/abc")) for name in named}
    assert found == expected


def test_files_of_a_step_or_an_attempt() -> None:
    run = RunDir(Path("/runs/abc"))
    paths = [run.events(3), run.weights(40), run.sidecar(40), run.answers(40), run.check_picture("input")]
    assert [str(path.relative_to(run.path)) for path in paths] == [
        "events/3.jsonl",
        "checkpoints/00000040.safetensors",
        "checkpoints/00000040.json",
        "artifacts/val/00000040.safetensors",
        "artifacts/checks/input.png",
    ]


@pytest.mark.parametrize("text", ["0123abcdef", "MyRun2", "a" * 40])
def test_an_id(text: str) -> None:
    assert is_job_id(text)


@pytest.mark.parametrize("text", ["", ".", "..", "a/b", "a.b", ".deleted-a", "a+b", "a\n", "a\0", "é", "٣", "a" * 41])
def test_what_is_no_id(text: str) -> None:
    assert not is_job_id(text)


def test_no_other_module_spells_a_name() -> None:
    found = []
    for package in ("app", "trainer"):
        for path in (ROOT / package).rglob("*.py"):
            module = path.relative_to(ROOT).as_posix()
            if not module.startswith("trainer/rundir/"):
                spelled = spelled_names(path.read_text("utf-8"))
                found += [(module, line, name) for line, name in spelled if (module, name) not in ELSEWHERE]
    assert found == []


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("run_dir / 'events'", ["events"]),
        ("run_dir / 'events' / f'{attempt}.jsonl'", ["events", ".jsonl"]),
        ("folder / f'{step:08d}.safetensors'", [".safetensors"]),
        ("Path('artifacts', 'val')", ["artifacts", "val"]),
        ("folder.glob('artifacts/val/*.safetensors')", ["artifacts", "val"]),
        ("(root / 'runs').glob('*/committed')", ["committed"]),
        ("os.path.join(folder, 'checkpoints')", ["checkpoints"]),
        ("FILE = 'decisions.jsonl'", ["decisions.jsonl"]),
        ("FLEETING = {'lock', 'owner'}", ["lock", "owner"]),
        ("tabs = ('checks', 'val')", []),
        ("router.get('/api/events')", []),
        ("def f():\n    'spec.json'", []),
        ("help = 'spec.json of the run'", []),
    ],
)
def test_what_counts_as_spelling_a_name(source: str, names: list[str]) -> None:
    assert sorted(name for _, name in spelled_names(source)) == sorted(names)


def spelled_names(source: str) -> list[tuple[int, str]]:
    """The line and name of each literal that is a file's name of a run or task directory."""
    tree = ast.parse(source)
    told = {id(statement.value) for statement in ast.walk(tree) if isinstance(statement, ast.Expr)}  # docstrings
    parts = {id(literal) for literal in path_parts(tree)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr) and id(node) in parts:
            suffix = PurePosixPath(_last_text(node)).suffix or _last_text(node)
            found += [(node.lineno, suffix)] if suffix in (".jsonl", ".safetensors") else []
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told:
            spelled = NAMES & set(node.value.split("/")) if id(node) in parts else {node.value} & (NAMES - WORDS)
            found += [(node.lineno, name) for name in spelled]
    return found


def path_parts(tree: ast.AST) -> Iterator[ast.expr]:
    """What paths are built of: the right side of each `/`, and what Path, joinpath, glob and the like are given."""
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            yield node.right
        elif isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in PATH_CALLS:
                yield from node.args


def _last_text(node: ast.JoinedStr) -> str:
    last = node.values[-1]
    return last.value if isinstance(last, ast.Constant) and isinstance(last.value, str) else ""
