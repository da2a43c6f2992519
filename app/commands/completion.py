"""Shell completion of arguments."""

from __future__ import annotations

from app.settings import Settings


def preset_names() -> list[str]:
    from trainer.spec.preset import presets

    return list(presets())


def dataset_names() -> list[str]:
    folder = Settings().datasets
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")) if folder.is_dir() else []


def setting_names() -> list[str]:
    from trainer.spec.preset import settable

    return [f"{name}=" for name in settable()]
