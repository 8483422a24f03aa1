"""The recorded cases of all reference implementations, and how each is loaded."""

import json
from types import SimpleNamespace

import numpy as np
import torch

import beit
from tests.conftest import GOLDEN

FAMILIES = ("hf_v4", "hf_v5", "unilm", "timm", "hf_flax")
CASES = [f"{family}/{folder.name}" for family in FAMILIES for folder in sorted((GOLDEN / family).iterdir())]
OURS = {"timm": {"bias_resize": "linear"}}


def recorded(name):
    """Load a case: .name, .family, .folder, .case, .io, .model, .inputs."""
    folder = GOLDEN / name
    case = json.loads((folder / "case.json").read_text())
    io = dict(np.load(folder / "io.npz"))
    family = name.split("/")[0]
    kind = getattr(beit, case["class"].removeprefix("Flax"))
    if family == "unilm":
        model = kind.from_pretrained(folder / case["checkpoint"], config=unilm_config(case))
        _given_head(model, io)
    else:
        model = kind.from_pretrained(folder, **OURS.get(family, {}), **case.get("from_pretrained_kwargs", {}))
    names = case.get("inputs", [name for name in ("pixel_values", "bool_masked_pos", "labels") if name in io])
    inputs = {name: torch.from_numpy(io[name]) for name in names}
    return SimpleNamespace(name=name, family=family, folder=folder, case=case, io=io, model=model, inputs=inputs)


def unilm_config(case):
    options = dict(case["config"])
    if "unilm_out_indices" in case:
        options |= {"out_indices": case["unilm_out_indices"], "out_indices_meaning": "original"}
    return beit.BeitConfig(**options)


def _given_head(model, io):
    """The resize cases are recorded with a new head, which the recording holds."""
    places = {"fc_norm": "beit.pooler.layernorm", "head": "classifier"}
    with torch.no_grad():
        for theirs, ours in places.items():
            for kind in ("weight", "bias"):
                if f"{theirs}.{kind}" in io:
                    model.get_parameter(f"{ours}.{kind}").copy_(torch.from_numpy(io[f"{theirs}.{kind}"]))


def numbered(io, name):
    """The recorded list of hidden states, attentions or feature maps."""
    values = []
    while f"{name}_{len(values)}" in io:
        values.append(io[f"{name}_{len(values)}"])
    return values
