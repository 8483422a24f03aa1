"""`beit predict`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Literal

from beit.cli.parser import new_parser, parse
from beit.errors import DataError

DESCRIPTION = "Say what is in pictures, or with --task segment in each of their pixels, with a fine-tuned model."


def run(arguments: Sequence[str]) -> int:
    """Parse, predict, print; a broken picture is named and the others are still predicted."""
    parser = new_parser("beit predict", DESCRIPTION)
    parser.add_argument("model", type=str, help="Folder of a fine-tuned model.")
    parser.add_argument("pictures", type=str, nargs="+", help="Picture files; to segment also folders and films.")
    parser.add_argument("--task", type=Literal["classify", "segment"], default="classify", help="What to tell.")
    parser.add_argument("--output", type=str, help="Folder for label maps, overlays and shares, to segment.")
    parser.add_argument("--top_k", type=int, default=3, help="Classes to name for each picture.")
    parser.add_argument("--device", type=str, default="auto", help="cpu, cuda or auto.")
    parser.add_argument("--json", action="store_true", help="One JSON object per picture, for other programs.")
    settings = parse(parser, arguments)
    if settings.task == "segment":
        from beit.cli.predict_scenes import predict_scenes

        return predict_scenes(settings.model, settings.pictures, settings.output, settings.device, settings.json)
    from beit.inference.predictor import Predictor

    predictor = Predictor.from_pretrained(settings.model, device=settings.device)
    failed = 0
    for picture in settings.pictures:
        try:
            prediction = predictor.classify([picture], settings.top_k)[0]
        except DataError as error:
            failed += 1
            print(f"beit: {error}", file=sys.stderr)
            continue
        pairs = list(zip(prediction.labels, prediction.probabilities, strict=True))
        if settings.json:
            print(json.dumps({"picture": picture, "predictions": [{"label": n, "probability": p} for n, p in pairs]}))
        else:
            print(f"{picture}  " + "  ".join(f"{name} {share:.1%}" for name, share in pairs))
    return 1 if failed else 0
