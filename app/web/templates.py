"""The Jinja2 templates with their filters."""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi.templating import Jinja2Templates
from jinja2 import StrictUndefined
from markupsafe import Markup

from app.display import formatting
from app.display.formatting import (
    about,
    changes_text,
    count,
    duration,
    interval,
    metric,
    metric_name,
    number,
    percent,
    probability,
    setting,
    short,
    size,
)
from app.display.labels import setting_label
from app.display.markdown import markdown
from app.web.assets import asset_folder
from app.web.root import root


def make_templates() -> Jinja2Templates:
    templates = Jinja2Templates(asset_folder("templates"))
    environment = templates.env
    environment.filters |= {
        "about": about,
        "duration": duration,
        "number": number,
        "percent": percent,
        "short": short,
        "probability": probability,
        "size": size,
        "count": count,
        "setting": setting,
        "setting_label": setting_label,
        "metric_name": metric_name,
        "changes": changes_text,
        "clock": clock,
        "moment": moment,
        "markdown": markdown,
        "ago": ago,
    }
    environment.globals["interval"] = interval
    environment.globals["metric"] = metric
    environment.globals["root"] = root
    environment.undefined = StrictUndefined
    environment.trim_blocks = True
    environment.lstrip_blocks = True
    return templates


def clock(when: datetime | float | None) -> Markup | str:
    """A <time> element with the time of day in UTC, which the page converts to the local time zone."""
    return _time_element(when, "clock", "%H:%M")


def moment(when: datetime | float | None) -> Markup | str:
    """A <time> element with date and time in UTC, which the page converts to the local time zone."""
    return _time_element(when, "moment", "%Y-%m-%d %H:%M UTC")


def ago(when: datetime | None) -> Markup | str:
    """A <time> element with the time since then in coarse units; the page keeps it up to date."""
    if when is None:
        return ""
    text = formatting.ago((datetime.now(UTC) - when).total_seconds())
    return Markup('<time datetime="{}" data-time="ago" title="{}">{}</time>').format(
        when.isoformat(), when.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC"), text
    )


def _time_element(when: datetime | float | None, kind: str, pattern: str) -> Markup | str:
    if when is None:
        return ""
    if not isinstance(when, datetime):
        when = datetime.fromtimestamp(when, UTC)
    return Markup('<time datetime="{}" data-time="{}">{}</time>').format(
        when.isoformat(), kind, when.astimezone(UTC).strftime(pattern)
    )
