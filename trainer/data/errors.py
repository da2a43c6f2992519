"""Errors of datasets.

DatasetError                 the base class, with code, message and detail
├── BadName                  a dataset name that cannot be a folder's name
├── BadOption                a size, fit or other option that is not supported
├── DatasetMissing           no dataset of that name
├── DatasetDamaged           the files do not match dataset.json
├── UnknownSource            not built in, not torchvision's, and no existing folder or regular file
├── UnreadableSource         a folder or file that exists, but cannot be read
├── BadStructure             rejected before anything is written; the detail lists the problems
│   ├── BadLayout            folders that do not define classes
│   ├── BadManifest          a CSV or JSONL that cannot be read, or that does not fit the images
│   └── BadArchive           an unsafe zip, or not a zip
├── ImageError               a single image, of the three kinds below
│   ├── UnreadableImage      empty, truncated, or not an image
│   ├── UnsupportedImage     an image of an unsupported format
│   └── ImageTooLarge        more pixels than the limit
├── UnreadableImages         a rejected import; the detail names every unreadable file
├── DownloadFailed           no connection, an HTTP error, or a wrong checksum
└── DiskFull                 no space for the arrays
"""

from typing import Self

from trainer.errors import TrainerError


class DatasetError(TrainerError):
    code = "dataset_error"


class BadName(DatasetError):
    code = "bad_name"


class BadOption(DatasetError):
    code = "bad_option"


class DatasetMissing(DatasetError):
    code = "dataset_missing"


class DatasetDamaged(DatasetError):
    code = "dataset_damaged"


class UnknownSource(DatasetError):
    code = "unknown_source"


class UnreadableSource(DatasetError):
    code = "unreadable_source"


class BadStructure(DatasetError):
    code = "bad_structure"


class BadLayout(BadStructure):
    code = "bad_layout"


class BadManifest(BadStructure):
    code = "bad_manifest"


class BadArchive(BadStructure):
    code = "bad_archive"


class ImageError(DatasetError):
    code = "image_error"


class UnreadableImage(ImageError):
    code = "unreadable_image"

    @classmethod
    def of(cls, error: Exception) -> Self:
        """The error that a decoder's exception stands for; some have no message."""
        return cls(f"The image cannot be read: {str(error) or 'it is damaged'}.")


class UnsupportedImage(ImageError):
    code = "unsupported_image"


class ImageTooLarge(ImageError):
    code = "image_too_large"


class UnreadableImages(DatasetError):
    code = "unreadable_images"


class DownloadFailed(DatasetError):
    code = "download_failed"


class DiskFull(DatasetError):
    code = "disk_full"
