"""Pictures for the benchmarks: photographs where this machine has some, and smooth noise of the same size."""

import io
import os
from pathlib import Path

import numpy as np
from PIL import Image

from peers import ROOT

DATA = Path(os.environ.get("BEIT_TEST_DATA", ROOT.parent / "shared" / "data"))
STAND_INS = ROOT / "runs" / "benchmarks" / "pictures"
COUNT = 96


def photographs():
    """Return a folder of photographs and their description; without any, a folder of noise, described as such."""
    folder = DATA / "imagenet_samples"
    if folder.is_dir():
        return folder, "photographs"
    print(f"There are no photographs in {folder} (set BEIT_TEST_DATA); smooth noise takes their place.")
    STAND_INS.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(noise_jpegs(COUNT)):
        (STAND_INS / f"{number:03d}.jpg").write_bytes(data)
    return STAND_INS, "smooth noise"


def noise_jpegs(count):
    """Return JPEGs as large as those of ImageNet usually are, of smooth noise: about 40 kB each."""
    rng, found = np.random.default_rng(0), []
    for _ in range(count):
        small = Image.fromarray(rng.integers(0, 256, (47, 63, 3), dtype=np.uint8))
        buffer = io.BytesIO()
        small.resize((500, 375), Image.Resampling.BICUBIC).save(buffer, format="JPEG", quality=90)
        found.append(buffer.getvalue())
    return found
