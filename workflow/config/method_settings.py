"""Configuration of painting methods: which settings of a method a configuration changes.

Nothing is typed here: the fields are those of `texgen.painting.presets.Preset` and of the methods' own
settings, with the types, rules and descriptions that they have there.
"""

from __future__ import annotations

from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import Field, create_model
from pydantic.fields import FieldInfo

from texgen.painting.method_facts import MethodFacts
from texgen.painting.presets import Preset
from texgen.render.setting_types import given_types
from workflow.config.kinds import METHODS
from workflow.config.strict import Strict

# What kinds that paint nothing here can be told.
FOREIGN_FIELDS = ("texture_size",)


def _own_fields() -> dict[str, dict[str, Any]]:
    """Field -> kind -> annotation, of the settings that only some methods have."""
    found: dict[str, dict[str, Any]] = {}
    for kind, method in METHODS.items():
        facts = method.load_facts()
        if facts is not None and facts.settings is not None:
            for name, annotation in given_types(facts.settings).items():
                found.setdefault(name, {})[kind] = annotation
    return found


OWN_FIELDS = _own_fields()


def _described(name: str, kinds: dict[str, Any]) -> Any:
    """One annotation for a field that some kinds have; its description says which."""
    text = next(
        extra.description
        for annotation in kinds.values()
        if get_origin(annotation) is Annotated
        for extra in get_args(annotation)
        if isinstance(extra, FieldInfo) and extra.description
    )
    joined = Union[tuple(dict.fromkeys(kinds.values()))]  # noqa: UP007 (of a computed list)
    return Annotated[joined, Field(description=f"{', '.join(kinds)}: {text[0].lower()}{text[1:]}")]


class _Overrides(Strict):
    """Settings of a method that this configuration changes; what is left out keeps the method's own value.

    A field that the method does not honour is refused.
    """

    def changes(self) -> dict[str, Any]:
        """The fields that were given, as `MethodFacts.resolved` takes them."""
        return self.model_dump(exclude_unset=True)

    def refusal(self, kind: str, facts: MethodFacts | None) -> tuple[str, str] | None:
        """(field, reason) of the first field that a kind of method does not honour, or None."""
        for name in sorted(self.model_fields_set):
            if METHODS[kind].paints and facts is None:
                return name, f"does nothing for a method of kind {kind}; give it among its arguments"
            if not METHODS[kind].paints:
                if name not in FOREIGN_FIELDS:
                    return name, f"does nothing for a method of kind {kind}; remove it"
            elif name in OWN_FIELDS and kind not in OWN_FIELDS[name]:
                return name, f"is a field of another kind of method than {kind}; remove it"
            elif facts is not None and name in facts.ignores:
                return name, f"is ignored by the method {kind}; remove it"
        return None


FIELDS: dict[str, Any] = {
    name: (annotation, None)
    for name, annotation in (
        {name: each for name, each in given_types(Preset).items() if name != "name"}
        | {name: _described(name, kinds) for name, kinds in OWN_FIELDS.items()}
    ).items()
}
PresetOverrides = create_model("PresetOverrides", __base__=_Overrides, __doc__=_Overrides.__doc__, **FIELDS)
