"""Arguments of `from_pretrained`: location of a checkpoint's files, config overrides, published aliases."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beit.catalog import PublicCheckpoint, nearest_published, public_checkpoint
from beit.config import CONFIG_NAME, UNUSED, BeitConfig
from beit.errors import CheckpointError, ConfigError, UnavailableError
from beit.files import check_path, read_json
from beit.geometry import BIAS_RESIZE
from beit.hub import HubOptions, fetch_url, file_beside, hub_file, is_hub_name
from beit.weights.adapter import ADAPTER_FILES

WEIGHTS_NAME = "model.safetensors"
INDEX_NAME = f"{WEIGHTS_NAME}.index.json"  # of the same in shards
FLAX_FILE = "flax_model.msgpack"
# In order of preference: the safest and fastest to read first.
WEIGHT_FILES = (
    WEIGHTS_NAME,
    INDEX_NAME,
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    FLAX_FILE,
)
FILE_SUFFIXES = (".safetensors", ".bin", ".pth", ".pt", ".pkl", ".ckpt", ".msgpack", ".json")
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
    "mask_tokens_in_decoder",
    "gradient_checkpointing",
    "pruned_heads",
    "torchscript",
    "architectures",
    "name_or_path",
    *UNUSED,
)
# Accepted without effect: memory is always spared, and no remote code is ever executed.
_WITHOUT_EFFECT = (
    "low_cpu_mem_usage",
    "trust_remote_code",
    "resume_download",
    "mirror",
    "weights_only",
    "code_revision",
    "commit_hash",
    "generation_config",
    "offload_state_dict",
    "offload_buffers",
    "_fast_init",
    "adapter_kwargs",
    "_from_auto",
    "_from_pipeline",
    "_commit_hash",
)
_SPREAD = ("balanced", "balanced_low_0", "sequential")  # ways to place parts on all devices, whatever memory they have
_UNSUPPORTED = (
    "proxies", "from_tf", "quantization_config", "load_in_8bit", "load_in_4bit", "key_mapping", "gguf_file", "tp_plan",
)  # fmt: skip


@dataclass(frozen=True)
class Located:
    """The files of a checkpoint.

    Attributes:
        source: The name that the user gave, for messages.
        weights: The file of weights, or the index of its shards.
        config: Its `config.json`, None if it has none.
        public: The published checkpoint that was asked for, None for a private one.
        options: Options by which shards are fetched from the hub; None for local files.
        repository: The hub repository, "" for local files.
    """

    source: str
    weights: Path
    config: Path | None
    public: PublicCheckpoint | None = None
    options: HubOptions | None = None
    repository: str = ""

    def sibling(self, name: str) -> Path:
        """Return another file of the same folder or repository.

        Raises:
            UnavailableError: If it does not exist.
        """
        path = file_beside(self.repository or self.weights, name, self.options or HubOptions())
        if path is not None:
            return path
        raise UnavailableError(f"{self.source} has no file {name!r}, which its index names; fetch it again")


def locate(name: str | Path, options: HubOptions, files: Sequence[str] = WEIGHT_FILES) -> Located:
    """Find the files of a checkpoint.

    Args:
        name: A folder, a file, "owner/repository" on the hub, or the name of a published checkpoint.
        options: How the hub is used.
        files: Names of files that may hold weights, in order of preference.

    Raises:
        UnavailableError: If no checkpoint of that name exists or can be reached.
    """
    check_path(name, "a model folder, a file of weights, a hub repository or a published name", CheckpointError)
    path = Path(name)
    if path.is_dir():
        return _in_folder(path / options.subfolder, files)
    if path.name == CONFIG_NAME and path.is_file():
        return _in_folder(path.parent, files)
    if path.is_file():
        return Located(str(path), path, file_beside(path, CONFIG_NAME, options))
    public = public_checkpoint(str(name))
    if public is not None and public.hub is None:
        return Located(str(name), fetch_url(public.url, options), None, public)
    repository = public.hub if public is not None and public.hub is not None else str(name)
    if not is_hub_name(repository) or Path(repository).suffix in FILE_SUFFIXES:
        raise UnavailableError(
            f"{name} does not exist; expected a model folder, a file of weights, a hub repository (owner/name) "
            f"or a published checkpoint (beit models lists them){nearest_published(str(name))}"
        )
    try:
        return _on_hub(repository, public, options, files)
    except UnavailableError as error:
        if public is None and (near := nearest_published(repository) or _nearest_folder(repository)):
            raise UnavailableError(f"{error}{near}") from error
        raise


def _nearest_folder(name: str) -> str:
    """Return "; did you mean runs/pets?" for a name that is nearly that of a folder on this machine, or nothing."""
    path = Path(name)
    folders = [place.name for place in path.parent.iterdir() if place.is_dir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, folders, n=1)
    return f"; did you mean {path.parent / near[0]}?" if near else ""


def _in_folder(folder: Path, files: Sequence[str]) -> Located:
    config = folder / CONFIG_NAME
    for name in (*files, *ADAPTER_FILES):
        if (folder / name).is_file():
            return Located(str(folder), folder / name, config if config.is_file() else None)
    if config.is_file():
        read_json(config, BeitConfig.EXPECTED, error=UnavailableError)  # a damaged one is the clearer message
    if (folder / "model" / CONFIG_NAME).is_file():
        raise UnavailableError(f"{folder} is a run, whose model lies in a folder of its own; name {folder / 'model'}")
    others = sorted(place.name for place in folder.iterdir() if place.suffix in FILE_SUFFIXES[:-1] and place.is_file())
    named = f": name the file, such as {folder / others[0]}" if others else ""
    raise UnavailableError(f"{folder} does not hold weights; expected one of {list(files)}{named}")


def _on_hub(repository: str, public: PublicCheckpoint | None, options: HubOptions, files: Sequence[str]) -> Located:
    config = hub_file(repository, CONFIG_NAME, options)
    for name in (*files, *ADAPTER_FILES):
        if (path := hub_file(repository, name, options)) is not None:
            return Located(repository, path, config, public, options, repository)
    raise UnavailableError(f"the hub repository {repository} holds no weights; expected one of {list(files)}")


def check_arguments(
    config_class: type[BeitConfig], overrides: Mapping[str, Any], given_config: bool, bias_resize: str
) -> None:
    """Refuse an unknown method to resize bias tables, and misspelt options, which a config would silently keep.

    Raises:
        ConfigError: Naming the known methods, or the nearest option.
    """
    if bias_resize not in BIAS_RESIZE:
        raise ConfigError(f"bias_resize is {bias_resize!r}; expected one of {list(BIAS_RESIZE)}")
    if given_config and overrides:
        raise ConfigError(f"config was given and {sorted(overrides)} beside it; change the config instead")
    known = [*inspect.signature(config_class.__init__).parameters, *_BEYOND_THE_SIGNATURE]
    for name in overrides:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ConfigError(f"there is no option {name!r}{hint}")


def with_variant(name: str, variant: str | None) -> str:
    """Return the name of a file with a variant before its ending, such as `model.fp16.safetensors`."""
    stem, dot, ending = name.rpartition(".")
    return name if variant is None else f"{stem}.{variant}{dot}{ending}"


@dataclass(frozen=True)
class PublishedArguments:
    """Arguments of the published `from_pretrained` that have another name here or select files."""

    torch_dtype: Any = None
    use_auth_token: str | bool | None = None
    device_map: Any = None
    max_memory: Mapping[int | str, int | str] | None = None
    offload_folder: str | Path | None = None
    use_safetensors: bool | None = None
    from_flax: bool = False
    variant: str | None = None
    attn_implementation: Any = None
    use_flash_attention_2: bool = False
    ignore_mismatched_sizes: bool = False  # a head for other classes may be new; all else must match

    @classmethod
    def taken_from(cls, given: dict[str, Any]) -> PublishedArguments:
        """Remove them from the given arguments and return them; those without effect are dropped.

        Raises:
            ConfigError: If one of them is not supported.
        """
        for name in _WITHOUT_EFFECT:
            given.pop(name, None)
        for name in _UNSUPPORTED:
            if given.pop(name, None):
                raise ConfigError(f"{name} was given; it is not supported, leave it out")
        return cls(**{name: given.pop(name) for name in cls.__dataclass_fields__ if name in given})

    @property
    def attention(self) -> Any:
        """The way to compute attention that is asked for; None if none is."""
        return "flash_attention_2" if self.use_flash_attention_2 else self.attn_implementation

    @property
    def is_divided(self) -> bool:
        """True if the parts of a model may lie in several places, which accelerate then looks after."""
        if isinstance(self.device_map, Mapping):
            return {"disk"} == set(self.device_map.values()) or len(set(self.device_map.values())) > 1
        return self.device_map in _SPREAD or (self.max_memory is not None and self.device_map is not None)

    @property
    def device(self) -> Any:
        """The device that the whole model is loaded to; None if none is named."""
        if self.is_divided:
            return "cpu"  # accelerate moves its parts from there
        return next(iter(self.device_map.values())) if isinstance(self.device_map, Mapping) else self.device_map

    @property
    def weight_files(self) -> tuple[str, ...]:
        """The files of a folder or repository that may be read, in order."""
        if self.from_flax:
            return (with_variant(FLAX_FILE, self.variant),)
        return tuple(
            with_variant(name, self.variant)
            for name in WEIGHT_FILES
            if self.use_safetensors is None or (".safetensors" in name) == self.use_safetensors
        )
