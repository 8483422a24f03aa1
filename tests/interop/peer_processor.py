"""Process the same pictures in another environment: `python peer_processor.py FOLDER` with a folder per case in it.

Every case holds `ours/`, the folder of a processor that we saved, and `options.json`. It gets `loaded.npz`, what
transformers makes of the pictures with it, and `theirs/` with `theirs.npz`, a processor of its own with these options.
"""

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from transformers import BeitImageProcessor


def main():
    root = Path(sys.argv[1])
    pictures = [Image.fromarray(array) for array in np.load(root / "pictures.npz").values()]
    for case in sorted(path for path in root.iterdir() if path.is_dir()):
        loaded = BeitImageProcessor.from_pretrained(case / "ours")
        np.savez(case / "loaded.npz", *(loaded(picture, return_tensors="np")["pixel_values"] for picture in pictures))
        own = BeitImageProcessor(**json.loads((case / "options.json").read_text()))
        own.save_pretrained(case / "theirs")
        np.savez(case / "theirs.npz", *(own(picture, return_tensors="np")["pixel_values"] for picture in pictures))


if __name__ == "__main__":
    main()
