"""`trackside evaluate`: measure a model on a labeled dataset, without a server."""

from __future__ import annotations

from pathlib import Path

from app.commands.predict import run_dirs_of
from app.display.intervals import wilson
from app.settings import Settings
from trainer.data.format import Split
from trainer.exported.evaluation import Evaluation
from trainer.system.progress import Progress


def evaluate_here(settings: Settings, model: str, dataset: str, split: Split, progress: Progress) -> Evaluation:
    """Evaluate a run's id, an alias, "latest", or an exported model file on a split of a dataset.

    Raises LookupError: there is no such model, it has no checkpoint or is damaged; DatasetError; UnusableDatabase.
    """
    run_dirs = [] if model.endswith(".safetensors") else run_dirs_of(settings, model)

    from trainer.exported.portable import PortableDamaged
    from trainer.inference.classifier import NoCheckpoint, OutputNotFinite
    from trainer.inference.ensemble import open_runs
    from trainer.inference.evaluation import Origin, evaluate_on
    from trainer.inference.rebuild import open_file
    from trainer.models.device import prepare

    device = prepare("cpu")
    try:
        if run_dirs:
            classifier, record = open_runs(run_dirs, settings.datasets, device)
            run, origin = "+".join(folder.name for folder in run_dirs), Origin(record.name)
        else:
            classifier, about = open_file(Path(model), device, settings.custom_models)
            run, origin = about.run, Origin(about.dataset)
        found, _ = evaluate_on(
            classifier, settings.datasets, dataset, split, model=model, run=run, origin=origin, progress=progress
        )
    except NoCheckpoint:
        raise LookupError(f"The run {model} has no checkpoint to evaluate.") from None
    except (OutputNotFinite, PortableDamaged) as error:
        raise LookupError(str(error)) from None
    return found


def lines_of(found: Evaluation) -> list[str]:
    """What an evaluation found, for people."""
    low, high = wilson(found.figures["acc"] * found.images, found.images)
    lines = [f"{found.model} on the {found.split} split of {found.dataset}: {found.images:,} images"]
    for name, value in found.figures.items():
        interval = f" (95% interval {low:.4f} to {high:.4f})" if name == "acc" else ""
        lines.append(f"{name} {value:.4f}{interval}")
    if found.reliability is not None:
        about = "calibrated" if found.calibrated else "not calibrated"
        lines.append(f"ece {found.reliability.ece:.4f} ({about})")
    return lines
