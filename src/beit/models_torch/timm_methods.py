"""Methods by the names that users of timm and DINO know.

Legend: B batch, S = 1 + N tokens, D hidden; y x rows and columns of the patch grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from beit.errors import ConfigError
from beit.geometry import patch_grid
from beit.models_torch.derived import DerivedModel
from beit.models_torch.feature_pyramid import as_map

_OF_SIZE = ("config", "grid", "image_hw")  # attributes of modules


class TimmMethods(DerivedModel):
    """Features of any layer, and a classifier that is taken off and put on."""

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the tokens of the last layer, (B, S, D), as the base model gives them; a backbone has no norm."""
        asked = {"output_hidden_states": True} if self._norm is None else {}  # a backbone returns no last one
        outputs = self.base_model(x, return_dict=True, **asked)
        return outputs.hidden_states[-1] if self._norm is None else outputs.last_hidden_state

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Return the logits of tokens (B, S, D), or with `pre_logits` the vector (B, D) that the classifier sees."""
        pooled_BD = cast(nn.Module, self.base_model.pooler)(x)
        return pooled_BD if pre_logits else self.get_classifier()(pooled_BD)

    def get_intermediate_layers(
        self, x: Tensor, n: int | Sequence[int] = 1, reshape: bool = False, return_class_token: bool = False,
        norm: bool = False,
    ) -> tuple[Any, ...]:  # fmt: skip
        """Return the patch tokens of the last `n` layers, or of layers counted from 0, as DINO has it.

        Args:
            x: Pictures (B, C, height, width).
            n: How many, or which, in the order that they are named.
            reshape: Maps (B, D, y, x) instead of tokens (B, N, D).
            return_class_token: Pairs of these and [CLS], (B, D).
            norm: Whether to normalise them by the last norm of the base model.

        Raises:
            ConfigError: If the model has no such layer, or is a backbone, which has no norm, and `norm` is True.
        """
        places = self._places(n)
        if norm and self._norm is None:
            raise ConfigError(
                f"norm is True, and a {type(self).__name__} has no norm after its layers; leave it out, or load the "
                "weights into a BeitModel"
            )
        states = self.base_model(x, output_hidden_states=True, return_dict=True).hidden_states[1:]
        chosen = [states[place] for place in places]
        if norm:
            chosen = [self._normalised(tokens_BSD) for tokens_BSD in chosen]
        grid = patch_grid(tuple(x.shape[2:]), self.config.patch_size)
        patches = [
            as_map(tokens_BSD, (grid.height, grid.width)) if reshape else tokens_BSD[:, 1:] for tokens_BSD in chosen
        ]
        classes = [tokens_BSD[:, 0] for tokens_BSD in chosen]
        return tuple(zip(patches, classes, strict=True)) if return_class_token else tuple(patches)

    def forward_intermediates(
        self, x: Tensor, indices: int | Sequence[int] | None = None, return_prefix_tokens: bool = False,
        norm: bool = False, stop_early: bool = False, output_fmt: str = "NCHW", intermediates_only: bool = False,
    ) -> Any:  # fmt: skip
        """Return (the last tokens, the features of some layers), as timm has it; see `get_intermediate_layers`.

        Args:
            x: Pictures (B, C, height, width).
            indices: How many of the last layers, or which; all by default.
            return_prefix_tokens: Pairs of the features and [CLS], (B, 1, D).
            norm: Whether to normalise the features.
            stop_early: The last tokens are those of the last of these layers.
            output_fmt: "NCHW" for maps (B, D, y, x), or "NLC" for tokens (B, N, D).
            intermediates_only: Return the list of features alone.

        Raises:
            ConfigError: As `get_intermediate_layers`, or if there is no such format.
        """
        if output_fmt not in ("NCHW", "NLC"):
            raise ConfigError(f"output_fmt is {output_fmt!r}; expected 'NCHW' or 'NLC'")
        places = self._places(self.config.num_hidden_layers if indices is None else indices)
        features: list[Any] = list(self.get_intermediate_layers(x, places, output_fmt == "NCHW", True, norm))
        features = [(maps, cls_BD.unsqueeze(1)) if return_prefix_tokens else maps for maps, cls_BD in features]
        if intermediates_only:
            return features
        if not stop_early:
            return self.forward_features(x), features
        states = self.base_model(x, output_hidden_states=True, return_dict=True).hidden_states[1:]
        return self._normalised(states[max(places)]), features

    @property
    def _norm(self) -> nn.Module | None:
        """The norm after the last layer; None of a backbone."""
        return getattr(self.base_model, "layernorm", None)

    def _normalised(self, tokens_BSD: Tensor) -> Tensor:
        """Return tokens as the base model returns those of its last layer."""
        return tokens_BSD if self._norm is None else self._norm(tokens_BSD)

    def _places(self, n: int | Sequence[int]) -> list[int]:
        """Return the layers that are meant, counted from 0."""
        depth = self.config.num_hidden_layers
        if isinstance(n, int):
            if not 1 <= n <= depth:
                raise ConfigError(f"{n} layers were asked for; expected 1 to {depth}, or a list of layers from 0")
            return list(range(depth - n, depth))
        if gone := [place for place in n if not -depth <= place < depth]:
            raise ConfigError(f"the layers {gone} were asked for; expected 0 to {depth - 1}, or -1 for the last")
        return [place % depth for place in n]

    def get_classifier(self) -> nn.Module:
        """Return the classifier."""
        return self.get_submodule("classifier")

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Put a new classifier for other classes on, none for 0; pooling stays as the config says.

        Between one number and several classes the problem type is open again: the first labels decide it.
        """
        old = self.get_classifier()
        if (num_classes == 1) != (self.config.num_labels == 1):
            self.config.problem_type = None
        self.config.num_labels = num_classes
        new = nn.Linear(self.config.hidden_size, num_classes) if num_classes else nn.Identity()
        self.classifier = new.to(self.device, self.dtype).train(old.training)
        self.initialise_weights(self.classifier)

    def set_input_size(self, img_size: int | tuple[int, int]) -> None:
        """Resample the tables of positions to another size of pictures, by the authors' method.

        The tables are new parameters: make the optimiser afterwards. All else stays, frozen parameters and hooks too.
        """
        config = type(self.config).from_dict(self.config.to_dict(), image_size=img_size)
        config.name_or_path = self.config.name_or_path
        resized = dict(cast(Any, type(self)).resized_from(self, config).named_modules())
        for name, module in self.named_modules():
            if name in resized:
                _take_size(module, resized[name])

    def no_weight_decay(self) -> set[str]:
        """Return the names of parameters that are trained without weight decay: tokens, positions and bias tables."""
        ends = ("cls_token", "mask_token", "position_embeddings", "relative_position_bias_table")
        return {name for name, _ in self.named_parameters() if name.endswith(ends)}

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Return patterns of names: the stem, and the layers in their order, for learning rates by layer."""
        root = rf"^(?:{self.base_model_prefix}\.)?"
        layer, last = rf"{root}encoder\.layer\.(\d+)", rf"{root}(?:layernorm|pooler)"
        return {
            "stem": rf"{root}(?:embeddings|encoder\.relative_position_bias)",
            "blocks": layer if coarse else [(layer, None), (last, (99999,))],
        }


def _take_size(module: nn.Module, resized: nn.Module) -> None:
    """Give a module the size, and the tables, of the same module of a model for other pictures."""
    for name in vars(resized).keys() & set(_OF_SIZE):
        setattr(module, name, vars(resized)[name])
    for name, parameter in list(resized.named_parameters(recurse=False)):
        own = module.get_parameter(name)
        if own.shape != parameter.shape or not torch.equal(own, parameter):
            module.register_parameter(name, nn.Parameter(parameter.detach(), own.requires_grad))
