"""Files of ONNX for the page: a model with everything that its tabs show, and its tokenizer in two halves.

Legend: B batch (one picture), C channels, K classes, N patches, S = 1 + N tokens, D hidden, H heads, L layers; h w
pixels, y x tokens.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from beit.geometry import Grid
from beit.inference.export.onnx_file import quantise, write_onnx
from beit.inference.export.prepared import fixed_copy
from beit.inference.export.program import INPUT, quiet
from beit.models_torch import BeitPreTrainedModel
from beit.tokenizer import VisualTokenizer

MASK, LOGITS, TOKENS, ATTENTION, HIDDEN, PIXELS = "mask", "logits", "tokens", "attention", "hidden", "pixels"


class PageModel(nn.Module):
    """One picture to what the tabs show of it.

    Args:
        model: A model, prepared.
        first: `LOGITS` of a classifier, `TOKENS` of a pre-training model with its tokenizer, None of others.

    Attributes:
        outputs: Names of what is returned.
        inputs: Names of what it takes.
    """

    def __init__(self, model: BeitPreTrainedModel, first: str | None) -> None:
        super().__init__()
        self.model = model if first else model.base_model
        self.first = first
        self.outputs = [*([first] if first else []), ATTENTION, HIDDEN]
        self.inputs = [INPUT, *([MASK] if first == TOKENS else [])]

    def forward(self, pixels_BChw: Tensor, mask_BN: Tensor | None = None) -> tuple[Tensor, ...]:
        """Return logits (B, K) or tokens (B, N), attention maps (B, H, S, S), patches of all layers (B, L, N, D)."""
        masked = () if mask_BN is None else (mask_BN,)
        outputs = self.model(pixels_BChw, *masked, return_dict=True, output_attentions=True, output_hidden_states=True)
        maps_BHSS = outputs.attentions[-1].float()
        hidden_BLND = torch.stack([tokens_BSD[:, 1:] for tokens_BSD in outputs.hidden_states[1:]], dim=1).float()
        if self.first == LOGITS:
            return outputs.logits.float(), maps_BHSS, hidden_BLND
        if self.first == TOKENS:
            return outputs.logits.argmax(dim=-1).to(torch.int32), maps_BHSS, hidden_BLND
        return maps_BHSS, hidden_BLND


class _Encode(nn.Module):
    def __init__(self, tokenizer: VisualTokenizer) -> None:
        super().__init__()
        self.tokenizer = tokenizer

    def forward(self, pixels_BChw: Tensor) -> Tensor:
        return self.tokenizer.encode(pixels_BChw).to(torch.int32)


class _Decode(nn.Module):
    def __init__(self, tokenizer: VisualTokenizer) -> None:
        super().__init__()
        self.tokenizer = tokenizer

    def forward(self, tokens_Byx: Tensor) -> Tensor:
        return self.tokenizer.decode(tokens_Byx.long())


def write_model(
    model: BeitPreTrainedModel, first: str | None, image_hw: tuple[int, int], grid: Grid, opset: int, folder: Path
) -> list[str]:
    """Write `fp32.onnx` and `int8.onnx`, and return the names of their outputs.

    Args:
        model: The model; it is not changed.
        first: See `PageModel`.
        image_hw: Size of the pictures, in pixels.
        grid: Their patches.
        opset: Version of the operators.
        folder: Where to write.
    """
    page_model = PageModel(fixed_copy(model, image_hw), first)
    pixels = torch.zeros(1, model.config.num_channels, *image_hw)
    masked = [torch.zeros(1, grid.patches, dtype=torch.bool)] if first == TOKENS else []
    program = _traced(page_model, pixels, *masked)
    write_onnx(program, folder / "fp32.onnx", page_model.outputs, opset, inputs=page_model.inputs)
    quantise(folder / "fp32.onnx", folder / "int8.onnx")
    return page_model.outputs


def write_tokenizer(tokenizer: VisualTokenizer, grid: Grid, opset: int, folder: Path) -> None:
    """Write `encoder.onnx`, pixels to tokens, and `decoder.onnx`, tokens to pixels."""
    pixels = torch.full((1, 3, grid.height * tokenizer.stride, grid.width * tokenizer.stride), 0.5)
    encoder = _traced(_Encode(tokenizer), pixels)
    write_onnx(encoder, folder / "encoder.onnx", [TOKENS], opset, inputs=[PIXELS])
    decoder = _traced(_Decode(tokenizer), torch.zeros(1, *grid, dtype=torch.int32))
    write_onnx(decoder, folder / "decoder.onnx", [PIXELS], opset, inputs=[TOKENS])


def _traced(module: nn.Module, *inputs: Tensor) -> ExportedProgram:
    with quiet(), torch.no_grad():
        return torch.export.export(module.eval().requires_grad_(False), inputs)
