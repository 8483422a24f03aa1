"""Check of the files of a page against the model that they were made of, output by output.

Legend: B batch (one picture), C channels, N patches, h w pixels, y x tokens.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from beit.errors import CheckpointError
from beit.geometry import Grid, patch_grid
from beit.image import Preprocessing
from beit.inference.export.check import LIMITS, Check, compared
from beit.inference.export.examples import Examples
from beit.inference.export.model import ExportModel
from beit.inference.export.program import INPUT
from beit.inference.export.web_model import ATTENTION, HIDDEN, LOGITS, MASK, PIXELS, TOKENS
from beit.inference.runners.runner import Floats
from beit.settings.export import ExportPrecision
from beit.telemetry import keep_telemetry_off
from beit.tokenizer import VisualTokenizer

_CLOSE = 1e-2  # of decoded pixels in [0, 1]: less than three of 255 levels


def check_model(
    model: ExportModel, outputs: list[str], precision: ExportPrecision, examples: Examples, folder: Path
) -> Check:
    """Compare a file with the model on pictures, and return the check of the output that the first tab shows.

    Args:
        model: The model.
        outputs: Names of the file's outputs.
        precision: How exact the file is meant to be, which is its name.
        examples: The pictures.
        folder: Where the file is.

    Raises:
        CheckpointError: If an output differs by more than `LIMITS`.
    """
    session = _session(folder / f"{precision}.onnx")
    pictures = list(examples.batches(model.view, 1))
    grid = patch_grid(model.view.image_hw, model.config.patch_hw)
    masked = {MASK: np.zeros((1, grid.patches), dtype=bool)} if TOKENS in outputs else {}
    found = [session.run(outputs, {INPUT: pixels_BChw, **masked}) for pixels_BChw in pictures]
    expected = [_expected(model, outputs, pixels_BChw) for pixels_BChw in pictures]
    checks: dict[str, Check] = {}
    for place, name in enumerate(outputs):
        pairs = [(of_model[place], of_file[place]) for of_model, of_file in zip(expected, found, strict=True)]
        if name == TOKENS:
            _check_tokens(pairs, precision)
        else:
            checks[name] = compared(pairs, precision, examples.origin, scores=name == LOGITS)
    return checks.get(LOGITS, checks[HIDDEN])


def check_tokenizer(tokenizer: VisualTokenizer, grid: Grid, examples: Examples, folder: Path) -> None:
    """Compare both halves of a tokenizer with it.

    Raises:
        CheckpointError: If they give other tokens or pixels.
    """
    encoder, decoder = (_session(folder / f"{half}.onnx") for half in ("encoder", "decoder"))
    hw = grid.height * tokenizer.stride, grid.width * tokenizer.stride
    view = Preprocessing(hw, hw, (0.0,) * 3, (1.0,) * 3)
    pairs: list[tuple[NDArray[Any], NDArray[Any]]] = []
    with torch.inference_mode():
        for pixels_BChw in examples.batches(view, 1):
            tokens_Byx = tokenizer.encode(torch.from_numpy(pixels_BChw))
            pairs.append((tokens_Byx.numpy(), encoder.run(None, {PIXELS: pixels_BChw})[0]))
            painted = decoder.run(None, {TOKENS: tokens_Byx.numpy().astype(np.int32)})[0]
            if not np.abs(painted - tokenizer.decode(tokens_Byx).numpy()).max() <= _CLOSE:
                raise CheckpointError(
                    "the exported decoder of the tokenizer paints other pixels; leave --tokenizer out"
                )
    _check_tokens(pairs, "fp32")


def _expected(model: ExportModel, outputs: list[str], pixels_BChw: Floats) -> list[NDArray[Any]]:
    """Return what the model itself gives for the outputs of a file."""
    layers = tuple(range(1, model.config.num_hidden_layers + 1))
    runner = model.runner

    def features(pixels_BChw: Floats) -> list[Floats]:
        return runner.features(pixels_BChw, layers, "none")

    def output(name: str) -> NDArray[Any]:
        if name == ATTENTION:
            return runner.attention(pixels_BChw, -1)
        if name == HIDDEN:
            return np.stack([map_.reshape(1, -1, map_.shape[-1]) for map_ in features(pixels_BChw)], axis=1)
        logits = runner(pixels_BChw) if name == LOGITS else _token_logits(model, pixels_BChw)
        return logits if name == LOGITS else logits.argmax(-1)

    return [output(name) for name in outputs]


def _token_logits(model: ExportModel, pixels_BChw: Floats) -> Floats:
    with model.runner.computing():
        return model.torch_model(torch.from_numpy(pixels_BChw), return_dict=True).logits.numpy()


def _check_tokens(pairs: list[tuple[NDArray[Any], NDArray[Any]]], precision: ExportPrecision) -> None:
    """Refuse a file that predicts other tokens; in int8 near ties between thousands of codes may fall otherwise."""
    if precision != "fp32":
        return
    agreement = np.mean([np.mean(expected == found) for expected, found in pairs])
    if not agreement >= LIMITS[precision].agreement:
        raise CheckpointError(
            f"the exported file gives the same visual tokens for {agreement:.1%} of the patches; expected "
            f"{LIMITS[precision].agreement:.0%}: nothing was written, leave --tokenizer out"
        )


def _session(file: Path) -> Any:
    keep_telemetry_off()
    import onnxruntime

    return onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
