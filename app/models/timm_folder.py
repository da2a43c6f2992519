"""A run's network of timm as a folder that timm and Hugging Face read, in a zip: weights, config.json, model card."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

from app.display.formatting import metric
from app.errors import ApiError
from app.models.files import ModelFile, ModelFiles
from trainer.exported.portable import Portable
from trainer.spec.timm_models import TIMM, is_timm
from trainer.system.durable import placed

# What Pillow's resizing of the dataset's images is in timm's terms.
CROP_MODES = {"crop": "center", "pad": "border", "squash": "squash"}


def timm_folder(files: ModelFiles, run_id: str) -> tuple[ModelFile, Path]:
    """Return the run's exported model and the zip, written if it does not exist.

    Raises ApiError 404; 409: it is not a network of timm, there is no checkpoint, or it is damaged; DatasetError.
    """
    found = files.file(run_id)
    if not is_timm(found.about.model.name):
        raise ApiError(409, "not_timm", f"{found.about.model.name} is not a network of timm.")
    path = found.path.with_suffix(".timm.zip")
    if not path.exists():
        with placed(path) as fresh, zipfile.ZipFile(fresh, "w", zipfile.ZIP_STORED) as folder:
            folder.write(found.path, "model.safetensors")
            folder.writestr("config.json", json.dumps(config(found.about), indent=2))
            folder.writestr("README.md", card(found.about))
    return found, path


def config(about: Portable) -> dict[str, Any]:
    """The fields of timm's config.json."""
    size = about.input_size
    return {
        "architecture": about.model.name.removeprefix(TIMM),
        "num_classes": len(about.classes),
        "label_names": about.classes,
        "model_args": {
            name: value
            for name, value in (("drop_rate", about.model.dropout), ("drop_path_rate", about.model.drop_path))
            if value
        },
        "pretrained_cfg": {
            "input_size": [3, size, size],
            "interpolation": about.interpolation if size != about.size else "bicubic",
            "crop_pct": 1.0,
            "crop_mode": CROP_MODES[about.fit],
            "mean": about.mean,
            "std": about.std,
            "num_classes": len(about.classes),
        },
    }


def card(about: Portable) -> str:
    """The model card: Markdown with the metadata that Hugging Face reads."""
    figures = "\n".join(f"| {name} | {metric(name, value)} |" for name, value in sorted(about.measured.items()))
    return f"""---
library_name: timm
pipeline_tag: image-classification
tags: [image-classification, timm]
---
# {about.model.name.removeprefix(TIMM)}, trained on {about.dataset}

Run {about.run}, step {about.step:,}, epoch {about.epoch}. {len(about.classes)} classes, images of
{about.input_size} px.

```python
import timm

model = timm.create_model("local-dir:FOLDER", pretrained=True).eval()
transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
```

The folder is this one. On Hugging Face's hub, `hf-hub:OWNER/NAME` takes its place. The images that were trained on were
reduced to {about.size} px first.

| figure | value |
|---|---|
{figures}
"""
