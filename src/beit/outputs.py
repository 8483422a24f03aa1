"""Outputs of models: dataclasses that are ordered dicts too, and behave as tuples.

`output.logits`, `output["logits"]` and `output[0]` are the same tensor. Fields that are None do not exist for the tuple
and mapping views, as in the published API. Shape legend: B batch, N patches, S = 1 + N tokens, D hidden, H heads,
K classes, V codebook size.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import ItemsView, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Self, cast

if TYPE_CHECKING:
    from jax import Array
    from torch import Tensor


class ModelOutput(OrderedDict[str, Any]):
    """Base of all outputs; fields that are not None are also the items of an ordered dict."""

    def __post_init__(self) -> None:
        """Accept all fields as one mapping or its items, which is how accelerate and torch rebuild an output."""
        first, *others = (field.name for field in fields(self))  # type: ignore[arg-type]
        given = _mapping(getattr(self, first))
        if given is not None and all(getattr(self, name) is None for name in others):
            for name in (first, *others):
                setattr(self, name, given.get(name))

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        if value is not None:
            super().__setitem__(name, value)
        elif super().__contains__(name):
            super().__delitem__(name)

    def __setitem__(self, name: str, value: Any) -> None:
        setattr(self, name, value)

    def __delitem__(self, name: str) -> None:
        setattr(self, name, None)

    def __getitem__(self, key: str | int | slice) -> Any:
        return super().__getitem__(key) if isinstance(key, str) else self.to_tuple()[key]

    def pop(self, key: str, *default: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Remove a value and return it."""
        value = super().pop(key, *default)
        setattr(self, key, None)
        return value

    def to_tuple(self) -> tuple[Any, ...]:
        """Return the values that are not None, in the documented order; what was set later comes last."""
        return tuple(self.values())

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(getattr(self, field.name) for field in fields(self))  # type: ignore[arg-type]


def _mapping(value: Any) -> Mapping[str, Any] | None:
    """Return a mapping, or the one of whose items a list, view or iterator is made; None for anything else."""
    if isinstance(value, Mapping):
        return cast("Mapping[str, Any]", value)
    if isinstance(value, Iterator | ItemsView):  # as `torch.nn.DataParallel` gathers those of its devices
        return dict(cast("Iterable[tuple[str, Any]]", value))
    pairs = isinstance(value, list) and all(isinstance(one, tuple) for one in cast("list[Any]", value))
    return dict(cast("list[tuple[str, Any]]", value)) if pairs and value else None


@dataclass(eq=False)
class BaseModelOutput(ModelOutput):
    """Encoder output: last_hidden_state (B, S, D); hidden_states and attentions on request."""

    last_hidden_state: Tensor
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass(eq=False)
class BeitModelOutputWithPooling(ModelOutput):
    """`BeitModel` output.

    last_hidden_state (B, S, D); pooler_output (B, D); hidden_states: the embeddings, then one (B, S, D) per layer;
    attentions: one (B, H, S, S) per layer.
    """

    last_hidden_state: Tensor | None = None
    pooler_output: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass(eq=False)
class MaskedLMOutput(ModelOutput):
    """`BeitForMaskedImageModeling` output: loss (); logits (B, N, V)."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass(eq=False)
class ImageClassifierOutput(ModelOutput):
    """`BeitForImageClassification` output: loss (); logits (B, K)."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass(eq=False)
class SemanticSegmenterOutput(ModelOutput):
    """`BeitForSemanticSegmentation` output: loss (); logits (B, K, height / 4, width / 4) for patches of 16 pixels."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass(eq=False)
class BackboneOutput(ModelOutput):
    """`BeitBackbone` output: one feature map (B, D, height, width) per chosen stage, or tokens (B, S, D)."""

    feature_maps: tuple[Tensor, ...] | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass(eq=False)
class FlaxOutput(ModelOutput):
    """Base of the outputs of the Flax models, which `beit.models_flax` registers with JAX as pytrees."""

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed, as `flax.struct` has it."""
        return replace(self, **changes)


@dataclass(eq=False)
class FlaxBeitModelOutputWithPooling(FlaxOutput):
    """`FlaxBeitModel` output, with the fields of `BeitModelOutputWithPooling`."""

    last_hidden_state: Array | None = None
    pooler_output: Array | None = None
    hidden_states: tuple[Array, ...] | None = None
    attentions: tuple[Array, ...] | None = None


@dataclass(eq=False)
class FlaxMaskedLMOutput(FlaxOutput):
    """`FlaxBeitForMaskedImageModeling` output: logits (B, N, V)."""

    logits: Array | None = None
    hidden_states: tuple[Array, ...] | None = None
    attentions: tuple[Array, ...] | None = None


@dataclass(eq=False)
class FlaxSequenceClassifierOutput(FlaxOutput):
    """`FlaxBeitForImageClassification` output: logits (B, K)."""

    logits: Array | None = None
    hidden_states: tuple[Array, ...] | None = None
    attentions: tuple[Array, ...] | None = None


@dataclass(eq=False)
class FlaxSemanticSegmenterOutput(FlaxOutput):
    """`FlaxBeitForSemanticSegmentation` output, with the fields of `SemanticSegmenterOutput`.

    In training also batch_stats: the new running statistics of the batch norms, for `with_batch_stats` of the model.
    """

    loss: Array | None = None
    logits: Array | None = None
    hidden_states: tuple[Array, ...] | None = None
    attentions: tuple[Array, ...] | None = None
    batch_stats: dict[str, Any] | None = None


@dataclass(eq=False)
class FlaxBackboneOutput(FlaxOutput):
    """`FlaxBeitBackbone` output, with the fields of `BackboneOutput`; batch_stats as in segmentation."""

    feature_maps: tuple[Array, ...] | None = None
    hidden_states: tuple[Array, ...] | None = None
    attentions: tuple[Array, ...] | None = None
    batch_stats: dict[str, Any] | None = None
