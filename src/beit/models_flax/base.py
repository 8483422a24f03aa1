"""Base class of all models: module, parameters, types and compiled calls.

Legend: B batch, C channels; h w pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property, partial
from math import prod
from typing import Any, ClassVar, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import Array

from beit.config import BeitConfig, require_config
from beit.errors import ConfigError
from beit.models_flax.checks import (
    check_dropout_rng,
    check_input_shape,
    check_mask,
    check_params,
    check_pixels,
    float_dtype,
)
from beit.models_flax.initialisation import initial_values
from beit.models_flax.tree import Tree, as_leaf, cast, is_statistic, joined, params_of, variables_of
from beit.outputs import FlaxOutput
from beit.weights import LoadReport, flax_tree
from beit.weights.match import Shape, check_shapes

Output = TypeVar("Output", bound=FlaxOutput)
_NAMES = ("id2label", "label2id", "_name_or_path", "_unknown")  # of a config, which no call reads


class FlaxBeitBase:
    """A linen module, the config it was made of, and its parameters.

    Args:
        config: All options.
        input_shape: (batch, height, width, channels) that the module is built with; the config's size by default. No
            parameter depends on it, and any other size can be used later.
        seed: Seed of the initial values.
        dtype: Type of the computation, a type or its name. Parameters are float32 whatever it is; see `to_bf16`.
        _do_init: Whether the model holds parameters; without them they are passed to every call.
        scan_layers: Compile one encoder layer and loop over all: a smaller program, and a slower forward pass and
            training step. Parameters keep their published names.

    Attributes:
        config: All options.
        module: The linen module; its `apply` takes pixels channels-last, as Flax has them.
        load_report: How the checkpoint that the model was loaded from differs from it; None for a new model.

    Raises:
        ConfigError: If an argument is invalid.
    """

    config_class: ClassVar[type[BeitConfig]] = BeitConfig
    base_model_prefix: ClassVar[str] = "beit"
    main_input_name: ClassVar[str] = "pixel_values"
    module_class: ClassVar[type[nn.Module]]

    def __init__(
        self,
        config: BeitConfig,
        input_shape: tuple[int, ...] | None = None,
        seed: int = 0,
        dtype: Any = jnp.float32,
        _do_init: bool = True,
        *,
        scan_layers: bool = False,
    ) -> None:
        require_config(config)
        if config.pruned_heads:
            raise ConfigError(
                f"pruned_heads is {config.pruned_heads}; models in JAX have all heads, load it in PyTorch"
            )
        self.check_config(config)
        self.config = config
        self.dtype = float_dtype(dtype)
        self.input_shape = check_input_shape(input_shape, config)
        self.key = jax.random.PRNGKey(seed)
        self.module = self.module_class(
            config=config,
            dtype=self.dtype,
            scan_layers=scan_layers,
            gradient_checkpointing=config.gradient_checkpointing,
        )
        self.load_report: LoadReport | None = None
        self._params = self.init_weights(self.key, self.input_shape) if _do_init else None

    @classmethod
    def check_config(cls, config: BeitConfig) -> None:
        """Refuse options that the kind of model cannot have; most can have all."""

    @property
    def params(self) -> Tree:
        """The parameters, a tree of the published names; running statistics of batch norms are among them.

        Raises:
            ConfigError: If the model was made without any.
        """
        if self._params is None:
            raise ConfigError("the model was made with _do_init=False and holds no params; pass them to every call")
        return self._params

    @params.setter
    def params(self, params: Mapping[str, Any]) -> None:
        if self._params is None:
            raise ConfigError("the model was made with _do_init=False and holds no params; pass them to every call")
        leaves = joined(params)
        check_params(leaves, self.shapes)
        self._params = flax_tree(leaves)

    @property
    def required_params(self) -> set[tuple[str, ...]]:
        """Names of all parameters, each a tuple of the keys that lead to it."""
        return {tuple(name.split(".")) for name in self.shapes}

    @property
    def params_shape_tree(self) -> Tree:
        """Shape and type of every parameter, as a tree like `params`."""
        return flax_tree({name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in self.shapes.items()})

    @property
    def framework(self) -> str:
        """Return "flax"."""
        return "flax"

    @classmethod
    def can_generate(cls) -> bool:
        """Return False: no text is generated."""
        return False

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """The shape of every parameter, by its name joined by dots."""
        pixels = jax.ShapeDtypeStruct(self.input_shape, jnp.float32)
        built = jax.eval_shape(self.module.init, jax.random.PRNGKey(0), pixels)
        return {name: tuple(leaf.shape) for name, leaf in params_of(built).items()}

    def init_weights(
        self, rng: Array, input_shape: tuple[int, ...] | None = None, params: Mapping[str, Any] | None = None
    ) -> Tree:
        """Return initial values of all parameters, or of those that `params` lacks.

        Args:
            rng: The key that they are drawn from.
            input_shape: (batch, height, width, channels); no value depends on it.
            params: Values to keep.

        Raises:
            CheckpointError: If `params` has a parameter that the model has not, or one of another shape.
        """
        check_input_shape(input_shape, self.config)
        kept = {} if params is None else joined(params)
        found = {name: tuple(np.shape(leaf)) for name, leaf in kept.items()}
        check_shapes("params", found, self.shapes, may_be_new=["*"])
        values = initial_values(rng, {name: self.shapes[name] for name in self.shapes if name not in kept}, self.config)
        return flax_tree({name: kept[name] if name in kept else values[name] for name in self.shapes})

    def initial_values(self, names: Iterable[str], dtype: Any) -> dict[str, Array]:
        """Return initial values of some parameters from the model's own seed, in a type; None is float32."""
        drawn = initial_values(self.key, {name: self.shapes[name] for name in names}, self.config)
        return {name: as_leaf(name, values, dtype) for name, values in drawn.items()}

    def num_parameters(self) -> int:
        """Count the parameters; running statistics are left out."""
        return sum(prod(shape) for name, shape in self.shapes.items() if not is_statistic(name))

    def learned(self, params: Mapping[str, Any]) -> Tree:
        """Return a tree of bools, True for trainable parameters: all but running statistics.

        It is the mask that `optax.masked` and the weight decay of `optax.adamw` take.
        """
        return flax_tree({name: not is_statistic(name) for name in joined(params)})

    def with_batch_stats(self, params: Mapping[str, Any], batch_stats: Mapping[str, Any]) -> Tree:
        """Return parameters with the running statistics that a call in training gave."""
        return flax_tree(joined(params) | joined(batch_stats))

    def enable_gradient_checkpointing(self) -> None:
        """Keep no activations inside layers for the backward pass; compute them again there."""
        self._use(self.module.clone(gradient_checkpointing=True))

    def disable_gradient_checkpointing(self) -> None:
        """Keep activations again."""
        self._use(self.module.clone(gradient_checkpointing=False))

    def _use(self, module: nn.Module) -> None:
        self.module = module
        self.__dict__.pop("_compiled", None)

    def to_bf16(self, params: Mapping[str, Any], mask: Any = None) -> Tree:
        """Return parameters as bfloat16; a `mask` of the same tree says which: True = cast."""
        return cast(params, jnp.bfloat16, mask)

    def to_fp16(self, params: Mapping[str, Any], mask: Any = None) -> Tree:
        """Return parameters as float16; a `mask` of the same tree says which: True = cast."""
        return cast(params, jnp.float16, mask)

    def to_fp32(self, params: Mapping[str, Any], mask: Any = None) -> Tree:
        """Return parameters as float32; a `mask` of the same tree says which: True = cast."""
        return cast(params, jnp.float32, mask)

    @cached_property
    def _compiled(self) -> Any:
        """The call, compiled once for every shape, choice of outputs, and state of the config."""
        return jax.jit(partial(_apply, self.module), static_argnames=("train", "options", "state"))

    def __getstate__(self) -> dict[str, Any]:  # copies and pickles hold no compiled program
        return {name: value for name, value in self.__dict__.items() if name != "_compiled"}

    def _run(
        self,
        pixel_values: Any,
        others: dict[str, Any],
        params: Mapping[str, Any] | None,
        dropout_rng: Array | None,
        train: bool,
        **options: bool | None,
    ) -> Any:
        """Check the arguments and run the module; options that are None are the config's."""
        check_pixels(pixel_values, self.config)
        if (mask := others.get("bool_masked_pos")) is not None:
            check_mask(mask, pixel_values, self.config)
            patches = prod(np.shape(mask)[1:])
            others = {**others, "bool_masked_pos": jnp.asarray(mask, bool).reshape(len(mask), patches)}
        if train:
            check_dropout_rng(dropout_rng, self.config)
        if params is None:
            params = self.params
        else:
            check_params(joined(params), self.shapes)
        given = {name: getattr(self.config, name) if value is None else value for name, value in options.items()}
        chosen = {"train": train, "options": tuple(given.items()), "state": _state(self.config)}
        return self._compiled(params, pixel_values, others, dropout_rng, **chosen)

    def _as_requested(self, output: Output, return_dict: bool | None) -> Output | tuple[Any, ...]:
        """Return the output object, or its tuple when `return_dict` (default: the config's) is False."""
        wanted = self.config.use_return_dict if return_dict is None else return_dict
        return output if wanted else output.to_tuple()


def _state(config: BeitConfig) -> str:
    """Return the options of a config that a compiled call may have been made with; names of classes are none."""
    return repr([pair for pair in vars(config).items() if pair[0] not in _NAMES])


def _apply(
    module: nn.Module,
    params: Mapping[str, Any],
    pixels_BChw: Array,
    others: dict[str, Any],
    dropout_rng: Array | None,
    train: bool,
    options: tuple[tuple[str, bool], ...],
    state: str,
) -> Any:
    del state  # another one has the call compiled anew, which then reads the config
    variables = variables_of(params)
    arguments: dict[str, Any] = {**others, "deterministic": not train, **dict(options)}
    rngs = {} if dropout_rng is None or not train else {"dropout": dropout_rng}
    pixels_BhwC = pixels_BChw.transpose(0, 2, 3, 1)
    if not (train and "batch_stats" in variables):
        return module.apply(variables, pixels_BhwC, rngs=rngs, **arguments)
    output, changed = module.apply(variables, pixels_BhwC, rngs=rngs, mutable=["batch_stats"], **arguments)
    return output.replace(batch_stats=changed["batch_stats"])
