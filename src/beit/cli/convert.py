"""`beit convert`."""

from __future__ import annotations

from collections.abc import Sequence

from beit.cli.output import say
from beit.cli.parser import new_parser, parse
from beit.cli.sizes import image_size
from beit.errors import ConfigError

_DTYPES = {"auto": "auto", "fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
DESCRIPTION = "Write a checkpoint in another layout: Hugging Face, timm, the original .pth, or Flax."


def run(arguments: Sequence[str]) -> int:
    """Parse, convert, print what was changed on the way."""
    parser = new_parser("beit convert", DESCRIPTION)
    parser.add_argument("source", type=str, help="A folder, a file of weights, a hub repository, or a published name.")
    parser.add_argument("destination", type=str, help="A folder; for unilm a file, such as model.pth.")
    parser.add_argument("--to", type=str, required=True, help="hf, timm, unilm or flax.")
    parser.add_argument(
        "--image_size",
        type=str | None,
        default=None,
        help="Resize positions to this input size in pixels: a side, or HEIGHTxWIDTH.",
    )
    parser.add_argument(
        "--bias_resize",
        type=str,
        default="cubic",
        help="How the relative position bias is resized: cubic (the authors'), linear (timm's) or bilinear.",
    )
    parser.add_argument("--precision", type=str, default="auto", help="auto (as it is), fp32, fp16 or bf16.")
    parser.add_argument(
        "--num_attention_heads",
        type=int | None,
        default=None,
        help="For original checkpoints without relative positions, which do not hold it.",
    )
    parser.add_argument(
        "--out_indices",
        type=list[int] | None,
        default=None,
        help="For original segmentation of an unusual depth: the four blocks it reads, counted from 0.",
    )
    parser.add_argument("--revision", type=str | None, default=None, help="Branch, tag or commit on the hub.")
    parser.add_argument("--token", type=str | None, default=None, help="Access token for the hub.")
    settings = parse(parser, arguments)
    from beit.hub import HubOptions
    from beit.models_torch.conversion import convert

    options = {name: settings[name] for name in ("num_attention_heads", "out_indices") if settings[name] is not None}
    if settings.image_size is not None:
        options["image_size"] = image_size(settings.image_size)
    report = convert(
        settings.source,
        settings.destination,
        settings.to,
        dtype=_dtype(settings.precision),
        bias_resize=settings.bias_resize,
        hub=HubOptions(revision=settings.revision, token=settings.token),
        **options,
    )
    for line in (*report.adapted, *(f"left out: {name}" for name in report.unexpected)):
        say(line)
    say(f"model  {settings.destination}")
    return 0


def _dtype(precision: str) -> str:
    """Return torch's name of a precision."""
    if precision not in _DTYPES:
        raise ConfigError(f"precision is {precision!r}; expected one of {', '.join(_DTYPES)}")
    return _DTYPES[precision]
