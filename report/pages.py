"""The HTML pages of the report: templates in which every text is escaped and cleaned."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from texgen.plain_text import plain


def template(name: str) -> Template:
    """A template of report/templates. Its texts are escaped; what is marked as safe passes as it is."""
    environment = Environment(
        loader=PackageLoader("report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        finalize=_shown,
    )
    return environment.get_template(name)


def _shown(value: Any) -> Any:
    return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value
