"""VQKD: images to visual tokens whose decoder predicts the features of a teacher (BEiT v2).

Legend: B batch, C colour channels, D hidden, E code size, N = h * w patches, T teacher size, h x w tokens,
H x W pixels.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from beit.errors import ConfigError
from beit.hub import HubOptions
from beit.models_torch import kernels
from beit.models_torch.initialisation import initialise
from beit.models_torch.loading import fill, give_memory
from beit.models_torch.model import BeitModel
from beit.tokenizer.base import TokenizerBase, load_tensors
from beit.tokenizer.encoding import check_pixels, check_tokens
from beit.tokenizer.quantiser import Quantiser
from beit.tokenizer.vq_kd_config import VQKDConfig
from beit.weights import VQ_KD_FOLDER, check_shapes, locate_vqkd, open_vqkd, vqkd_options


def map_pixels(pixels: Tensor) -> Tensor:
    """Map pixels from [0, 1] to [-1, 1]."""
    return 2 * pixels - 1


class VQKDOutput(NamedTuple):
    """Outputs that training needs.

    Attributes:
        predicted: The teacher's features as the decoder has them, (B, N, T).
        tokens: (B, h, w), int64.
        commitment: The loss that keeps features near their codes, a scalar.
        revived: Codes that were revived in this step, a scalar, int64.
    """

    predicted: Tensor
    tokens: Tensor
    commitment: Tensor
    revived: Tensor


class VQKD(TokenizerBase[VQKDConfig]):
    """Vector-quantised knowledge distillation, at any size (arXiv 2208.06366, section 2.2); a `VisualTokenizer`.

    What the codebook does in training is set on `quantiser`: `decay`, `commitment`, `revive_below`.
    """

    def __init__(self, config: VQKDConfig) -> None:
        super().__init__(config, config.patch_size)
        self.encoder = BeitModel(config.encoder_config())
        self.decoder = BeitModel(config.decoder_config())
        self.to_code = _head(config.hidden_size, config.code_size, self.encoder.config.initializer_range)
        self.to_features = _head(config.hidden_size, config.teacher_size, self.decoder.config.initializer_range)
        self.quantiser = Quantiser(config.vocab_size, config.code_size)

    @property
    def decodes_pixels(self) -> bool:
        """False: the decoder predicts features of a teacher."""
        return False

    def map_pixels(self, pixels: Tensor) -> Tensor:
        """Map pixels from [0, 1] to [-1, 1], what the encoder takes."""
        return map_pixels(pixels)

    def features(self, pixels: Tensor) -> Tensor:
        """Return the features that are quantised, (B, h, w, E), of pixels (B, C, H, W) in [0, 1].

        Raises:
            ConfigError: If the pixels do not fit: channels, or sides that are no multiple of `stride`.
        """
        check_pixels(pixels, self.config.channels, self.stride)
        grid = (pixels.shape[2] // self.stride, pixels.shape[3] // self.stride)
        encoded_BND = _patches(self.encoder, self.map_pixels(pixels))
        # near ties between codes are decided here: half precision is kept out, as in the original code
        with kernels.without_autocast(pixels.device):
            return self.to_code(encoded_BND.to(self.encoder.dtype)).unflatten(1, grid)

    def encode(self, pixels: Tensor) -> Tensor:
        """Return the visual tokens (B, h, w), int64 in [0, V), of pixels (B, C, H, W) in [0, 1].

        Raises:
            ConfigError: If the pixels do not fit: channels, or sides that are no multiple of `stride`.
        """
        return self.quantiser.tokens(self.features(pixels))

    def predict_features(self, tokens: Tensor) -> Tensor:
        """Return the teacher's features (B, N, T) as the decoder has them, for visual tokens (B, h, w).

        Raises:
            ConfigError: If the tokens are not (B, h, w) whole numbers in [0, V).
        """
        check_tokens(tokens, self.vocab_size)
        if not tokens.numel():
            raise ConfigError(f"tokens have shape {tuple(tokens.shape)}; expected at least one token")
        return self._decoded(self.quantiser.lookup(tokens))

    def decode(self, tokens: Tensor) -> Tensor:
        """Refuse: the decoder paints no pixels.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(
            f"tokens of shape {tuple(tokens.shape)} cannot become pixels: the decoder of this tokenizer predicts the "
            "features of its teacher; use predict_features, or a DiscreteVAE for pixels"
        )

    def forward(self, pixels: Tensor) -> VQKDOutput:
        """Return the outputs for training on pixels (B, C, H, W) in [0, 1]; in training mode the codebook takes a step.

        Raises:
            ConfigError: If the pixels do not fit: channels, or sides that are no multiple of `stride`.
        """
        codes_BhwE, tokens_Bhw, commitment, revived = self.quantiser(self.features(pixels))
        return VQKDOutput(self._decoded(codes_BhwE), tokens_Bhw, commitment, revived)

    def saved_tensors(self) -> dict[str, Tensor]:
        """Return the parameters and buffers under their names in a folder."""
        return VQ_KD_FOLDER.from_canonical(self.state_dict())

    @classmethod
    def from_pretrained(cls, source: str | Path, hub: HubOptions | None = None) -> Self:
        """Load a tokenizer, in evaluation mode.

        Args:
            source: A folder that `save_pretrained` wrote, a published `.pth` file or a folder with one, or the name of
                a published tokenizer, which downloads it. Such a file is read without executing it.
            hub: Cache folder and network options of that download.

        Raises:
            ConfigError: If `config.json` is missing or not that of such a tokenizer.
            CheckpointError: If the weights are missing, damaged, unsafe, or do not fit.
        """
        if (path := locate_vqkd(source, hub or HubOptions())) is not None:
            return cls._published(path)
        model = cls._without_values(VQKDConfig.from_pretrained(source))
        load_tensors(source, model, VQ_KD_FOLDER)
        return model.eval()

    @classmethod
    def _published(cls, path: Path) -> Self:
        entries = open_vqkd(path)
        shapes = {name: entry.shape for name, entry in entries.items()}
        model = cls._without_values(VQKDConfig(**vqkd_options(str(path), shapes)))
        own = model.state_dict()
        del own["quantiser.initialised"]  # it is, whatever the file says
        report = check_shapes(str(path), shapes, {name: tuple(tensor.shape) for name, tensor in own.items()})
        give_memory(model, torch.device("cpu"), torch.float32)
        taken = {name: tensor for name, tensor in model.state_dict().items() if name in own}
        fill(taken, entries, report, str(path))
        model.quantiser.initialised.fill_(True)
        return model.eval()

    @classmethod
    def _without_values(cls, config: VQKDConfig) -> Self:
        """Build a tokenizer that takes neither memory nor random numbers."""
        with torch.device("meta"):
            return cls(config)

    def _decoded(self, codes_BhwE: Tensor) -> Tensor:
        return self.to_features(_patches(self.decoder, codes_BhwE.movedim(-1, 1)))


def distillation_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Return the mean over all patches of 1 - cosine similarity, in float32: from 0 to 2.

    Args:
        predicted: The decoder's features (B, N, T).
        target: The teacher's (B, N, T).

    Raises:
        ConfigError: If their shapes differ.

    Source: arXiv 2208.06366, section 2.2; microsoft/unilm `VQKD.calculate_rec_loss`.
    """
    if predicted.shape != target.shape:
        raise ConfigError(
            f"the teacher's features have shape {tuple(target.shape)}, those predicted {tuple(predicted.shape)}; "
            "expected the same patches and channels: check teacher_size, and the size of the pictures that it sees"
        )
    return 1 - functional.cosine_similarity(predicted.float(), target.float(), dim=-1).mean()


def _head(hidden_size: int, out_size: int, std: float) -> nn.Sequential:
    head = nn.Sequential(nn.Linear(hidden_size, hidden_size), nn.Tanh(), nn.Linear(hidden_size, out_size))
    initialise(head, std)
    return head


def _patches(model: BeitModel, pixels_BChw: Tensor) -> Tensor:
    """Return the patch tokens (B, N, D), normalised each, where a classifier would normalise their mean."""
    tokens_BSD = model(pixels_BChw, return_dict=True).last_hidden_state
    norm = cast(nn.LayerNorm, cast(nn.Module, model.pooler).layernorm)
    return norm(tokens_BSD[:, 1:])
