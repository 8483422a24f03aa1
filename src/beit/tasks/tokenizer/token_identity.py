"""Identity of stored tokens: tokenizer, data and views that they were made of."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from beit.settings.groups import AugmentSettings

_LATER = ("rotation", "shear", "shift")  # settings that tokens stored before do not have, which is the same as 0


def token_identity(
    tokenizer: str, data: str, image_hw: tuple[int, int], views: int | None, augment: AugmentSettings, seed: int
) -> dict[str, Any]:
    """Return everything that decides the tokens of a folder; pre-training reads one only if all of it agrees.

    Args:
        tokenizer: Hash of the tokenizer.
        data: Hash of the pictures.
        image_hw: The tokenizer's input in pixels.
        views: Random views per picture, None for the one of evaluation.
        augment: Random changes of the views.
        seed: Of the random views.
    """
    changes = {name: value for name, value in asdict(augment).items() if value or name not in _LATER}
    changes.pop("device", None)  # of a training; the tokens are the same
    random = None if views is None else {"count": views, "seed": seed, "augment": json.loads(json.dumps(changes))}
    return {"tokenizer": tokenizer, "data": data, "image_size": list(image_hw), "random_views": random}
