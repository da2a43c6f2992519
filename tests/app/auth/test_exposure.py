"""One answer to the question which addresses only this machine reaches."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.auth.authenticate import Authentication
from app.auth.exposure import Exposed, check_exposure, is_loopback
from app.settings import Settings
from app.web.datasets.adding import check_path
from trainer.data.errors import UnknownSource


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("127.0.0.1", True),
        ("127.0.0.2", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.5", False),
        ("localhost.example", False),
    ],
)
def test_everything_agrees_on_what_the_loopback_is(tmp_path: Path, host: str, own: bool) -> None:
    settings = Settings(home=tmp_path, host=host)
    assert is_loopback(host) is own
    assert Authentication(settings).locked() is not own
    if own:
        check_exposure(settings)
        check_path(str(tmp_path), settings)
    else:
        with pytest.raises(Exposed):
            check_exposure(settings)
        with pytest.raises(UnknownSource):
            check_path(str(tmp_path), settings)
