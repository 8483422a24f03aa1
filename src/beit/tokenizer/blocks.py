"""The residual blocks of the discrete VAE.

Legend: B batch, C channels, h x w pixels or positions.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class ResidualBlock(nn.Module):
    """identity(x) + gain * residual(x), the residual being four times (ReLU, convolution) through a bottleneck.

    Encoder blocks use kernels 3, 3, 3, 1 and decoder blocks 1, 3, 3, 3. The gain 1 / blocks ** 2 keeps the sum over all
    blocks bounded.

    Source: openai/DALL-E `EncoderBlock`, `DecoderBlock`.
    """

    def __init__(self, in_channels: int, out_channels: int, kernels: tuple[int, int, int, int], gain: float) -> None:
        super().__init__()
        middle = out_channels // 4
        widths = (in_channels, middle, middle, middle, out_channels)
        self.convolutions = nn.ModuleList(
            convolution(widths[i], widths[i + 1], kernels[i]) for i in range(len(kernels))
        )
        self.identity = convolution(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()
        self.gain = gain

    def forward(self, x_BChw: Tensor) -> Tensor:
        """Return (B, out_channels, h, w)."""
        # What a convolution returns is needed by nobody else, nor by its gradient, so it is overwritten: on a CPU,
        # memory never touched before costs more time than the arithmetic on it.
        residual_BChw = x_BChw
        for index, layer in enumerate(self.convolutions):
            residual_BChw = layer(functional.relu(residual_BChw, inplace=index > 0))
        return residual_BChw.mul_(self.gain).add_(self.identity(x_BChw))


def convolution(in_channels: int, out_channels: int, kernel: int) -> nn.Conv2d:
    """Return a convolution that keeps height and width, with the original's initialisation: normal, bias 0."""
    layer = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2)
    nn.init.normal_(layer.weight, std=(in_channels * kernel**2) ** -0.5)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
