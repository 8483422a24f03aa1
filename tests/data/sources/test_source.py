"""Parts of a collection, and the fingerprint of one."""

import os

import numpy as np
import pytest
from PIL import Image

from beit.data import KeptPictures, Subset, fingerprint, open_source, spread


@pytest.fixture
def pictures(tmp_path):
    for name in ("a", "b", "c"):
        Image.effect_noise((16, 16), 50).save(tmp_path / f"{name}.png")
    return tmp_path


def test_a_moved_folder_keeps_its_fingerprint_and_a_changed_one_does_not(pictures):
    before = fingerprint(open_source(str(pictures)))
    assert fingerprint(open_source(str(pictures))) == before
    moved = pictures.rename(pictures.with_name("moved"))
    assert fingerprint(open_source(str(moved))) == before
    (moved / "b.png").rename(moved / "d.png")
    assert fingerprint(open_source(str(moved))) != before
    (moved / "d.png").rename(moved / "b.png")
    Image.effect_noise((16, 16), 50).save(moved / "b.png")
    assert fingerprint(open_source(str(moved))) != before


def test_a_part_knows_its_place_in_the_whole():
    whole = open_source("digits:test")
    part = Subset(Subset(whole, np.array([5, 7, 9])), np.array([2, 0]))
    assert [part.origin(0), part.origin(1)] == [9, 5]
    assert fingerprint(spread(whole, 10**6)) == fingerprint(whole)
    assert list(part.contents()) == list(whole.contents())
    assert fingerprint(open_source("digits:train")) != fingerprint(whole)


def test_a_broken_picture_does_not_stop_the_fingerprint(pictures):
    (pictures / "e.png").write_text("no picture")
    assert len(fingerprint(open_source(str(pictures)))) == 64


def test_a_sample_of_the_files_follows_their_content_and_not_their_time_or_place(pictures):
    before = open_source(str(pictures)).sampled(2)
    assert [line.split()[0] for line in before] == ["a.png", "c.png"]
    os.utime(pictures / "a.png", (1, 1))
    moved = pictures.rename(pictures.with_name("elsewhere"))
    assert open_source(str(moved)).sampled(2) == before
    content = bytearray((moved / "c.png").read_bytes())
    content[-20] ^= 1
    (moved / "c.png").write_bytes(content)
    assert [one == other for one, other in zip(open_source(str(moved)).sampled(2), before, strict=True)] == [
        True,
        False,
    ]
    source = open_source(str(moved))
    (moved / "c.png").unlink()
    assert source.sampled(9)[-1] == "c.png missing"
    assert Subset(source, np.array([1])).sampled(9) == KeptPictures(Subset(source, np.array([1])), 10**6).sampled(9)
    assert open_source("digits:train").sampled(9) == ["digits:train"]
