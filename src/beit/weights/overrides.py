"""Options given beside a checkpoint: known ones only, and not beside a whole config."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from typing import Any

from beit.config import BeitConfig
from beit.errors import ConfigError

_BEYOND_THE_SIGNATURE = (
    "num_labels",
    "id2label",
    "label2id",
    "problem_type",
    "output_attentions",
    "output_hidden_states",
    "return_dict",
    "out_indices_meaning",
    "batch_norm_eps",
)


def check_overrides(config_class: type[BeitConfig], overrides: Mapping[str, Any], given_config: bool) -> None:
    """Refuse misspelt options, which a config would silently keep as keys of another version.

    Raises:
        ConfigError: Naming the nearest option.
    """
    if given_config and overrides:
        raise ConfigError(f"config was given and {sorted(overrides)} beside it; change the config instead")
    known = [*inspect.signature(config_class.__init__).parameters, *_BEYOND_THE_SIGNATURE]
    for name in overrides:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ConfigError(f"there is no option {name!r}{hint}")
