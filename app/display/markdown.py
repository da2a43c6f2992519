"""Notes in Markdown, as HTML."""

from __future__ import annotations

from markdown_it import MarkdownIt
from markupsafe import Markup

MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])


def markdown(text: str) -> Markup:
    """Return safe HTML: tags in `text` are shown as they are typed, and links with other schemes than http are not."""
    return Markup(MARKDOWN.render(text))
