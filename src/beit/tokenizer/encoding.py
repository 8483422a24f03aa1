"""A tokenizer made ready to encode many pictures.

Legend: B batch, C colour channels, h x w tokens, H x W pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from beit.models_torch.device import computing_in, pick_precision
from beit.tokenizer.protocol import VisualTokenizer


class TokenEncoder:
    """Encodes in evaluation mode, without gradients, in the memory format and precision that the device does best.

    Args:
        tokenizer: Any; if it is a torch module, it is moved to the device and frozen.
        device: Where to compute.
        precision: "bf16" and, on a GPU that supports it, "auto" run under autocast; a few tokens in a hundred then
            differ from those of "fp32".
        compiled: Compile the encoder at the first batch of every size.
    """

    def __init__(
        self,
        tokenizer: VisualTokenizer,
        device: torch.device | str = "cpu",
        precision: str = "auto",
        compiled: bool = False,
    ) -> None:
        self.device = torch.device(device)
        self.tokenizer = tokenizer
        if isinstance(tokenizer, nn.Module):
            tokenizer.to(self.device).eval().requires_grad_(requires_grad=False)
            tokenizer.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # its stubs forget it
        self.precision = pick_precision(precision, self.device)
        self._encode = torch.compile(tokenizer.encode) if compiled else tokenizer.encode

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> Tensor:
        """Return the visual tokens (B, h, w), int64, of pixels (B, C, H, W) in [0, 1].

        Raises:
            ConfigError: If the pixels do not fit the tokenizer.
        """
        pixels_BCHW = pixels.to(self.device, torch.float32, memory_format=torch.channels_last)
        # inside a training step under autocast, the tokens keep their own precision
        with computing_in(self.precision, self.device):
            return self._encode(pixels_BCHW)
