"""Runs side by side: settings, seeds, and whether their answers can be told apart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlmodel import select

from app.datasets.datasets import Datasets
from app.errors import ApiError
from app.results.comparison import compare, slots_of
from app.results.seeds import Spread, spread
from app.runs.runs import Runs
from app.storage.db import Database
from app.storage.tables import Run
from app.web.compare.pairs import p_value
from app.web.compare.view import compare_page
from tests.databases import settings_of
from tests.finished_runs import VAL_COUNT, finished_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, shapes: Path) -> Iterator[Runs]:
    home = tmp_path_factory.mktemp("home")
    (home / "datasets").symlink_to(shapes)
    database = Database(settings_of(home).url)
    database.migrate()
    yield Runs(database, settings_of(home))
    database.close()


@pytest.fixture(scope="module")
def datasets(runs: Runs) -> Datasets:
    return Datasets(runs.settings.datasets)


def test_slots_keep_their_places() -> None:
    assert slots_of(["a,b", "c"]) == ["a", "b", "c"]
    assert slots_of(["a,,c,"]) == ["a", "", "c"]
    assert slots_of(["a,b,a"]) == ["a", "b"]
    assert slots_of([]) == slots_of([""]) == slots_of([",,"]) == []
    assert len(slots_of([",".join(map(str, range(12))) + "," * 9])) == 12
    assert slots_of(["," * 20 + "a"]) == ["a"]
    with pytest.raises(ApiError) as error:
        slots_of([",".join(map(str, range(13)))])
    assert error.value.status == 422


def test_the_settings_that_differ_and_what_was_obtained(runs: Runs, datasets: Datasets) -> None:
    plain = finished_run(runs, [0.2, 0.4, 0.3])
    other = finished_run(runs, [0.1, 0.3], overrides={"epochs": 2, "optimizer.lr": 3e-4, "augment.flip": True})
    found = compare(runs.database, runs, datasets, ["", plain, other])
    assert {item.field: tuple(item.values.values()) for item in found.settings} == {
        "epochs": (3, 2), "optimizer.lr": (1e-3, 3e-4), "augment.flip": (False, True),
    }  # fmt: skip
    first, second = found.runs
    assert (first.slot, second.slot) == (1, 2)
    assert (first.best_acc, first.best_epoch, first.best_loss, first.parameters) == (0.4, 2, 3.6, 123_456)
    assert first.half_width == pytest.approx(0.0673, abs=1e-3)
    assert first.seconds is not None
    page = compare_page(runs.database, runs, datasets, ["", plain, other])
    assert page.link(without=other) == f"/compare?runs=,{plain}"
    assert page.link(without=plain) == f"/compare?runs=,,{other}"
    assert page.link(series="val/loss", x="step") == f"/compare?runs=,{plain},{other}&series=val/loss&x=step"


def test_runs_that_differ_in_the_seed_alone_are_one_group(runs: Runs, datasets: Datasets) -> None:
    seeds = [
        finished_run(runs, [acc], overrides={"epochs": 1, "seed": seed}) for seed, acc in enumerate((0.2, 0.3, 0.4))
    ]
    other = finished_run(runs, [0.9], overrides={"epochs": 1, "seed": 3, "batch_size": 32})
    found = compare(runs.database, runs, datasets, [*seeds, other])
    (group,) = found.groups
    assert group.runs == seeds
    assert group.count == 3
    assert (group.mean, group.sd) == pytest.approx((0.3, 0.1))
    assert (spread([]), spread([0.5])) == (None, Spread(0.5, None, 1))


def test_a_branch_and_an_extended_run_are_no_seeds_of_the_plain_one(runs: Runs, datasets: Datasets) -> None:
    plain = finished_run(runs, [0.2, 0.3])
    branch = finished_run(runs, [0.2, 0.3], overrides={"epochs": 2, "seed": 1})
    longer = finished_run(runs, [0.2, 0.3], overrides={"epochs": 2, "seed": 2})
    with runs.database.write() as session:
        for run_id, values in ((branch, {"parent": plain, "parent_step": 10}), (longer, {"epochs": 5})):
            row = session.exec(select(Run).where(Run.id == run_id)).one()
            for name, value in values.items():
                setattr(row, name, value)
    assert compare(runs.database, runs, datasets, [plain, branch, longer]).groups == []


def test_answers_to_the_same_images_are_tested_in_pairs(runs: Runs, datasets: Datasets) -> None:
    good = finished_run(runs, [0.1, 0.5], wrong=range(40))
    twin = finished_run(runs, [0.5, 0.1], wrong=range(10, 54))
    bad = finished_run(runs, [0.1, 0.2, 0.3], wrong=range(140))
    elsewhere = finished_run(runs, [0.4], wrong=range(40), first_row=100, overrides={"epochs": 1, "seed": 9})
    coarse = finished_run(runs, [0.4], wrong=range(40), overrides={"epochs": 1, "target": "coarse"})
    silent = finished_run(runs, [0.4])
    found = compare(runs.database, runs, datasets, [good, twin, bad, elsewhere, coarse, silent])
    pairs = {(pair.first, pair.second): pair for pair in found.pairs}
    close, apart = pairs[good, twin], pairs[good, bad]
    assert (close.only_first, close.only_second, close.images) == (14, 10, VAL_COUNT)
    assert close.verdict == "cannot tell apart"
    assert close.p == pytest.approx(0.5413, abs=1e-3)
    assert (apart.only_first, apart.only_second, apart.verdict) == (100, 0, "differ")
    assert apart.p is not None
    assert apart.p < 1e-20
    assert "held out" in pairs[good, elsewhere].reason
    assert "target" in pairs[good, coarse].reason
    assert pairs[good, silent].reason == "no answers were kept"
    assert all(pairs[good, run].verdict is None for run in (elsewhere, coarse, silent))

    assert compare_page(runs.database, runs, datasets, [good, coarse]).is_mixed

    page = compare_page(runs.database, runs, datasets, [good, twin, bad])
    assert not page.is_mixed
    assert [cell.best for cell in page.outcomes[0].cells] == [True, True, False]
    assert [(line.first.id, line.verdict, line.second.id) for line in page.pairs] == [
        (good, "not significant", twin), (good, "is better than", bad), (twin, "is better than", bad),
    ]  # fmt: skip
    assert (p_value(0.541), p_value(0.0123), p_value(1e-9)) == ("0.54", "0.012", "< 0.001")


def test_damaged_answers_and_a_changed_data_set_are_said(runs: Runs, datasets: Datasets) -> None:
    first, second = (finished_run(runs, [0.5], wrong=range(40)) for _ in range(2))
    next((runs.folder(second) / "artifacts" / "val").iterdir()).write_bytes(b"torn")
    assert compare(runs.database, runs, datasets, [first, second]).pairs[0].reason == "no answers were kept"
    gone = Datasets(runs.settings.home / "nowhere")
    assert "gone" in compare(runs.database, runs, gone, [first, second]).pairs[0].reason


def test_one_run_and_an_unknown_one(runs: Runs, datasets: Datasets) -> None:
    run = finished_run(runs, [0.5])
    found = compare(runs.database, runs, datasets, [run])
    assert (len(found.runs), found.settings, found.groups, found.pairs) == (1, [], [], [])
    with pytest.raises(ApiError) as error:
        compare(runs.database, runs, datasets, [run, "none"])
    assert error.value.status == 404
