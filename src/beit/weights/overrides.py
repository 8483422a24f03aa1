"""What is given beside the name of a checkpoint: options of the config, and arguments of the published API."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from beit.config import BeitConfig
from beit.errors import ConfigError
from beit.weights.locate import FLAX_FILE, WEIGHT_FILES

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


@dataclass(frozen=True)
class PublishedArguments:
    """Arguments of the published `from_pretrained` that have another name here or choose among files."""

    torch_dtype: Any = None
    use_auth_token: str | bool | None = None
    device_map: Any = None
    use_safetensors: bool | None = None
    from_flax: bool = False

    @classmethod
    def taken_from(cls, given: dict[str, Any]) -> PublishedArguments:
        """Take them out of what was given; those that ask for what happens anyway, or for nothing, are dropped.

        Raises:
            ConfigError: If one asks for what is not done here.
        """
        for name in _GRANTED:
            given.pop(name, None)
        for name in _ONLY_NONE:
            if given.pop(name, None):
                raise ConfigError(f"{name} was given; it is not supported, leave it out")
        if isinstance(given.get("device_map"), Mapping):
            raise ConfigError("device_map is a mapping; expected one device for the whole model")
        return cls(**{name: given.pop(name) for name in cls.__dataclass_fields__ if name in given})

    @property
    def weight_files(self) -> tuple[str, ...]:
        """The files of a folder or repository that may be read, in order."""
        if self.from_flax:
            return (FLAX_FILE,)
        if self.use_safetensors is None:
            return WEIGHT_FILES
        return tuple(name for name in WEIGHT_FILES if (".safetensors" in name) == self.use_safetensors)


# A head for other classes is new and all else must fit; memory is always spared; nothing remote is ever executed.
_GRANTED = (
    "ignore_mismatched_sizes",
    "low_cpu_mem_usage",
    "trust_remote_code",
    "attn_implementation",
    "resume_download",
    "_fast_init",
)
_ONLY_NONE = ("variant", "proxies", "state_dict", "from_tf", "quantization_config", "offload_folder")
