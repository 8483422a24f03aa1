"""Methods of the published config class beyond reading and writing: changes of many options at once, and names."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from beit.config.checks import check_options, shown
from beit.config.conversions import pruned_of
from beit.config.json_form import JsonConfig
from beit.errors import ConfigError

_DERIVED = ("model_type", "stage_names")  # in every dict of a config, and never set
_SPELLINGS = {"true": True, "1": True, "y": True, "yes": True, "false": False, "0": False, "n": False, "no": False}


class PublishedConfig(JsonConfig):
    """Base of `BeitConfig`."""

    _commit_hash: str | None = None  # of the repository; not kept
    attribute_map: ClassVar[dict[str, str]] = {}  # other names of options
    is_composition: ClassVar[bool] = False
    sub_configs: ClassVar[dict[str, Any]] = {}  # of models that are made of several

    def get_text_config(self, *_: Any, **__: Any) -> Self:
        """Return the config: there is no other."""
        return self

    def update(self, config_dict: Mapping[str, Any]) -> None:
        """Set options from a mapping, all of them or, if one cannot work, none.

        Raises:
            ConfigError: If an option has a value that no model can be built from.
        """
        changed = copy.copy(self)
        changed._unknown = dict(self._unknown)
        for name, value in config_dict.items():
            if name == "id2label":
                value = {int(index): label for index, label in value.items()}  # JSON has no numbers for keys
            if name == "pruned_heads":
                value = pruned_of(value)
            if name not in _DERIVED and (not hasattr(changed, name) or getattr(changed, name) != value):
                setattr(changed, name, value)
        check_options(changed)
        self.__dict__.update(vars(changed))

    def update_from_string(self, update_str: str) -> None:
        """Set options from a text such as "hidden_size=384,use_mask_token=true".

        Raises:
            ConfigError: If an option is unknown, is no number, flag or text, or has a value of another type.
        """
        pairs = [entry.partition("=") for entry in update_str.split(",")]
        self.update({name: self._parsed(name, value) for name, _, value in pairs})

    def _parsed(self, name: str, value: str) -> Any:
        """Return the value of an option from its text."""
        if not hasattr(self, name):
            raise ConfigError(f"there is no option {name!r}; expected option=value, separated by commas")
        kind = type(getattr(self, name))
        try:
            if kind is bool:
                return _SPELLINGS[value.lower()]
            if kind in (int, float, str):
                return kind(value)
        except (KeyError, ValueError):
            raise ConfigError(f"{name} is {shown(value)}; expected a value of type {kind.__name__}") from None
        raise ConfigError(f"{name} is of type {kind.__name__}; expected a number, flag or text, set it as an attribute")
