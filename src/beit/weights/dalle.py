"""OpenAI's released tokenizer: two pickled modules, `encoder.pkl` and `decoder.pkl`; only tensors are read.

Source: the names of openai/DALL-E, `dall_e/encoder.py` and `dall_e/decoder.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from beit.catalog import DALLE_TOKENIZER
from beit.errors import CheckpointError
from beit.hub import HubOptions
from beit.hub.download import fetch_url
from beit.weights.pickles import PickledModule, open_pickled
from beit.weights.rules import Entry, Layout, Rule, entry_of
from beit.weights.storage.lazy_tensor import LazyTensor

ENCODER_NAME, DECODER_NAME = "encoder.pkl", "decoder.pkl"
_KINDS = {ENCODER_NAME: "dall_e.encoder.Encoder", DECODER_NAME: "dall_e.decoder.Decoder"}
# The modules that these two consist of; of each, only the attributes are read.
_MODULES = (
    "dall_e.encoder.Encoder",
    "dall_e.encoder.EncoderBlock",
    "dall_e.decoder.Decoder",
    "dall_e.decoder.DecoderBlock",
    "dall_e.utils.Conv2d",
    "torch.nn.modules.container.Sequential",
    "torch.nn.modules.linear.Identity",
    "torch.nn.modules.activation.ReLU",
    "torch.nn.modules.pooling.MaxPool2d",
    "torch.nn.modules.upsampling.Upsample",
)
_MOST = range(1, 9)  # groups and blocks that the table has names for; the released model has 4 and 2


def _rules() -> Iterator[Rule]:
    """Yield the table; groups, blocks and convolutions are counted from 1 there and from 0 here."""
    for theirs, ours in (("w", "weight"), ("b", "bias")):
        yield Rule(f"{{coder}}.blocks.input.{theirs}", f"{{coder}}.stem.{ours}")
        yield Rule(f"{{coder}}.blocks.output.conv.{theirs}", f"{{coder}}.head.{ours}")
        for group in _MOST:
            for block in _MOST:
                there = f"{{coder}}.blocks.group_{group}.block_{block}"
                here = f"{{coder}}.groups.{group - 1}.{block - 1}"
                yield Rule(f"{there}.id_path.{theirs}", f"{here}.identity.{ours}")
                for number in range(1, 5):
                    yield Rule(f"{there}.res_path.conv_{number}.{theirs}", f"{here}.convolutions.{number - 1}.{ours}")


DALLE = Layout(name="OpenAI DALL-E", rules=tuple(_rules()), marker="encoder.blocks.input.w")


def locate_dalle(source: str | Path, hub: HubOptions) -> dict[str, Path] | None:
    """Return the paths of `encoder.pkl` and, if it is there, `decoder.pkl`; None for any other source.

    Args:
        source: A folder with them, or "openai/DALL-E", which downloads them into the cache.
        hub: Cache folder and network options of that download.

    Raises:
        CheckpointError: If a file cannot be downloaded, or the encoder is missing.
    """
    if str(source) == DALLE_TOKENIZER.name and not Path(source).exists():
        return {name: fetch_url(url, hub) for name, url in zip(_KINDS, DALLE_TOKENIZER.urls, strict=True)}
    found = {name: Path(source) / name for name in _KINDS if (Path(source) / name).is_file()}
    if not found:
        return None
    if ENCODER_NAME not in found:
        raise CheckpointError(f"{source} holds {DECODER_NAME} without {ENCODER_NAME}; put the encoder beside it")
    return found


def open_dalle(files: Mapping[str, Path]) -> dict[str, Entry]:
    """Return the tensors of `encoder.pkl` and, if given, `decoder.pkl`, under the names of `DiscreteVAE`.

    Raises:
        CheckpointError: If a file is missing, damaged, unsafe, or of another kind than its name says.
    """
    stored: dict[str, LazyTensor] = {}
    for name, path in files.items():
        kind = _KINDS[name]
        module = open_pickled(path, _MODULES)
        if not isinstance(module, PickledModule) or module.kind != kind:
            found = module.kind if isinstance(module, PickledModule) else type(module).__name__
            raise CheckpointError(f"{path} holds a {found}; expected the {kind} that OpenAI released")
        stored |= module.tensors(f"{path.stem}.")
    return DALLE.to_canonical(stored, entry_of)


def dalle_options(source: str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Return the options of `DiscreteVAEConfig` inferred from the shapes of its tensors.

    Raises:
        CheckpointError: If they are not those of an encoder and a decoder.
    """
    any_decoder = any(name.startswith("decoder.") for name in shapes)
    try:
        hidden, channels = shapes["encoder.stem.weight"][:2]
        places = [re.match(r"encoder\.groups\.(\d+)\.(\d+)\.", name) for name in shapes]
        groups, blocks = zip(*((int(place[1]), int(place[2])) for place in places if place), strict=True)
        decoder = {"decoder_input_size": shapes["decoder.stem.weight"][0]} if any_decoder else {"has_decoder": False}
        return {
            "vocab_size": shapes["encoder.head.weight"][0],
            "hidden_size": hidden,
            "blocks_per_group": max(blocks) + 1,
            "groups": max(groups) + 1,
            "channels": channels,
            **decoder,
        }
    except (KeyError, ValueError, IndexError):
        raise CheckpointError(f"{source} lacks parts of an encoder or a decoder; fetch both files again") from None
