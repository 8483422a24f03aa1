"""Worker for one implementation of the tokenizer, started and instructed by `tokenizer.py`.

    tokenizer_worker.py make|ours|dall_e FOLDER CORES

"make" writes an encoder of OpenAI's package, with random weights, as they released theirs: the module pickled whole.
The others load it, read the size of a batch per line, encode that many pictures of `pixels.npy`, leave the tokens in a
file and answer with one line of JSON.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch

from memory import forget_peak, peak, resident

ENCODER = "encoder.pkl"


def make(folder):
    from dall_e import Encoder

    torch.manual_seed(0)
    encoder = Encoder()
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if name.endswith(".b"):  # zero when new, which would hide a bias that is put in the wrong place
                parameter.normal_(std=0.1)
    torch.save(encoder, folder / ENCODER)


def load(implementation, folder):
    """Return a function from pixels (B, 3, H, W) in [0, 1] to tokens."""
    if implementation == "ours":
        from beit.tokenizer import DiscreteVAE

        return DiscreteVAE.from_pretrained(folder).to(memory_format=torch.channels_last).encode
    from dall_e import map_pixels

    # their load_model is this line, from before torch asked whether a file may run code
    encoder = torch.load(folder / ENCODER, map_location="cpu", weights_only=False).eval()
    return lambda pixels: torch.argmax(encoder(map_pixels(pixels)), dim=1)


def main():
    implementation, folder, cores = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    torch.set_num_threads(cores)
    if implementation == "make":
        make(folder)
        return
    pixels = torch.from_numpy(np.load(folder / "pixels.npy"))
    if implementation == "dall_e":
        import dall_e  # noqa: F401  # the library itself is not counted
    idle = resident()
    encode = load(implementation, folder)
    forget_peak()  # the peak is that of encoding, not of loading
    with torch.no_grad():
        encode(pixels[:1])  # warm
        for line in sys.stdin:
            batch = pixels[: int(line)]
            began = time.perf_counter()
            tokens = encode(batch)
            took = time.perf_counter() - began
            np.save(folder / f"{implementation}.npy", tokens.numpy())
            print(json.dumps({"seconds": took, "peak": peak() - idle}), flush=True)


if __name__ == "__main__":
    main()
