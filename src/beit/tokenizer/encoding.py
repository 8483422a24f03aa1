"""Fast encoding of many pictures by a tokenizer.

Legend: B batch, C colour channels, h x w tokens, H x W pixels.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from beit.models_torch.device import computes_in_bf16
from beit.tokenizer.protocol import VisualTokenizer

Precision = Literal["auto", "fp32", "bf16"]


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
        precision: Precision = "auto",
        compiled: bool = False,
    ) -> None:
        self.device = torch.device(device)
        self.tokenizer = tokenizer
        if isinstance(tokenizer, nn.Module):
            tokenizer.to(self.device).eval().requires_grad_(requires_grad=False)
            tokenizer.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # its stubs forget it
        self.precision: Literal["fp32", "bf16"] = "bf16" if computes_in_bf16(precision, self.device) else "fp32"
        self._encode = torch.compile(tokenizer.encode) if compiled else tokenizer.encode

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> Tensor:
        """Return the visual tokens (B, h, w), int64, of pixels (B, C, H, W) in [0, 1].

        Raises:
            ConfigError: If the pixels do not fit the tokenizer.
        """
        pixels_BCHW = pixels.to(self.device, torch.float32, memory_format=torch.channels_last)
        # inside a training step under autocast, the tokens keep their own precision
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16"):
            return self._encode(pixels_BCHW)
