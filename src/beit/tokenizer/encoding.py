"""Encoding of many pictures, and operations on visual tokens: checks, counts, perplexity, completion.

Legend: B batch, C channels, N patches, V codebook size, h x w tokens, H x W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from beit.errors import ConfigError
from beit.models_torch.device import Precision, computing_in, pick_precision, why_not_compiled
from beit.tokenizer.protocol import VisualTokenizer

_BEYOND = 0.25  # the range, which sharp resampling leaves
_LEAST_PERPLEXITY = 2.0  # of tokens that can teach something
_LEAST_SHARE = 0.1  # of the perplexity above 1 that a codebook can have, where it is smaller


def check_pixels(pixels: Tensor, channels: int, stride: int) -> None:
    """Refuse pixels that are not (B, C, H, W) with sides of at least one token.

    Raises:
        ConfigError: Naming the shape and what is expected.
    """
    if pixels.dim() != 4 or pixels.shape[1] != channels or pixels.shape[2] % stride or pixels.shape[3] % stride:
        raise ConfigError(
            f"tokenizer pixels have shape {tuple(pixels.shape)}; expected (batch, {channels}, height, width) "
            f"with sides that are multiples of {stride}: resize them"
        )
    if not pixels.shape[2] or not pixels.shape[3]:
        raise ConfigError(f"tokenizer pixels have shape {tuple(pixels.shape)}; expected sides of at least {stride}")
    if not pixels.is_floating_point():
        raise ConfigError(f"tokenizer pixels have dtype {pixels.dtype}; expected floats in [0, 1]: divide by 255")
    if pixels.device.type == "cpu" and pixels.numel() and not torch.compiler.is_compiling():
        _check_range(pixels)


def _check_range(pixels: Tensor) -> None:
    """Refuse values that no picture in [0, 1] has, resampled ones a little beyond; a GPU would have to be waited for.

    Raises:
        ConfigError: Naming the range.
    """
    low, high = (float(value) for value in pixels.detach().aminmax())
    if low >= -_BEYOND and high <= 1 + _BEYOND:
        return
    remedy = "divide by 255" if low >= 0 else "undo the normalisation, as pixels * std + mean does"
    raise ConfigError(f"tokenizer pixels go from {low:g} to {high:g}; expected [0, 1]: {remedy}")


def check_tokens(tokens: Tensor, vocab_size: int) -> None:
    """Refuse tokens that are not (B, h, w) whole numbers in [0, V).

    Raises:
        ConfigError: Naming what they are and what is expected.
    """
    if tokens.dim() != 3 or tokens.dtype not in (torch.int64, torch.int32):
        raise ConfigError(
            f"tokens have shape {tuple(tokens.shape)} and dtype {tokens.dtype}; expected (batch, height, width), int64"
        )
    if torch.compiler.is_compiling():  # whose programs cannot look at values
        return
    if tokens.numel() and not (int(tokens.min()) >= 0 and int(tokens.max()) < vocab_size):
        raise ConfigError(
            f"tokens lie between {int(tokens.min())} and {int(tokens.max())}; expected 0 to {vocab_size - 1}: they "
            "come from another tokenizer"
        )


@dataclass(frozen=True)
class CodebookUsage:
    """Usage of a codebook over a set of images.

    Attributes:
        used: Codes that occur at least once.
        perplexity: exp of the entropy of the token frequencies: 1 (one code) to V (all equally often).
    """

    used: int
    perplexity: float


def count_tokens(tokens: Tensor, vocab_size: int) -> Tensor:
    """Return the number of occurrences of each code, (V,) int64, on the device of the tokens."""
    flat = tokens.flatten().long()
    # integer sums do not depend on the order, so bincount's warning about determinism on GPUs does not apply
    return torch.zeros(vocab_size, dtype=torch.int64, device=flat.device).scatter_add_(0, flat, torch.ones_like(flat))


def perplexity(counts_V: Tensor) -> Tensor:
    """Return exp of the entropy of the frequencies, a scalar from 1 to V, from counts per code (V,)."""
    share_V = counts_V.double() / counts_V.sum().clamp(min=1)
    return (-torch.special.xlogy(share_V, share_V).sum()).exp()


def least_perplexity(vocab_size: int) -> float:
    """Return the perplexity of tokens below which there is next to nothing to predict: they are nearly always the same.

    It is 2, or of a small codebook a tenth of the way from 1 to its size.
    """
    return min(_LEAST_PERPLEXITY, 1 + _LEAST_SHARE * (vocab_size - 1))


def codebook_usage(counts_V: Tensor) -> CodebookUsage:
    """Return used codes and perplexity from counts per code (V,)."""
    return CodebookUsage(used=int((counts_V > 0).sum()), perplexity=float(perplexity(counts_V)))


_GREY = 0.5


class MaskedPatchPredictor(Protocol):
    """A predictor of the visual tokens of masked patches: a pre-training model, alone or with its decoder."""

    @property
    def device(self) -> torch.device:
        """The device of pictures and masks."""
        ...

    def masked_logits(self, pixel_values: Tensor, bool_masked_pos: Tensor) -> Tensor:
        """Return the logits of masked patches, (M, V) in row-major order."""
        ...


@torch.inference_mode()
def completed_tokens(model: MaskedPatchPredictor, pixel_values: Tensor, mask_BN: Tensor, tokens_Bhw: Tensor) -> Tensor:
    """Return the visual tokens (B, h, w) that a model predicts for hidden patches, and the true ones of the others.

    Args:
        model: In evaluation mode.
        pixel_values: What it sees, (B, C, H, W), normalised.
        mask_BN: True = hidden from it.
        tokens_Bhw: The tokenizer's, on any device; the result is on the same.
    """
    device = model.device
    predicted_M = model.masked_logits(pixel_values.to(device), mask_BN.to(device)).argmax(dim=-1)
    mask_Bhw = mask_BN.to(tokens_Bhw.device).view(tokens_Bhw.shape)
    return tokens_Bhw.masked_scatter(mask_Bhw, predicted_M.to(tokens_Bhw))


def hide_patches(pixels_BCHW: Tensor, mask_Bhw: Tensor) -> Tensor:
    """Return pictures in [0, 1] with their masked patches in grey."""
    patch = [pixels_BCHW.shape[axis] // mask_Bhw.shape[axis - 1] for axis in (2, 3)]
    mask_B1HW = mask_Bhw.repeat_interleave(patch[0], 1).repeat_interleave(patch[1], 2).unsqueeze(1)
    return torch.where(mask_B1HW, torch.full_like(pixels_BCHW, _GREY), pixels_BCHW)


class TokenEncoder:
    """Encodes in evaluation mode, without gradients, in the memory format and precision that the device does best.

    Args:
        tokenizer: Any; if it is a torch module, it is moved to the device and frozen.
        device: Where to compute.
        precision: "bf16" and, on a GPU that supports it, "auto" run under autocast; a few tokens in a hundred then
            differ from those of "fp32".
        compiled: Compile the encoder for whole batches, at the first one; "auto" on a GPU that has a compiler. Any
            other batch, such as the last of a pass, is encoded without a program of its own.
        whole: Pictures of a whole batch; None: of the largest one so far.
    """

    def __init__(
        self,
        tokenizer: VisualTokenizer,
        device: torch.device | str = "cpu",
        precision: str = "auto",
        compiled: bool | str = False,
        whole: int | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.tokenizer = tokenizer
        if isinstance(tokenizer, nn.Module):
            tokenizer.to(self.device).eval().requires_grad_(requires_grad=False)
            tokenizer.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # its stubs forget it
        self.precision: Precision = pick_precision(precision, self.device)
        # inside a training step under autocast, the tokens keep their own precision
        self._own_precision = computing_in(self.precision, self.device)
        if compiled == "auto":
            compiled = isinstance(tokenizer, nn.Module) and why_not_compiled(self.device) is None
        self._program = torch.compile(tokenizer.encode, dynamic=False) if compiled else None
        self._whole, self._most = whole, 0

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> Tensor:
        """Return the visual tokens (B, h, w), int64, of pixels (B, C, H, W) in [0, 1].

        Raises:
            ConfigError: If the pixels do not fit the tokenizer.
        """
        pixels_BCHW = pixels.to(self.device, torch.float32, memory_format=torch.channels_last)
        with self._own_precision:
            if self._program is None or not self._is_whole(len(pixels_BCHW)):
                return self.tokenizer.encode(pixels_BCHW)
            with torch.inference_mode(False), torch.no_grad():  # a program belongs to the mode that it was made in
                return self._program(pixels_BCHW.clone() if pixels_BCHW.is_inference() else pixels_BCHW)

    def _is_whole(self, pictures: int) -> bool:
        self._most = max(self._most, pictures)
        return pictures == (self._most if self._whole is None else self._whole)
