"""The soak: what it counts as a failure, and what its clients send."""

import random

from PIL import Image

from tests.campaigns.soak import SIZES, Load, uploads


def test_refusals_are_no_failures():
    seen = Load()
    seen.statuses.update({200: 9, 400: 3, 413: 1, 429: 2, 503: 4})
    assert seen.failures == 0
    seen.statuses.update({500: 1, 504: 2})
    seen.broken["ReadError"] = 1
    assert seen.failures == 4


def test_pictures_of_all_sizes_and_what_is_none(tmp_path):
    found = uploads(random.Random(1))  # noqa: S311
    sizes = []
    for number, content in enumerate(found[: len(SIZES)]):
        (tmp_path / str(number)).write_bytes(content)
        with Image.open(tmp_path / str(number)) as picture:
            sizes.append(picture.size[::-1])
    assert tuple(sizes) == SIZES
    assert b"" in found
