"""Settings from environment variables with the prefix TRACKSIDE_. They are frozen and passed to what needs them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import URL, make_url

from app.environment import DatabaseUrl, DeviceName, HomePath, HostNames, Names, ProxyAddresses, RootPath

PREFIX = "TRACKSIDE_"
# Read by the client of scripts, and no settings of the server.
CLIENT = frozenset(
    PREFIX + name
    for name in (
        "URL", "TOKEN", "TOKEN_FILE", "MODE", "SPOOL", "KEEP_SPOOL", "FINISH_SECONDS", "GIT", "SILENT", "RANK", "WATCH",
    )
)  # fmt: skip
OWN_NAMES = ("127.0.0.1", "localhost", "[::1]")


class Settings(BaseSettings):
    # An empty variable counts as unset: compose files produce empty ones.
    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, allow_inf_nan=False)

    home: HomePath = Field(Path("home"), description="Folder of everything that is kept.")
    database_url: DatabaseUrl | None = Field(
        None,
        description="URL of a PostgreSQL database; SQLite in the home by default.",
        examples=["postgresql://me:secret@localhost/trackside"],
    )
    host: str = Field("127.0.0.1", description="Address that the server listens on.")
    port: int = Field(8000, ge=0, le=65535)
    allowed_hosts: HostNames = Field(
        (),
        description="Names accepted in the Host header, besides those of the loopback and `host` itself.",
        examples=["machine.lan,trackside.example.org"],
    )
    insecure: bool = Field(False, description="Serve others than this machine without a password.")
    trusted_proxies: ProxyAddresses = Field(
        (),
        description="Addresses whose X-Forwarded-For, X-Forwarded-Proto and X-Forwarded-Prefix are believed.",
        examples=["127.0.0.1,10.0.0.0/8"],
    )
    root_path: RootPath = Field(
        "",
        description="Path under which a reverse proxy serves Trackside: all addresses begin with it.",
        examples=["/trackside"],
    )
    session_days: float = Field(30.0, gt=0, le=365, description="Time after which one signs in again.")
    recheck_seconds: float = Field(
        15.0, gt=0, description="A live stream whose reader may no longer read ends by then."
    )

    lease_seconds: float = Field(15.0, gt=0, description="A claim not renewed for so long may be taken over.")
    max_attempts: int = Field(3, ge=1, description="Trainer deaths after which a run is failed.")
    orphan_seconds: float = Field(600.0, gt=0, description="A trainer that nobody owns ends after so long.")
    remote_patience_seconds: float = Field(
        30.0, gt=0, description="A run whose node has been silent for so long goes on elsewhere."
    )
    stop_seconds: float = Field(30.0, gt=0, description="Time for a trainer to save before it is killed.")
    expect_workers: bool = Field(False, description="readyz is 503 until a worker is connected.")

    header_seconds: float = Field(20.0, gt=0, description="Longest time in which a request's headers arrive.")
    body_seconds: float = Field(30.0, gt=0, description="Longest silence within a request's body.")
    keep_alive_seconds: int = Field(30, gt=0, description="A connection without a request is closed after so long.")
    max_body_bytes: int = Field(1 << 20, gt=0, description="Largest JSON or form body.")
    max_image_bytes: int = Field(20 << 20, gt=0, description="Largest image posted for prediction.")
    max_images: int = Field(64, gt=0, description="Most images in one predict call.")
    max_pixels: int = Field(50_000_000, gt=0, description="Most pixels of an uploaded image.")
    max_dataset_bytes: int = Field(64 << 30, gt=0, description="Largest zip of images.")
    silent_seconds: float = Field(60.0, gt=0, description="A script of which so long nothing is heard is silent.")
    max_script_events_bytes: int = Field(
        8 << 30, gt=0, description="Most bytes of events that one execution of a script may log."
    )
    max_script_file_bytes: int = Field(1 << 30, gt=0, description="Largest file that a script may save.")
    max_streams: int = Field(
        2000, gt=0, description="Most live streams at once; half of the files that may be open at most."
    )
    max_queued_predictions: int = Field(256, gt=0)
    custom_models: Names = Field(
        (), description="Models of one's own, as package.module:function, that a request may name."
    )
    allow_private_alerts: bool = Field(
        False, description="Alerts may be sent to addresses of this machine and its network, such as a mail server."
    )
    public_url: str = Field(
        "",
        description="Address under which people open Trackside, for links in alerts and share links.",
        examples=["https://lab.org"],
    )
    predictor_device: DeviceName = Field("cpu", description="Device that predictions run on.")

    @property
    def url(self) -> URL:
        if self.database_url is not None:
            return make_url(self.database_url)
        # Not formatted into a text: the path may contain characters that have a meaning in a URL.
        return URL.create("sqlite", database=str(self.home.resolve() / "trackside.db"))

    @property
    def hosts(self) -> frozenset[str]:
        """Names accepted in the Host header. `host` is one unless it is a wildcard: DNS cannot rebind an address."""
        own = f"[{self.host}]" if ":" in self.host else self.host
        listening = {own.lower()} if own not in ("0.0.0.0", "[::]") else set()
        return frozenset({*OWN_NAMES, *self.allowed_hosts, *listening})

    @property
    def access(self) -> Path:
        """Folder of the password's and the tokens' hashes, readable only by its owner."""
        return self.home / "access"

    @property
    def runs(self) -> Path:
        return self.home / "runs"

    @property
    def tasks(self) -> Path:
        return self.home / "tasks"

    @property
    def alerts(self) -> Path:
        return self.home / "alerts"

    @property
    def reports(self) -> Path:
        return self.home / "reports"

    @property
    def searches(self) -> Path:
        return self.home / "searches"

    @property
    def uploads(self) -> Path:
        """Files that are being received. The web process deletes what is left of them when it starts."""
        return self.home / "uploads"

    @property
    def datasets(self) -> Path:
        return self.home / "datasets"

    @property
    def cache(self) -> Path:
        """Files that can be computed again."""
        return self.home / "cache"

    @property
    def model_cache(self) -> Path:
        """Exported models, one folder per run."""
        return self.cache / "models"

    @property
    def execution_cache(self) -> Path:
        """How each network was executed fastest, one file per verdict."""
        return self.cache / "execution"

    @property
    def weights(self) -> Path:
        """Weight files that a run may start from."""
        return self.home / "weights"

    @property
    def predictor_socket(self) -> Path:
        return self.home / "predictor.sock"


def problems(error: ValidationError) -> Iterator[str]:
    """Yield a line per invalid setting: the environment variable, what is wrong, and a valid value."""
    for item in error.errors(include_url=False):
        name = str(item["loc"][0])
        field = Settings.model_fields[name]
        variable = PREFIX + name.upper()
        valid = (field.examples or [field.default])[0]
        reason = str(item["ctx"]["error"]) if item["type"] == "value_error" else item["msg"]
        reason = reason[:1].lower() + reason[1:]
        # A database's URL may contain a password.
        given = os.environ.get(variable) or item["input"] if name != "database_url" else "…"
        yield f"{variable}={given}: {reason}. A valid value: {variable}={valid}"


def misspelled(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield a line per environment variable that is no setting but looks like one."""
    known = [PREFIX + name.upper() for name in Settings.model_fields]
    for variable in sorted(environment):
        if variable.startswith(PREFIX) and variable not in known and variable not in CLIENT:
            for meant in get_close_matches(variable, known, n=1, cutoff=0.85):
                yield f"{variable} is not a setting: is {meant} meant?"
