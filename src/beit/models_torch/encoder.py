"""The transformer encoder.

Legend: B batch, S = 1 + N tokens, D hidden, H heads, L layers.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from beit.config import BeitConfig
from beit.geometry import Grid
from beit.models_torch import kernels
from beit.models_torch.attention import Attention, Positions, RelativePositionBias, position_index
from beit.models_torch.layers import DropPath, Intermediate, Output, feed_forward, with_branch
from beit.outputs import BaseModelOutput


class EncoderLayer(nn.Module):
    """Pre-norm transformer layer: x + scale(attention(norm(x))), then x + scale(feed_forward(norm(x)))."""

    def __init__(self, config: BeitConfig, grid: Grid, drop_path: float, pruned: Collection[int] = ()) -> None:
        super().__init__()
        dim, dropout, eps = config.hidden_size, config.hidden_dropout_prob, config.layer_norm_eps
        own_grid = grid if config.use_relative_position_bias else None
        # in the published order, by which the state of an optimiser is saved
        self.attention = Attention(
            dim, config.num_attention_heads, own_grid, config.attention_probs_dropout_prob, dropout, pruned
        )
        self.intermediate = Intermediate(dim, config.intermediate_size, config.hidden_act)
        self.output = Output(config.intermediate_size, dim, dropout)
        self.layernorm_before = nn.LayerNorm(dim, eps=eps)
        self.drop_path = DropPath(drop_path)
        self.layernorm_after = nn.LayerNorm(dim, eps=eps)
        scale = self.layer_scale = float(config.layer_scale_init_value)
        self.lambda_1 = nn.Parameter(torch.full((dim,), scale)) if scale > 0 else None
        self.lambda_2 = nn.Parameter(torch.full((dim,), scale)) if scale > 0 else None

    def forward(
        self,
        hidden_states: Tensor,
        head_mask: Tensor | None = None,
        output_attentions: bool = False,
        relative_position_bias: Tensor | None = None,
        positions: Positions | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the tokens (B, S, D), and the attention maps (B, H, S, S) if asked for; see `Attention.forward`."""
        branch_BSD, maps_BHSS = self.attention(
            self.layernorm_before(hidden_states), head_mask, output_attentions, relative_position_bias, positions
        )
        tokens_BSD = with_branch(hidden_states, branch_BSD, self.lambda_1, self.drop_path)
        branch_BSD = feed_forward(self.intermediate, self.output, self.layernorm_after(tokens_BSD))
        return with_branch(tokens_BSD, branch_BSD, self.lambda_2, self.drop_path), maps_BHSS


class Encoder(nn.Module):
    """Stack of all layers, with the relative position bias that they share in pre-training."""

    def __init__(self, config: BeitConfig, grid: Grid) -> None:
        super().__init__()
        depth = config.num_hidden_layers
        rates = torch.linspace(0, config.drop_path_rate, depth, device="cpu").tolist()
        shared = config.use_shared_relative_position_bias
        self.grid = grid
        self.relative_position_bias = RelativePositionBias(config.num_attention_heads, grid) if shared else None
        self.layer = nn.ModuleList(
            EncoderLayer(config, grid, rate, config.pruned_heads.get(index, ())) for index, rate in enumerate(rates)
        )
        self.gradient_checkpointing = config.gradient_checkpointing
        self.checkpoint_every = 1  # layers
        self.biased = shared or config.use_relative_position_bias
        self._heads = config.num_attention_heads

    def forward(
        self,
        hidden_states: Tensor,
        head_mask: Tensor | Sequence[Tensor | None] | None = None,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        return_dict: bool = True,
        grid: Grid | None = None,
    ) -> BaseModelOutput | tuple[Any, ...]:
        """Encode tokens (B, S, D) that lie on a grid, by default that of the config.

        Returns:
            last_hidden_state, and on request hidden_states (the input, then every layer) and attentions.
        """
        tokens_BSD, grid = hidden_states, grid or self.grid
        if head_mask is None and not output_attentions and self._reads_tables(tokens_BSD, grid):
            positions, shared_bias_1HSS = Positions(grid, None), None
        else:
            positions, shared_bias_1HSS = self.relative_positions(grid, tokens_BSD.device)
        states: list[Tensor] = []
        attentions: list[Tensor] = []
        for index, layer in enumerate(self.layer):
            if output_hidden_states:
                states.append(tokens_BSD)
            head_mask_H = head_mask[index] if head_mask is not None else None
            arguments = (tokens_BSD, head_mask_H, output_attentions, shared_bias_1HSS, positions)
            if self.gradient_checkpointing and self.training and index % self.checkpoint_every == 0:
                tokens_BSD, maps_BHSS = checkpoint(layer, *arguments, use_reentrant=False)
            else:
                tokens_BSD, maps_BHSS = layer(*arguments)
            if output_attentions:
                attentions.append(maps_BHSS)
        if output_hidden_states:
            states.append(tokens_BSD)
        output = BaseModelOutput(
            last_hidden_state=tokens_BSD,
            hidden_states=tuple(states) if output_hidden_states else None,
            attentions=tuple(attentions) if output_attentions else None,
        )
        return output if return_dict else output.to_tuple()

    def _reads_tables(self, tokens_BSD: Tensor, grid: Grid) -> bool:
        """Return whether layers shall read their own biases from the tables; one that all share is built once."""
        own = self.biased and self.relative_position_bias is None
        if not (own and self.training) or torch.compiler.is_compiling():
            return False
        plain = not any(_changes_maps(layer) for layer in self.layer)
        return plain and kernels.reads_table(tokens_BSD, self._heads, grid)

    def relative_positions(self, grid: Grid, device: torch.device) -> tuple[Positions | None, Tensor | None]:
        """Return the positions on a grid that every layer needs, and the shared bias (1, H, S, S)."""
        # computed in every call, for all layers: it costs little, and a buffer of it could be lost or go stale
        positions = Positions(grid, position_index(grid, device)) if self.biased else None
        shared = self.relative_position_bias
        return positions, shared(positions) if shared is not None else None


def _changes_maps(layer: nn.Module) -> bool:
    """Return whether attention has dropout by now, or something hooks or replaces it: it has to see the maps then."""
    dropout = layer.get_submodule("attention.attention.dropout")
    return not kernels.is_untouched(dropout, nn.Dropout) or (dropout.training and dropout.p > 0)
