"""Worker of pretrain_step.py and small_step.py, one case in a process.

`speed CASE PRECISION ROUNDS` takes turns, `memory CASE ours|theirs` takes three steps of one.
"""

import json
import sys
import time
from dataclasses import dataclass

import torch

from memory import peak, resident


@dataclass(frozen=True)
class Case:
    """A model and its batches: pictures in a batch, masked patches of each, and options of the config."""

    batch: int
    masked: int
    sizes: dict

    @property
    def side(self):
        return self.sizes.get("image_size", 224)

    @property
    def patches(self):
        return (self.side // self.sizes.get("patch_size", 16)) ** 2

    @property
    def options(self):
        return {
            "use_mask_token": True,
            "use_shared_relative_position_bias": True,
            "layer_norm_eps": 1e-6,
            "vocab_size": 8192,
            "drop_path_rate": 0.0,
            **self.sizes,
        }


def narrow(layers, batch):
    """Return a model of width 192 for pictures of 32 x 32, in 8 x 8 patches."""
    sizes = {"image_size": 32, "patch_size": 4, "hidden_size": 192, "num_attention_heads": 3, "intermediate_size": 768}
    return Case(batch, 25, {**sizes, "num_hidden_layers": layers, "vocab_size": 512})


CASES = {
    "base": Case(8, 75, {}),
    **{f"{layers} x 192, batch {batch}": narrow(layers, batch) for layers in (12, 6) for batch in (64, 256)},
}


def inputs(case):
    torch.manual_seed(0)
    mask = torch.zeros(case.batch, case.patches, dtype=torch.bool)
    for row in mask:
        row[torch.randperm(case.patches)[: case.masked]] = True
    pixels = torch.randn(case.batch, 3, case.side, case.side)
    return pixels, mask, torch.randint(case.options["vocab_size"], (case.batch, case.patches))


def ours(case, half=False):
    """Return a step as our trainer takes it: the head sees masked patches only."""
    from torch.nn import functional

    from beit import BeitConfig, BeitForMaskedImageModeling

    model = BeitForMaskedImageModeling(BeitConfig(**case.options)).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def step(pixels, mask, tokens):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            logits = model.masked_logits(pixels, mask)
        loss = functional.cross_entropy(logits.float(), tokens[mask])
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return float(loss.detach())

    return model, step


def theirs(case, half=False):
    """Return a step of transformers, as its documentation shows it."""
    import transformers

    config = transformers.BeitConfig(**case.options)
    model = transformers.BeitForMaskedImageModeling._from_config(config, attn_implementation="sdpa").train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def step(pixels, mask, tokens):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = model(pixel_values=pixels, bool_masked_pos=mask, labels=tokens[mask]).loss
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return float(loss.detach())

    return model, step


def speed(name, precision, rounds):
    import tempfile

    import transformers

    from beit.engine.throughput import gemm_rate
    from beit.tasks.pretrain.cost import training_flops

    case, half = CASES[name], precision == "bf16"
    pixels, mask, tokens = inputs(case)
    their_model, their_step = theirs(case, half)
    our_model, our_step = ours(case, half)
    with tempfile.TemporaryDirectory() as folder:  # the same weights, by way of the layout that both read
        their_model.save_pretrained(folder)
        our_model.load_weights(folder, strict=True)
    times, loss = {"ours": [], "theirs": []}, {}
    for _ in range(1 + int(rounds)):
        for who, step in (("ours", our_step), ("theirs", their_step)):
            began = time.perf_counter()
            value = step(pixels, mask, tokens)
            times[who].append(time.perf_counter() - began)
            loss.setdefault(who, value)
    flops = training_flops(our_model.config, case.masked) * case.batch
    dtype = torch.bfloat16 if half else torch.float32
    rate = max(gemm_rate(torch.device("cpu"), dtype) for _ in range(3))
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    warm = {name: values[1:] for name, values in times.items()}
    return {**warm, "loss": loss, "batch": case.batch, "flops": flops, "gemm_rate": rate, "versions": versions}


def memory(name, who):
    case = CASES[name]
    batch = inputs(case)
    if who == "theirs":
        import transformers  # noqa: F401  # the library itself is not counted
    idle = resident()
    _, step = {"ours": ours, "theirs": theirs}[who](case)
    for _ in range(3):
        step(*batch)
    return {"peak": peak() - idle}


if __name__ == "__main__":
    print(json.dumps({"speed": speed, "memory": memory}[sys.argv[1]](*sys.argv[2:])))
