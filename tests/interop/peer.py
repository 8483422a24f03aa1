"""Load, run, change and save models in another environment: `python peer.py FOLDER` with a folder per case in it.

Runs under the transformers that it is tried with, and imports nothing of ours. Every case holds `inputs.npz` and
`ours/`, the folder that we saved. It gets `loaded.json` and `loaded.npz`, what transformers makes of it; and for each
way to save, a folder (`theirs`, `native`) of a model with other values, with a `.npz` of its outputs. An error is a
result like another: it is written into the `.json` of the same name.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import transformers
from models import randomised

EAGER = {"attn_implementation": "eager"} if int(transformers.__version__.split(".")[0]) >= 5 else {}
WAYS = {"theirs": {}, "native": {"save_original_format": False}} if EAGER else {"theirs": {}}


def load(case):
    """Load what we saved; record the report and the config, then the outputs."""
    folder = case / "ours"
    kind = getattr(transformers, json.loads((folder / "config.json").read_text())["architectures"][0])
    config = transformers.BeitConfig.from_pretrained(folder)
    (case / "config.json").write_text(json.dumps(config.to_dict()))
    model, report = kind.from_pretrained(folder, output_loading_info=True, **EAGER)
    (case / "report.json").write_text(json.dumps({key: sorted(map(str, names)) for key, names in report.items()}))
    run(model, case, case / "loaded.npz")


def save(case, way, options):
    """Save a new model of the same config with other values, and its outputs."""
    config = transformers.BeitConfig.from_pretrained(case / "ours")
    config._attn_implementation = "eager"
    kind = getattr(transformers, config.architectures[0])
    model = randomised(kind(config), seed=77)
    model.save_pretrained(case / way, **options)
    run(model, case, case / f"{way}.npz")


def run(model, case, file):
    inputs = {name: torch.from_numpy(array) for name, array in np.load(case / "inputs.npz").items()}
    with torch.no_grad():
        output = model.eval()(**inputs, output_hidden_states=True, output_attentions=True)
    arrays = {}
    for name, value in output.items():
        for index, tensor in enumerate(value if isinstance(value, tuple) else [value]):
            arrays[f"{name}_{index}" if isinstance(value, tuple) else name] = tensor.numpy()
    np.savez(file, **arrays)


def recorded(file, step, *arguments):
    try:
        step(*arguments)
    except Exception as error:  # whatever it is, the tests decide whether it is expected
        file.write_text(json.dumps(f"{type(error).__name__}: {error}"))


def main():
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    for case in sorted(path for path in Path(sys.argv[1]).iterdir() if path.is_dir()):
        recorded(case / "loaded.json", load, case)
        for way, options in WAYS.items():
            recorded(case / f"{way}.json", save, case, way, options)


if __name__ == "__main__":
    main()
