"""Image processors that we save are read by two generations of transformers, and theirs by us: the same pixels."""

import json
import subprocess

import numpy as np
import pytest
from PIL import Image

from beit import BeitImageProcessor
from tests.interop.test_interop import HERE, PEERS, VERSIONS

pytestmark = [pytest.mark.interop, pytest.mark.timeout(600)]
OPTIONS = {
    "defaults": {},
    "square": {"size": {"height": 96, "width": 80}, "do_center_crop": False, "resample": 2},
    "no crop, other numbers": {
        "size": {"height": 64, "width": 64},
        "do_center_crop": False,
        "image_mean": [0.4, 0.5, 0.6],
        "image_std": [0.2, 0.3, 0.25],
    },
    "crop only": {"do_resize": False, "crop_size": {"height": 40, "width": 48}},
    "raw": {"do_normalize": False, "rescale_factor": 0.01, "do_reduce_labels": True},
}


@pytest.fixture(scope="module", params=VERSIONS)
def peer(request, tmp_path_factory):
    root = tmp_path_factory.mktemp("processors")
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((60, 90), (300, 210), (128, 128))]
    np.savez(root / "pictures.npz", *arrays)
    for name, options in OPTIONS.items():
        BeitImageProcessor(**options).save_pretrained(root / name / "ours")
        (root / name / "options.json").write_text(json.dumps(options))
    python = PEERS / request.param / "bin" / "python"
    done = subprocess.run([python, HERE / "peer_processor.py", root], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return root, [Image.fromarray(array) for array in arrays]


@pytest.mark.parametrize("name", OPTIONS)
def test_same_file_same_pixels(peer, name):
    root, pictures = peer
    for folder, recorded in (("ours", "loaded.npz"), ("theirs", "theirs.npz")):
        processor = BeitImageProcessor.from_pretrained(root / name / folder)
        theirs = list(np.load(root / name / recorded).values())
        for picture, expected in zip(pictures, theirs, strict=True):
            pixels = processor(picture, return_tensors="np").pixel_values
            np.testing.assert_allclose(pixels, expected, atol=1e-6, rtol=1e-6)
