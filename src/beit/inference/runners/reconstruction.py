"""Reconstruction of hidden patches from the visual tokens that a model predicts.

Legend: B batch, N patches, C channels, H x W pixels of the tokenizer's view; rows and cols count patches.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from beit.data import Views
from beit.errors import ConfigError
from beit.geometry import Grid
from beit.image import AnyPicture, Bands, LoadedPicture, Preprocessing, to_unit_array
from beit.inference.runners.runner import Runner
from beit.inference.runners.torch_runner import TorchRunner
from beit.models_torch import BeitForMaskedImageModeling
from beit.models_torch.masked_patch_decoder import DECODER_NAME, DecodedModel
from beit.tokenizer import TokenEncoder, VisualTokenizer, completed_tokens, hide_patches


class Reconstructor:
    """A pre-training model with the tokenizer whose tokens it predicts.

    Raises:
        ConfigError: If the model is none or has lost its decoder, or the tokenizer does not fit or paints no pixels.
    """

    def __init__(self, runner: Runner, view: Preprocessing, tokenizer: VisualTokenizer, grid: Grid) -> None:
        model = runner.model if isinstance(runner, TorchRunner) else None
        if not isinstance(model, BeitForMaskedImageModeling) or not isinstance(runner, TorchRunner):
            raise ConfigError(
                f"a tokenizer is given, and the model is a {type(model or runner).__name__}; expected a pre-training "
                "model (BeitForMaskedImageModeling), which predicts its tokens: leave the tokenizer out"
            )
        if model.config.mask_tokens_in_decoder and runner.decoder is None:
            raise ConfigError(
                f"the model was pre-trained with its mask tokens in a decoder (decoder.layers), and there is no "
                f"{DECODER_NAME} beside it; expected both, to reconstruct: copy it from the run folder of the "
                "pre-training, or take this model for features and fine-tuning"
            )
        if not tokenizer.decodes_pixels:
            raise ConfigError(
                f"the tokenizer is a {type(tokenizer).__name__} that paints no pixels; expected one with a decoder, "
                "such as a discrete VAE that was saved whole"
            )
        if tokenizer.vocab_size != model.config.vocab_size:
            raise ConfigError(
                f"the tokenizer has {tokenizer.vocab_size} visual tokens, the model predicts "
                f"{model.config.vocab_size}; expected the tokenizer that it was pre-trained with"
            )
        self._runner = runner
        self._model = model if runner.decoder is None else DecodedModel(model, runner.decoder)
        self._encoder = TokenEncoder(tokenizer, runner.device)
        self._view = view
        self._tokenizer_view = Views(view, None, (grid.height * tokenizer.stride, grid.width * tokenizer.stride))

    def __call__(self, picture: AnyPicture, mask: NDArray[np.bool_]) -> tuple[Image.Image, Image.Image, Image.Image]:
        """Return the model's view of a picture as RGB, the same with grey patches, and its reconstruction.

        Args:
            picture: Of any size.
            mask: (rows, cols), True = hidden from the model.
        """
        seen = self._view.crop(picture)
        masked = hide_patches(torch.from_numpy(to_unit_array(seen))[None], torch.from_numpy(mask)[None])
        painted = _picture(self._painted(picture, mask)).resize(seen.size, Image.Resampling.BICUBIC)
        return seen, _picture(masked), painted

    @torch.inference_mode()
    def _painted(self, picture: AnyPicture, mask: NDArray[np.bool_]) -> Tensor:
        """Return the decoded pixels (1, C, H, W), in [0, 1]."""
        views = self._tokenizer_view(LoadedPicture(picture), np.random.default_rng(0))  # nothing in it is random
        tokens_1hw = self._encoder(torch.from_numpy(views["tokenizer_pixels"])[None])
        pixels_1CHW = torch.from_numpy(self._view(picture))[None]
        with self._runner.computing():
            completed = completed_tokens(self._model, pixels_1CHW, torch.from_numpy(mask).reshape(1, -1), tokens_1hw)
        return self._encoder.tokenizer.decode(completed)


def _picture(pixels_1CHW: Tensor) -> Image.Image:
    return Bands.of_array(pixels_1CHW[0].permute(1, 2, 0).float().cpu().numpy()).shown()
