"""The HTML pages of the report: templates in which every text is escaped and cleaned."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from texgen.storage.plain_text import plain


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
    marked = hasattr(value, "__html__")  # as safe: HTML or a script of ours
    return plain(value) if isinstance(value, str) and not marked else value
