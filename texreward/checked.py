"""Keyword arguments that have the names, types and rules of the configuration's fields."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from workflow.config.error_sentences import sentence
from workflow.config.sheets import ConfigError

Checked = TypeVar("Checked", bound=BaseModel)


def checked(where: str, model: type[Checked], fields: dict[str, Any]) -> Checked:
    """The block of some fields. where: the function, for messages. Raises ConfigError, a sentence each."""
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise ConfigError("\n".join(sentence(where, model, item) for item in error.errors())) from None
