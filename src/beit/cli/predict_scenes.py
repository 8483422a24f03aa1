"""`beit predict --task segment`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from beit.cli.output import say
from beit.errors import ConfigError, DataError


def predict_scenes(model: str, pictures: Sequence[str], output: str | None, device: str, as_json: bool) -> int:
    """Write the classes of every pixel of pictures and films; a broken picture is named, the others are done.

    Raises:
        ConfigError: If no folder to write is named.
    """
    if output is None:
        raise ConfigError("--output is missing; name a folder for the label maps and overlays")
    from rich.console import Console
    from rich.progress import track

    from beit.inference.frames import frames, named_files
    from beit.inference.predictor import Predictor

    files = named_files(pictures)
    predictor, place = Predictor.from_pretrained(model, device=device), Path(output)
    predictor.require("segment")
    place.mkdir(parents=True, exist_ok=True)
    failed = done = 0
    for named in track(files, "segmenting", console=Console(stderr=True), disable=len(files) < 2):
        try:
            for name, picture in frames(named):
                found = predictor.segment(picture)[0]
                found.index_image().save(place / f"{name}_index.png")
                found.colour_image().save(place / f"{name}_colour.png")
                found.overlay().save(place / f"{name}_overlay.png")
                told = {"picture": str(named.path), "name": name, **found.to_json()}
                (place / f"{name}.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
                done += 1
                if as_json:
                    print(json.dumps(told))
                else:
                    largest = list(found.shares.items())[:3]
                    say(f"{name}  " + "  ".join(f"{label} {share:.1%}" for label, share in largest))
        except DataError as error:
            failed += 1
            print(f"beit: {error}", file=sys.stderr)
    if not as_json:
        say(f"{done} picture{'s' * (done != 1)} in {place}: numbers (_index.png), colours, overlays and shares (.json)")
    return 1 if failed else 0
