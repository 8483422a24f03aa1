"""Saving of all models: weights as one file or as shards with the index that transformers reads, and their config."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from beit.config import CONFIG_NAME, BeitConfig
from beit.errors import ConfigError, warn
from beit.files import write_json, write_text
from beit.hub import push_model, push_target
from beit.models_torch.adapters import AdapterMethods
from beit.models_torch.loading import dtype_name, outputs_of, shared_names, state_of, write_safetensors
from beit.weights import WEIGHTS_NAME, check_heads, file_metadata, without_wrappers
from beit.weights.arguments import INDEX_NAME, with_variant

_LAYER = r"(?:\w+\.)?encoder\.layer\.(\d+)\."
_WITHOUT_EFFECT = ("save_original_format", "save_config")  # one layout is written, which every version reads
_OF_SAVING = ("save_function", "save_peft_format", "state_dict", "variant", *_WITHOUT_EFFECT)  # known to push_to_hub


class SavedModel(AdapterMethods):
    """A model that is saved in the layout of Hugging Face transformers."""

    def save_pretrained(
        self,
        save_directory: str | Path,
        is_main_process: bool = True,
        state_dict: Mapping[str, Tensor] | None = None,
        save_function: Any = None,
        push_to_hub: bool = False,
        max_shard_size: int | str | None = None,
        safe_serialization: bool = True,
        variant: str | None = None,
        token: str | bool | None = None,
        save_peft_format: bool = True,
        **kwargs: Any,
    ) -> None:
        """Write `config.json` and `model.safetensors` in the layout that Hugging Face transformers reads.

        Of a model with an adapter (`add_adapter`, `load_adapter`) the adapter alone is written, as published.

        Args:
            save_directory: The folder; it is made if needed.
            is_main_process: Whether this process writes; others of a distributed run pass False.
            state_dict: Write these values, under the names of `state_dict()`, instead of the model's own (gathered from
                several processes); prefixes of wrappers are taken off.
            save_function: Accepted for the published API, where it writes pickles alone.
            push_to_hub: Also upload it, to `repo_id` or the name of the folder.
            max_shard_size: Most bytes of a file, such as "200MB", beyond which there are several and an index of them;
                None: one file.
            safe_serialization: Accepted for the published API; no pickle is written, which a warning says.
            variant: Part of the name of the file, such as "fp16" for `model.fp16.safetensors`.
            token: Access token for the hub.
            save_peft_format: Whether names of an adapter have the prefix that peft knows them by.
            **kwargs: Arguments of `push_to_hub`; `use_auth_token`, the old name of `token`.

        Raises:
            ConfigError: If an argument is unknown.
            StorageError: If the disk is full; an earlier file of the same name is untouched.
        """
        if not safe_serialization:
            warn("safe_serialization is False; weights are written as safetensors all the same")
        if not is_main_process:
            return
        folder = Path(save_directory)
        old_token = kwargs.pop("use_auth_token", None)
        token = old_token if token is None else token
        for name in _WITHOUT_EFFECT:
            kwargs.pop(name, None)
        if kwargs and not push_to_hub:
            raise ConfigError(f"save_pretrained does not know {sorted(kwargs)}; push_to_hub=True takes more")
        if self.has_adapters:
            self.save_adapter(folder, state_dict, save_peft_format)
        else:
            self._save_whole(folder, state_dict, max_shard_size, variant)
        if push_to_hub:
            how: dict[str, Any] = {"state_dict": state_dict, "max_shard_size": max_shard_size, "variant": variant}
            how["save_peft_format"] = save_peft_format
            self.push_to_hub(kwargs.pop("repo_id", folder.name), token=token, **how, **kwargs)

    def _save_whole(
        self,
        folder: Path,
        state_dict: Mapping[str, Tensor] | None,
        max_shard_size: int | str | None,
        variant: str | None,
    ) -> None:
        options = self._config_text()  # first, since a config that JSON cannot hold must fail before a file is written
        values = state_of(self) if state_dict is None else state_dict
        canonical, _ = without_wrappers({name: tensor.detach() for name, tensor in values.items()})
        if not self._is_derived():  # a class of a user makes heads as it likes
            check_heads(outputs_of(canonical), self.config)
            _warn_of_lost_layers(canonical, self.config)
        _warn_of_shared(canonical)
        write_weights(folder, canonical, max_shard_size, variant)
        write_text(folder / CONFIG_NAME, options)

    def write_config(self, folder: Path) -> None:
        """Write the `config.json` of this model.

        Raises:
            ConfigError: If JSON cannot hold an option.
            StorageError: If the disk is full; an earlier file is untouched.
        """
        write_text(folder / CONFIG_NAME, self._config_text())

    def _config_text(self) -> str:
        self.config.architectures = [type(self).__name__]
        return self.config.to_json_string(**file_metadata(dtype_name(self.dtype)))

    def push_to_hub(
        self,
        repo_id: str | None = None,
        use_temp_dir: bool | None = None,
        commit_message: str | None = None,
        private: bool | None = None,
        token: str | bool | None = None,
        max_shard_size: int | str | None = None,
        create_pr: bool = False,
        safe_serialization: bool = True,
        revision: str | None = None,
        commit_description: str | None = None,
        tags: str | Sequence[str] | None = None,
        *,
        license: str | None = None,  # noqa: A002  # as the hub calls it
        **how: Any,
    ) -> str:
        """Upload `config.json`, `model.safetensors` and a model card to the hub; the repository is created if needed.

        The card is that of the run whose model was loaded, with its results, data and settings; else a short one. One
        that the repository has already is kept.

        Args:
            repo_id: "owner/name", or "name" for a repository of the logged-in user.
            use_temp_dir: Accepted for the published API; there is always such a folder, which a warning says.
            commit_message: First line of the commit; "Upload model" if None.
            private: Visibility of a repository that is created; the default of its owner if None.
            token: Access token with the right to write; the saved login if None.
            max_shard_size: As for `save_pretrained`.
            create_pr: Open a pull request instead of writing to the branch.
            safe_serialization: As for `save_pretrained`.
            revision: Branch to write to; the default branch if None.
            commit_description: What follows the first line of the commit.
            tags: What the repository is found by, beside the tags that its card has.
            license: Licence that the card states, such as "apache-2.0".
            **how: Other arguments of `save_pretrained`, such as `variant`; `language` and `ignore_metadata_errors` of
                the card; earlier names: `use_auth_token` for `token`, `organization`, `repo_path_or_name` and
                `repo_url` for `repo_id`.

        Returns:
            The address of the repository or pull request.

        Raises:
            CheckpointError: If the hub cannot be reached or refuses.
            ConfigError: If an argument is unknown.
        """
        repository, token = push_target(repo_id, token, use_temp_dir, how, _OF_SAVING)
        of_card = {name: how.pop(name) for name in ("language", "ignore_metadata_errors") if name in how}
        how |= {"safe_serialization": safe_serialization}
        how |= {} if max_shard_size is None else {"max_shard_size": max_shard_size}
        return push_model(
            lambda folder: self.save_pretrained(folder, **how),
            repository,
            self.name_or_path,
            type(self).__name__,
            license=license,
            token=token,
            private=private,
            revision=revision,
            commit_message=commit_message or "Upload model",
            commit_description=commit_description,
            create_pr=create_pr,
            tags=tags,
            **of_card,
        )


def write_weights(
    folder: Path, tensors: Mapping[str, Tensor], max_shard_size: int | str | None = None, variant: str | None = None
) -> None:
    """Write `model.safetensors`, or shards and their index where it would be larger than `max_shard_size`.

    What an earlier model has left of the other form is removed, since readers would prefer it.

    Args:
        folder: It is made if needed.
        tensors: By canonical name.
        max_shard_size: Bytes, or a text such as "200MB"; None: one file.
        variant: Part of the names of the files, such as "fp16".

    Raises:
        ConfigError: If the size cannot be understood.
        StorageError: If the disk is full; an earlier file of the same name is untouched.
    """
    name = with_variant(WEIGHTS_NAME, variant)
    shards = {name: list(tensors)} if max_shard_size is None else _split(tensors, name, max_shard_size)
    for shard, names in shards.items():
        write_safetensors(folder / shard, {tensor: tensors[tensor] for tensor in names})
    index = with_variant(INDEX_NAME, variant)
    written = {*shards, index} if len(shards) > 1 else set(shards)
    if index in written:
        total = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
        places = {tensor: shard for shard, names in shards.items() for tensor in names}
        write_json(folder / index, {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))})
    of_shards = re.compile(re.escape(name.removesuffix(".safetensors")) + r"-\d{5}-of-\d{5}\.safetensors")
    for file in folder.iterdir():
        if file.name not in written and (file.name in (name, index) or of_shards.fullmatch(file.name)):
            file.unlink()


def _warn_of_lost_layers(names: Iterable[str], config: BeitConfig) -> None:
    """Warn of layers that were taken out where the config does not say so; the weights are saved all the same."""
    layers = {found[1] for name in names if (found := re.match(_LAYER, name))}
    if layers and len(layers) != config.num_hidden_layers:
        warn(
            f"the encoder has {len(layers)} layers and config.num_hidden_layers is {config.num_hidden_layers}; "
            f"expected the same: set config.num_hidden_layers = {len(layers)} and save again, or load the folder with "
            f"from_pretrained(..., num_hidden_layers={len(layers)})"
        )


def _warn_of_shared(tensors: Mapping[str, Tensor]) -> None:
    """Warn of parameters that are one and the same: a loaded model has them apart."""
    if names := shared_names(tensors):
        warn(
            f"{', '.join(names[:3])}{' and others' * (len(names) > 3)} share their memory with parameters before them; "
            "they are saved under each name and share it no longer, once they are loaded: tie them again"
        )


def _split(tensors: Mapping[str, Tensor], name: str, most: int | str) -> dict[str, list[str]]:
    """Return the names of the tensors of every file."""
    from huggingface_hub import split_torch_state_dict_into_shards

    pattern = name.replace(".safetensors", "{suffix}.safetensors")
    try:
        return split_torch_state_dict_into_shards(
            dict(tensors), filename_pattern=pattern, max_shard_size=most
        ).filename_to_tensors
    except ValueError:
        raise ConfigError(f"max_shard_size is {most!r}; expected bytes, or a text such as '200MB' or '5GB'") from None
