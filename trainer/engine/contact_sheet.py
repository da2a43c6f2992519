"""Contact sheets: several images in one picture."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from torch import Tensor

from trainer.system.durable import placed

COLUMNS = 16


def save_sheet(path: Path, images: Tensor) -> dict[str, int | str]:
    """Save `images` (float B×3×H×W from 0 to 1) as a PNG, without gaps, and return its name and layout."""
    count, _, height, width = images.shape
    path.parent.mkdir(parents=True, exist_ok=True)
    with placed(path, mode=0o666, alone=True) as fresh:
        sheet_of(images).save(fresh, "PNG")
    return {"name": path.stem, "columns": min(COLUMNS, count), "width": width, "height": height, "count": count}


def sheet_of(images: Tensor) -> Image.Image:
    """Arrange `images` (float B×3×H×W from 0 to 1) in a grid with COLUMNS per row, without gaps."""
    count, _, height, width = images.shape
    columns = min(COLUMNS, count)
    sheet = Image.new("RGB", (columns * width, -(-count // columns) * height))
    pixels = (255 * images).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    for index, image in enumerate(pixels):
        row, column = divmod(index, columns)
        sheet.paste(Image.fromarray(image), (column * width, row * height))
    return sheet
