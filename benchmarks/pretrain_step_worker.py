"""The steps of pretrain_step.py: `speed ROUNDS` takes turns in one process, `memory ours|theirs` three steps of one."""

import json
import sys
import time

import torch

from memory import peak, resident

BATCH, MASKED = 8, 75


def inputs():
    torch.manual_seed(0)
    mask = torch.zeros(BATCH, 196, dtype=torch.bool)
    for row in mask:
        row[torch.randperm(196)[:MASKED]] = True
    return torch.randn(BATCH, 3, 224, 224), mask, torch.randint(8192, (BATCH, 196))


def options():
    return {
        "use_mask_token": True,
        "use_shared_relative_position_bias": True,
        "layer_norm_eps": 1e-6,
        "vocab_size": 8192,
        "drop_path_rate": 0.0,
    }


def ours():
    """Return a step as our trainer takes it: the head sees masked patches only."""
    from torch.nn import functional

    from beit import BeitConfig, BeitForMaskedImageModeling

    model = BeitForMaskedImageModeling(BeitConfig(**options())).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def step(pixels, mask, tokens):
        loss = functional.cross_entropy(model.masked_logits(pixels, mask), tokens[mask])
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return float(loss.detach())

    return model, step


def theirs():
    """Return a step of transformers, as its documentation shows it."""
    import transformers

    config = transformers.BeitConfig(**options())
    model = transformers.BeitForMaskedImageModeling._from_config(config, attn_implementation="sdpa").train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def step(pixels, mask, tokens):
        loss = model(pixel_values=pixels, bool_masked_pos=mask, labels=tokens[mask]).loss
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return float(loss.detach())

    return model, step


def speed(rounds):
    import tempfile

    import transformers

    from beit.engine.throughput import gemm_rate
    from beit.tasks.pretrain.cost import training_flops

    pixels, mask, tokens = inputs()
    their_model, their_step = theirs()
    our_model, our_step = ours()
    with tempfile.TemporaryDirectory() as folder:  # the same weights, by way of the layout that both read
        their_model.save_pretrained(folder)
        our_model.load_weights(folder, strict=True)
    times, loss = {"ours": [], "theirs": []}, {}
    for _ in range(1 + int(rounds)):
        for name, step in (("ours", our_step), ("theirs", their_step)):
            began = time.perf_counter()
            value = step(pixels, mask, tokens)
            times[name].append(time.perf_counter() - began)
            loss.setdefault(name, value)
    flops = training_flops(our_model.config, MASKED) * BATCH
    rate = max(gemm_rate(torch.device("cpu"), torch.float32) for _ in range(3))
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    warm = {name: values[1:] for name, values in times.items()}
    return {**warm, "loss": loss, "batch": BATCH, "flops": flops, "gemm_rate": rate, "versions": versions}


def memory(name):
    batch = inputs()
    if name == "theirs":
        import transformers  # noqa: F401  # the library itself is not counted
    idle = resident()
    _, step = {"ours": ours, "theirs": theirs}[name]()
    for _ in range(3):
        step(*batch)
    return {"peak": peak() - idle}


if __name__ == "__main__":
    print(json.dumps({"speed": speed, "memory": memory}[sys.argv[1]](sys.argv[2])))
