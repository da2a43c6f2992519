"""What can go wrong with a data set.

DatasetError                 the root: code, message, detail, as the one error shape has them
├── BadName                  a data set name that cannot be a folder's name
├── BadOption                a size, fit or the like that is not offered
├── DatasetMissing           no data set under that name
├── DatasetDamaged           its files do not agree with its dataset.json
├── UnknownSource            neither built in, nor torchvision's, nor a path that exists
├── BadStructure             refused before anything is written; the detail lists the problems
│   ├── BadLayout            folders that do not spell classes
│   └── BadArchive           a zip that is unsafe, or none
├── ImageError               one image (three kinds, below)
│   ├── UnreadableImage      empty, truncated, or no image at all
│   ├── UnsupportedImage     an image, of a format that is not taken
│   └── ImageTooLarge        more pixels than the limit
├── UnreadableImages         an import refused: the detail names every bad file
├── DownloadFailed           no connection, a refusal, or a checksum that does not match
└── DiskFull                 no room for the arrays
"""

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


class BadStructure(DatasetError):
    code = "bad_structure"


class BadLayout(BadStructure):
    code = "bad_layout"


class BadArchive(BadStructure):
    code = "bad_archive"


class ImageError(DatasetError):
    code = "image_error"


class UnreadableImage(ImageError):
    code = "unreadable_image"


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
