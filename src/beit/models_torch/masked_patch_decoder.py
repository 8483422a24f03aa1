"""Pre-training that encodes visible patches only, with a light decoder for the masked ones (SplitMask, MAE).

Legend: B batch, C channels, N patches, m masked patches of a picture, M = B * m, v = N - m visible ones, D hidden,
V codebook size.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import copy
from pathlib import Path

import torch
from torch import Tensor, nn

from beit.config import BeitConfig
from beit.errors import ConfigError
from beit.models_torch.encoder import Encoder
from beit.models_torch.initialisation import initialise
from beit.models_torch.loading import check_tensors, read_safetensors, write_safetensors
from beit.models_torch.masked_image_modeling import BeitForMaskedImageModeling, patches_at

DECODER_NAME = "decoder.safetensors"  # beside the weights of the model


def check_positions(config: BeitConfig) -> None:
    """Refuse a model whose patches have other than absolute positions, the only ones that a patch takes along.

    Raises:
        ConfigError: Naming the remedy.
    """
    if config.use_relative_position_bias or config.use_shared_relative_position_bias:
        found = "relative position biases, which are for whole grids"
    elif not config.use_absolute_position_embeddings:
        found = "no positions"
    else:
        return
    raise ConfigError(
        f"decoder.layers is set and the model has {found}; expected absolute position embeddings: start a new model "
        "with --model.positions absolute, or leave decoder.layers out"
    )


class MaskedPatchDecoder(nn.Module):
    """Layers that predict masked patches from an encoding of the visible ones.

    The model's encoder sees [CLS] and the visible patches alone, and this decoder what became of them, with mask tokens
    at the positions of the others. Embeddings, mask token, norm and head are the model's own, so that it is an ordinary
    BEiT, and the decoder a file beside it. The model alone predicts no masked patches: its encoder has never seen a
    mask token.

    Args:
        model: The model that is pre-trained.
        layers: Layers of the decoder, as wide as those of the model.

    Raises:
        ConfigError: If the model has no mask token, or other than absolute positions.

    Source: arXiv 2112.10740, section 3 (SplitMask), and arXiv 2111.06377, section 3 (MAE); the loss is that of BEiT.
    """

    def __init__(self, model: BeitForMaskedImageModeling, layers: int = 1) -> None:
        super().__init__()
        if layers < 1:
            raise ConfigError(f"the decoder of masked patches has {layers} layers; expected at least 1")
        check_positions(model.config)
        config = copy(model.config)
        config.num_hidden_layers, config.drop_path_rate = layers, 0.0
        config.pruned_heads = {}  # of the model's own layers
        self.encoder = Encoder(config, model.beit.embeddings.grid)
        initialise(self, config.initializer_range)

    @classmethod
    def from_file(cls, model: BeitForMaskedImageModeling, path: Path) -> MaskedPatchDecoder:
        """Return the decoder that a file holds, of as many layers, for the model that it was trained with.

        Raises:
            CheckpointError: If the file is missing, damaged, of another model, or holds what is no finite number.
        """
        stored = read_safetensors(path)
        layers = {found[1] for name in stored if (found := re.match(r"encoder\.layer\.(\d+)\.", name))}
        decoder = cls(model, max(1, len(layers)))
        decoder._load(stored, path)
        return decoder.to(model.device)

    def load_file(self, path: Path) -> None:
        """Load the weights that a file holds.

        Raises:
            CheckpointError: If the file is missing, damaged, of other layers, or holds what is no finite number.
        """
        self._load(read_safetensors(path), path)

    def _load(self, stored: Mapping[str, Tensor], path: Path) -> None:
        check_tensors(str(path), stored, self.state_dict())
        self.load_state_dict(stored)

    def save_file(self, path: Path) -> None:
        """Write the weights into a file, whole or not at all."""
        write_safetensors(path, self.state_dict())

    def forward(
        self,
        model: BeitForMaskedImageModeling,
        pixel_values: Tensor,
        bool_masked_pos: Tensor,
        places: Tensor | None = None,
    ) -> Tensor:
        """Return the logits of masked patches, (M, V) in row-major order, as `model.masked_logits` does.

        Args:
            model: The model that is pre-trained.
            pixel_values: (B, C, height, width), normalised.
            bool_masked_pos: (B, N); True = hidden from the model. As many patches of every picture.
            places: (B, m), int64: the masked patches; default: found in the masks.

        Raises:
            ConfigError: If the masks differ in their number of patches.
        """
        mask_BN = bool_masked_pos.flatten(1).bool()
        masked = _masked_of_each(mask_BN) if places is None else places.shape[1]
        visible = mask_BN.shape[1] - masked
        order_BN = mask_BN.int().argsort(dim=1, stable=True)  # visible patches first, each kind in row-major order
        embeddings = model.beit.embeddings
        tokens_BSD, grid = embeddings(pixel_values)
        seen_BvD = patches_at(tokens_BSD[:, 1:], order_BN[:, :visible])
        encoded_BtD = model.beit.encoder(torch.cat((tokens_BSD[:, :1], seen_BvD), dim=1), grid=grid).last_hidden_state
        hidden_BND = embeddings.mask_tokens(grid).expand(len(mask_BN), -1, -1)
        hidden_BmD = patches_at(hidden_BND, order_BN[:, visible:] if places is None else places)
        # positions are in the tokens, so that attention does not mind their order
        decoded_BSD = self.encoder(torch.cat((encoded_BtD, hidden_BmD), dim=1), grid=grid).last_hidden_state
        return model.token_logits(model.beit.layernorm(decoded_BSD[:, 1 + visible :].flatten(0, 1)))


class DecodedModel:
    """A model that predicts its masked patches by the decoder that it was pre-trained with.

    Args:
        model: In evaluation mode.
        decoder: In evaluation mode, on the model's device.
    """

    def __init__(self, model: BeitForMaskedImageModeling, decoder: MaskedPatchDecoder) -> None:
        self._model, self._decoder = model, decoder

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return self._model.device

    def masked_logits(self, pixel_values: Tensor, bool_masked_pos: Tensor) -> Tensor:
        """Return the logits of masked patches, (M, V) in row-major order; see `MaskedPatchDecoder.forward`."""
        return self._decoder(self._model, pixel_values, bool_masked_pos)


def _masked_of_each(mask_BN: Tensor) -> int:
    """Return the number of masked patches, which is the same in every picture."""
    counts = mask_BN.sum(dim=1).unique().tolist()
    if len(counts) != 1:
        raise ConfigError(
            f"the masks of a batch hide {counts} patches; expected as many of every picture: use masks of the kind "
            '"random", or exact ones'
        )
    return int(counts[0])
