"""Adapters of peft inside a model, by the methods that models of transformers have.

`peft.get_peft_model` wraps a model; these put the same layers into it, and it stays the class that it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from torch import Tensor, nn

from beit.errors import CheckpointError, ConfigError, MissingExtraError, shortened
from beit.files import read_json, reading, write_text
from beit.hub import HubOptions
from beit.models_torch.loading import is_finite, read_tensor, write_safetensors
from beit.models_torch.timm_methods import TimmMethods
from beit.weights import ADAPTER_CONFIG, ADAPTER_WEIGHTS, LazyTensor, not_finite, open_adapter, with_names_of

_PEFT_ROOT = "base_model.model."  # the model inside one that peft has wrapped


class AdapterMethods(TimmMethods):
    """Base of models that adapters are put into, switched and taken out of."""

    peft_config: dict[str, Any]  # by the names of the adapters; both attributes have the names that peft looks for
    _hf_peft_config_loaded: bool = False

    @property
    def has_adapters(self) -> bool:
        """True if there is an adapter in the model, acting or not."""
        return self._hf_peft_config_loaded

    def add_adapter(self, adapter_config: Any, adapter_name: str | None = None) -> None:
        """Put a new adapter into the model and freeze all else; it is the active one.

        Args:
            adapter_config: A config of peft, such as `LoraConfig(target_modules=["query", "value"])`.
            adapter_name: Its name, "default" unless there are several.

        Raises:
            ConfigError: If it is no config of peft, or there is an adapter of this name.
            MissingExtraError: If peft is not installed.
        """
        peft = _peft()
        if not isinstance(adapter_config, import_module("peft").PeftConfig):
            raise ConfigError(
                f"adapter_config is of type {type(adapter_config).__name__}; expected a config of peft, such as "
                "peft.LoraConfig(target_modules=['query', 'value'])"
            )
        adapter_config.base_model_name_or_path = self.name_or_path or None
        self._put_in(peft, adapter_config, adapter_name or "default")
        self.set_adapter(adapter_name or "default")

    def load_adapter(
        self,
        peft_model_id: str | Path | None = None,
        adapter_name: str | None = None,
        revision: str | None = None,
        token: str | bool | None = None,
        device_map: Any = "auto",
        max_memory: Any = None,
        offload_folder: str | None = None,
        offload_index: int | None = None,
        peft_config: Any = None,
        adapter_state_dict: Mapping[str, Tensor] | None = None,
        is_trainable: bool = False,
        adapter_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        """Put an adapter from a folder, or a repository of the hub, into the model.

        It may have been trained on transformers 4.x or 5.x, and on a model with another head.

        Args:
            peft_model_id: The folder or repository. None: there are `peft_config` and `adapter_state_dict`.
            adapter_name: The name that it gets, "default" unless there are several.
            revision: Branch, tag or commit on the hub.
            token: Access token for the hub.
            device_map: Accepted for the published API, as `max_memory`, `offload_folder` and `offload_index` are: an
                adapter is where its layer is.
            max_memory: See `device_map`.
            offload_folder: See `device_map`.
            offload_index: See `device_map`.
            peft_config: Its config, instead of the stored one.
            adapter_state_dict: Its tensors, instead of stored ones.
            is_trainable: Whether it goes on learning; else it is frozen and the model in evaluation.
            adapter_kwargs: Arguments of the hub, such as `subfolder`, `cache_dir` and `local_files_only`.

        Raises:
            CheckpointError: If the files are missing or damaged, or belong to another model.
            ConfigError: If there is an adapter of this name, or nothing to load.
            MissingExtraError: If peft is not installed.
        """
        peft, name = _peft(), adapter_name or "default"
        self._check_new(name)
        if peft_model_id is None and (peft_config is None or adapter_state_dict is None):
            raise ConfigError("load_adapter got no peft_model_id; expected one, or peft_config and adapter_state_dict")
        if peft_model_id is not None:
            options: dict[str, Any] = {"revision": revision, "token": token, **(adapter_kwargs or {})}
            stored, file = open_adapter(peft_model_id, HubOptions(**options))
            if peft_config is None:
                peft_config = _stored_config(file)
            if adapter_state_dict is None:
                adapter_state_dict = _read(stored, str(peft_model_id))
        root = f"{self.base_model_prefix}." if hasattr(self, self.base_model_prefix) else ""
        tensors, modules = with_names_of(dict(self.named_modules()), root, adapter_state_dict or {})
        if modules:  # it was trained under other names, which its config has too
            peft_config.target_modules = modules
        peft_config.inference_mode = not is_trainable
        source = str(peft_model_id or "adapter_state_dict")
        _check_rank(peft_config, tensors, source)
        try:
            with reading(source, "an adapter of this model"):
                self._fill(peft, peft_config, name, tensors, source)
        except CheckpointError:
            self._forget(name)
            raise
        if not is_trainable:
            self.eval()

    def set_adapter(self, adapter_name: str | list[str]) -> None:
        """Let one adapter act, or several together, and no other.

        Raises:
            ConfigError: If there is none of that name.
        """
        self._check_names([adapter_name] if isinstance(adapter_name, str) else adapter_name)
        _peft().set_adapter(self, adapter_name)

    def disable_adapters(self) -> None:
        """Let no adapter act: the numbers are those of the model without any."""
        self._check_names([])
        for layer in self._adapted_layers():
            layer.enable_adapters(enabled=False)

    def enable_adapters(self) -> None:
        """Undo `disable_adapters`."""
        self._check_names([])
        for layer in self._adapted_layers():
            layer.enable_adapters(enabled=True)

    def active_adapters(self) -> list[str]:
        """Return the names of the adapters that act."""
        self._check_names([])
        active = next(iter(self._adapted_layers())).active_adapter
        return [active] if isinstance(active, str) else list(active)

    def active_adapter(self) -> str:
        """Return the name of the first adapter that acts."""
        return self.active_adapters()[0]

    def get_adapter_state_dict(
        self, adapter_name: str | None = None, state_dict: Mapping[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """Return the tensors of an adapter, the active one by default, without its name in theirs."""
        name = adapter_name or self.active_adapter()
        self._check_names([name])
        return self._stored(_peft(), name, state_dict)

    def delete_adapter(self, adapter_names: str | list[str]) -> None:
        """Take adapters out; after the last one, the layers are those that they were."""
        names = [adapter_names] if isinstance(adapter_names, str) else adapter_names
        self._check_names(names)
        for name in names:
            kind = self.peft_config.pop(name).peft_type.value
            _peft().delete_adapter(self, adapter_name=name, prefix=f"{kind.lower()}_")
        if not self.peft_config:
            self._take_out_layers()
            self._hf_peft_config_loaded = False

    def save_adapter(
        self, folder: Path, state_dict: Mapping[str, Tensor] | None = None, save_peft_format: bool = True
    ) -> None:
        """Write the active adapter as peft does: `adapter_config.json` and `adapter_model.safetensors`.

        Args:
            folder: It is made if needed.
            state_dict: Take these values of the whole model.
            save_peft_format: Write the names of a model that is wrapped by peft, which all readers know.

        Raises:
            ConfigError: If several adapters act.
            StorageError: If the disk is full; an earlier file is untouched.
        """
        active = self.active_adapters()
        if len(active) > 1:
            raise ConfigError(f"the adapters {active} act; expected one, choose by set_adapter and save one by one")
        tensors = self.get_adapter_state_dict(active[0], state_dict)
        root = _PEFT_ROOT if save_peft_format else ""
        write_safetensors(folder / ADAPTER_WEIGHTS, {f"{root}{name}": tensor for name, tensor in tensors.items()})
        with TemporaryDirectory() as written:
            self.peft_config[active[0]].save_pretrained(written)
            write_text(folder / ADAPTER_CONFIG, (Path(written) / ADAPTER_CONFIG).read_text(encoding="utf-8"))

    def _stored(self, peft: Any, name: str, state_dict: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Return what is stored of an adapter; no embeddings, for which the hub would be asked about its base model."""
        return peft.get_peft_model_state_dict(
            self, state_dict=state_dict, adapter_name=name, save_embedding_layers=False
        )

    def _put_in(self, peft: Any, config: Any, name: str) -> None:
        self._check_new(name)
        peft.inject_adapter_in_model(config, self, name)
        self._hf_peft_config_loaded = True

    def _fill(self, peft: Any, config: Any, name: str, tensors: dict[str, Tensor], source: str) -> None:
        """Put an adapter into the model with the tensors that it was saved with.

        Raises:
            CheckpointError: If the model has no place for some, or some are missing.
        """
        self._put_in(peft, config, name)
        found = peft.set_peft_model_state_dict(self, tensors, name)
        own = self._stored(peft, name)
        missing = [part for part in own.keys() - tensors.keys() if "lora_A." in part or "lora_B." in part]
        if found.unexpected_keys or missing:
            held = bool(found.unexpected_keys)
            names, has = (found.unexpected_keys, "has not") if held else (missing, "has")
            raise CheckpointError(
                f"{source} {'holds' if held else 'lacks'} {sorted(names)[:3]}, which the model {has}; expected an "
                "adapter of this model, check its target_modules"
            )

    def _forget(self, name: str) -> None:
        """Take out what has been put in of an adapter that cannot be loaded."""
        if name not in getattr(self, "peft_config", {}):
            return
        self._hf_peft_config_loaded = True
        if len(self.peft_config) > 1:
            self.delete_adapter(name)
        else:  # of which not all layers may be there
            self._take_out_layers()
            self._hf_peft_config_loaded = False

    def _check_new(self, name: str) -> None:
        if self._hf_peft_config_loaded and name in self.peft_config:
            raise ConfigError(f"there is an adapter {name!r} already; choose another adapter_name, or delete it first")

    def _check_names(self, names: list[str]) -> None:
        if not self._hf_peft_config_loaded:
            raise ConfigError("there is no adapter in the model; expected one by add_adapter or load_adapter")
        if unknown := [name for name in names if name not in self.peft_config]:
            raise ConfigError(f"there is no adapter {unknown[0]!r}; expected one of {list(self.peft_config)}")

    def _adapted_layers(self) -> Iterator[Any]:
        """Yield the layers of peft, and the modules that it trains beside a frozen copy."""
        kinds = (import_module("peft.tuners.tuners_utils").BaseTunerLayer, _trained_modules())
        yield from (module for module in self.modules() if isinstance(module, kinds))

    def _take_out_layers(self) -> None:
        trained = _trained_modules()
        for name, module in reversed(list(self.named_modules())):  # what lies inside of another first
            parent, _, own = name.rpartition(".")
            if isinstance(module, trained):
                setattr(self.get_submodule(parent), own, cast(Any, module).original_module)
            elif hasattr(module, "get_base_layer"):
                setattr(self.get_submodule(parent), own, cast(Any, module).get_base_layer())
        del self.peft_config


def _stored_config(file: Path) -> Any:
    """Return the config of an adapter on this disk.

    Raises:
        CheckpointError: If it is missing, damaged, or none of peft.
    """
    expected = "the config of an adapter, as peft writes it"
    read_json(file, expected, error=CheckpointError)  # within bounds, which peft has none of
    with reading(file, expected):
        return import_module("peft").PeftConfig.from_pretrained(str(file.parent))


def _check_rank(config: Any, tensors: Mapping[str, Tensor], source: str) -> None:
    """Refuse a rank beyond every side of the stored tensors: memory is taken by it, before they are compared.

    Raises:
        CheckpointError: If it is larger, or no number.
    """
    longest = max((side for tensor in tensors.values() for side in tensor.shape), default=0)
    patterns: Any = getattr(config, "rank_pattern", None) or {}
    for rank in (getattr(config, "r", 0), *(patterns.values() if isinstance(patterns, Mapping) else [patterns])):
        if not isinstance(rank, int) or rank > longest:
            raise CheckpointError(
                f"{source} has rank {shortened(rank)} in its {ADAPTER_CONFIG}, and no tensor with a side of more than "
                f"{longest}; expected the rank of its tensors: correct it"
            )


def _read(stored: Mapping[str, LazyTensor], source: str) -> dict[str, Tensor]:
    tensors = {name: read_tensor(tensor) for name, tensor in stored.items()}
    if broken := [name for name, tensor in tensors.items() if not is_finite(tensor)]:
        raise not_finite(source, broken[0])
    return tensors


def _trained_modules() -> type[nn.Module]:
    return import_module("peft.utils").ModulesToSaveWrapper


def _peft() -> Any:
    """Return what peft has for models that it does not wrap.

    Raises:
        MissingExtraError: If it is not installed, or older than these.
    """
    try:
        return import_module("peft.functional")
    except ModuleNotFoundError:
        raise MissingExtraError(
            "the library 'peft' is not installed, or older than 0.18; for adapters run: pip install -U peft"
        ) from None
