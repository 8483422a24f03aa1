"""The soak: what it counts as a failure, and what its clients send."""

import random

from PIL import Image

from tests.campaigns.soak import SIZES, Load, uploads


def test_what_is_a_failure():
    seen = Load()
    for status, is_picture in ((200, True), (429, True), (503, True), (400, False), (413, False), (503, False)):
        seen.judge(status, is_picture)
    assert seen.failures == 0
    for status, is_picture in ((500, True), (504, False), (400, True), (200, False)):
        seen.judge(status, is_picture)
    seen.broken["ReadError"] = 1
    assert seen.failures == 5
    assert seen.statuses.total() == 10


def test_pictures_of_all_sizes_and_what_is_none(tmp_path):
    found = uploads(random.Random(1))  # noqa: S311
    sizes = []
    for number, (content, _) in enumerate(found[: len(SIZES)]):
        (tmp_path / str(number)).write_bytes(content)
        with Image.open(tmp_path / str(number)) as picture:
            sizes.append(picture.size[::-1])
    assert tuple(sizes) == SIZES
    assert (b"", False) in found
    assert [is_picture for _, is_picture in found] == [True] * 2 * len(SIZES) + [False] * 4
