"""Loading and saving of all models."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import jax.numpy as jnp

from beit.config import BeitConfig, require_config
from beit.errors import ConfigError, warn
from beit.hub import HubOptions, push_model, push_target
from beit.models_flax.base import FlaxBeitBase
from beit.models_flax.checks import check_params, float_dtype
from beit.models_flax.loading import canonical_shapes, flax_name, read_arrays, write_model
from beit.models_flax.tree import Tree, joined
from beit.weights import (
    FLAX_FILE,
    Checkpoint,
    LoadReport,
    PublishedArguments,
    adapt_tensors,
    check_arguments,
    flax_tree,
    match_tensors,
    open_checkpoint,
)
from beit.weights.arguments import with_variant

logger = logging.getLogger("beit")
_OF_PUSHING = ("commit_description", "create_pr", "license", "revision", "tags")


def _files(asked: PublishedArguments, of_torch: bool) -> tuple[str, ...]:
    """Return the files of a folder or repository that may be read, in order: Flax's own first, if any."""
    own = with_variant(FLAX_FILE, asked.variant)
    others = tuple(name for name in asked.weight_files if name != own)
    return others if of_torch else (own, *others)


class FlaxBeitPreTrainedModel(FlaxBeitBase):
    """Base of all Flax models, with loading and saving."""

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        dtype: Any = jnp.float32,
        *,
        config: BeitConfig | str | Path | None = None,
        param_dtype: Any = "auto",
        from_pt: bool = False,
        input_shape: tuple[int, ...] | None = None,
        seed: int = 0,
        scan_layers: bool = False,
        bias_resize: str = "cubic",
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
        subfolder: str = "",
        allow_nonfinite: bool = False,
        _do_init: bool = True,
        **overrides: Any,
    ) -> Self | tuple[Self, Tree]:
        """Load a model from a folder, a file, the Hugging Face hub, or by the name of a published checkpoint.

        Every layout is read, with or without PyTorch: Flax msgpack first, then those of PyTorch programs. No pickle is
        executed.

        Args:
            pretrained_model_name_or_path: A folder, a file of weights, "owner/repository" on the hub, or a published
                name in any spelling (`beit models` lists them).
            dtype: Type of the computation.
            config: Use this config (or that of this folder) instead of the checkpoint's own.
            param_dtype: Type of the parameters; "auto", as published, keeps every bit of the checkpoint.
            from_pt: Read the weights of PyTorch where a folder or repository holds both kinds.
            input_shape: See the class.
            seed: Seed of new parameters, such as a head for other classes.
            scan_layers: See the class.
            bias_resize: How relative position bias is resized if `image_size` differs from the checkpoint's: "cubic"
                (the authors' method), "linear" (timm's) or "bilinear" (as at run time).
            revision: Branch, tag or commit on the hub.
            token: Access token for the hub.
            cache_dir: Where downloads are kept; the ordinary cache of the hub by default.
            local_files_only: Use only files that are already downloaded.
            force_download: Download again.
            subfolder: Folder inside the folder or repository.
            allow_nonfinite: Load NaN and infinity too, which are refused by default.
            _do_init: Whether the model holds its parameters; if not, (model, params) is returned.
            **overrides: Options that win over the checkpoint's config, such as `num_labels=10` or `image_size=384`.
                Also the published `variant`, `use_safetensors` and `ignore_mismatched_sizes`.

        Returns:
            The model. A head that the checkpoint has no values for is new; `load_report` and a log message say so. A
            shared relative position bias is copied into every layer if the config asks for one bias per layer.

        Raises:
            CheckpointError: If the checkpoint cannot be found, or a parameter is missing, unknown or of another shape.
            ConfigError: If the config or an option is missing or invalid.
        """
        wanted_type = None if param_dtype == "auto" else float_dtype(param_dtype)
        asked = PublishedArguments.taken_from(overrides)
        if asked.torch_dtype is not None or asked.device_map is not None:
            raise ConfigError("torch_dtype or device_map was given to a Flax model; use dtype, param_dtype, device_put")
        check_arguments(cls.config_class, overrides, config is not None, bias_resize)
        token = token if asked.use_auth_token is None else asked.use_auth_token
        hub = HubOptions(revision, token, cache_dir, local_files_only, force_download, subfolder)
        if isinstance(config, str | Path):
            config = cls.config_class.from_pretrained(config)
        elif config is not None:
            require_config(config)
        files = _files(asked, from_pt or asked.use_safetensors is not None)
        checkpoint = open_checkpoint(pretrained_model_name_or_path, hub, config, overrides, files)
        wanted = cls.config_class.from_dict(checkpoint.options, **overrides) if config is None else config
        new_head = config is not None or bool({"num_labels", "id2label", "vocab_size"} & overrides.keys())
        new_head |= asked.ignore_mismatched_sizes
        checkpoint.check_sizes(cls.config_class.from_dict(checkpoint.options), wanted)
        model = cls(wanted, input_shape, seed, dtype, _do_init=False, scan_layers=scan_layers)
        params = model._filled(checkpoint, bias_resize, wanted_type, new_head, allow_nonfinite)
        if model.load_report is not None and not model.load_report.silent:
            logger.warning("%s: %s", checkpoint.source, model.load_report)
        wanted.name_or_path = pretrained_model_name_or_path
        if not _do_init:
            return model, params
        model._params = params
        return model

    def _filled(
        self, checkpoint: Checkpoint, bias_resize: str, dtype: Any, new_head: bool, allow_nonfinite: bool
    ) -> Tree:
        """Return the parameters of a checkpoint that matches the model; new ones are drawn."""
        before = self.config_class.from_dict(checkpoint.options)
        tensors, adapted, resized = adapt_tensors(checkpoint.tensors, before, self.config, bias_resize, self._is_rooted)
        expected = canonical_shapes(self.shapes)
        report = match_tensors(expected, tensors, checkpoint.source, new_head=new_head)
        taken = {name: entry for name, entry in tensors.items() if name in expected and name not in report.new}
        new = [flax_name(name, expected[name]) for name in report.new]
        leaves = read_arrays(taken, dtype, checkpoint.source, allow_nonfinite) | self.initial_values(new, dtype)
        done = [*checkpoint.changes, *adapted]
        self.load_report = LoadReport(report.missing, report.unexpected, report.new, resized, done)
        return flax_tree({name: leaves[name] for name in self.shapes})

    @property
    def _is_rooted(self) -> bool:
        """True if the encoder is under "beit."."""
        return any(name.startswith(f"{self.base_model_prefix}.") for name in self.shapes)

    def save_pretrained(
        self,
        save_directory: str | Path,
        params: Mapping[str, Any] | None = None,
        push_to_hub: bool = False,
        max_shard_size: int | str | None = None,
        token: str | bool | None = None,
        safe_serialization: bool = False,
        **kwargs: Any,
    ) -> None:
        """Write `config.json` and `flax_model.msgpack` or `model.safetensors`, as Hugging Face transformers reads them.

        Args:
            save_directory: The folder; it is made if needed.
            params: Write these parameters instead of the model's own.
            push_to_hub: Also upload it, to `repo_id` or the name of the folder.
            max_shard_size: Accepted for the published API; there is always one file, which a warning says.
            token: Access token for the hub.
            safe_serialization: Write `model.safetensors`, under the names that PyTorch programs read.
            **kwargs: Arguments of `push_to_hub`.

        Raises:
            ConfigError: If an argument is unknown.
            CheckpointError: If `params` are not of this model.
            StorageError: If the disk is full; an earlier file of the same name is untouched.
        """
        if kwargs and not push_to_hub:
            raise ConfigError(f"save_pretrained does not know {sorted(kwargs)}; push_to_hub=True takes more")
        if max_shard_size is not None:
            warn(
                f"max_shard_size {max_shard_size!r} has no effect; weights of Flax are written as one file of any size"
            )
        leaves = joined(self.params if params is None else params)
        check_params(leaves, self.shapes)
        folder = Path(save_directory)
        self.config.architectures = [type(self).__name__.removeprefix("Flax")]
        write_model(folder, self.config, leaves, safe_serialization)
        if push_to_hub:
            how = {"params": params, "safe_serialization": safe_serialization, "token": token}
            self.push_to_hub(kwargs.pop("repo_id", folder.name), **how, **kwargs)

    def push_to_hub(
        self,
        repo_id: str | None = None,
        use_temp_dir: bool | None = None,
        commit_message: str | None = None,
        private: bool | None = None,
        token: str | bool | None = None,
        max_shard_size: int | str | None = None,
        *,
        params: Mapping[str, Any] | None = None,
        safe_serialization: bool = False,
        **kwargs: Any,
    ) -> str:
        """Upload what `save_pretrained` writes and a model card; the repository is created if needed.

        Args:
            repo_id: "owner/name", or "name" for a repository of the logged-in user.
            use_temp_dir: Accepted for the published API; there is always such a folder, which a warning says.
            commit_message: First line of the commit; "Upload model" if None.
            private: Visibility of a repository that is created; the default of its owner if None.
            token: Access token with the right to write; the saved login if None.
            max_shard_size: Accepted for the published API; there is always one file, which a warning says.
            params: Write these parameters instead of the model's own.
            safe_serialization: Write `model.safetensors` rather than `flax_model.msgpack`.
            **kwargs: As for models in PyTorch: `license`, `revision`, `commit_description`, `create_pr`, `tags`,
                `language`, `ignore_metadata_errors` and earlier names.

        Returns:
            The address of the repository or pull request.

        Raises:
            CheckpointError: If the hub cannot be reached or refuses.
        """
        repository, token = push_target(repo_id, token, use_temp_dir, kwargs, _OF_PUSHING)
        return push_model(
            lambda folder: self.save_pretrained(
                folder, params, max_shard_size=max_shard_size, safe_serialization=safe_serialization
            ),
            repository,
            self.config.name_or_path,
            type(self).__name__,
            commit_message=commit_message or "Upload model",
            private=private,
            token=token,
            **kwargs,
        )
