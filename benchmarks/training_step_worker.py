"""Worker of pretrain_step.py, small_step.py and finetune_step.py, one case in a process.

`speed CASE PRECISION ROUNDS` takes turns, `memory CASE ours|theirs` takes three steps of one.
"""

import json
import sys
import tempfile
import time
from dataclasses import dataclass

import torch
from torch.nn import functional

from memory import peak, resident

MODELS = {
    "tokens": "BeitForMaskedImageModeling",
    "classes": "BeitForImageClassification",
    "scenes": "BeitForSemanticSegmentation",
}
LABELS, CLIP, LAYER_DECAY = 10, 3.0, 0.75


@dataclass(frozen=True)
class Case:
    """A model and its batches: pictures in a batch, masked patches of each, options of the config, what is learned."""

    batch: int
    masked: int
    sizes: dict
    head: str = "tokens"

    @property
    def side(self):
        return self.sizes.get("image_size", 224)

    @property
    def patches(self):
        return (self.side // self.sizes.get("patch_size", 16)) ** 2

    @property
    def options(self):
        common = {"layer_norm_eps": 1e-6, "drop_path_rate": 0.0}
        if self.head != "tokens":
            return {**common, "use_relative_position_bias": True, "num_labels": LABELS, **self.sizes}
        pre = {"use_mask_token": True, "use_shared_relative_position_bias": True, "vocab_size": 8192}
        return {**common, **pre, **self.sizes}


NARROW = {"hidden_size": 192, "num_attention_heads": 3, "intermediate_size": 768}
SMALL = {**NARROW, "image_size": 32, "patch_size": 4}  # 8 x 8 patches
SCENES = {**NARROW, "image_size": 224, "out_indices": [3, 5, 7, 11]}
CASES = {
    "base": Case(8, 75, {}),
    **{
        f"{layers} x 192, batch {batch}": Case(batch, 25, {**SMALL, "num_hidden_layers": layers, "vocab_size": 512})
        for layers in (12, 6)
        for batch in (64, 256)
    },
    "fine-tuning, base, batch 8": Case(8, 0, {}, "classes"),
    "fine-tuning, 12 x 192, batch 64": Case(64, 0, SMALL, "classes"),
    "segmentation, 12 x 192 at 224, batch 4": Case(4, 0, SCENES, "scenes"),
}


def inputs(case):
    """Return pictures, masks and labels of a batch, drawn with a fixed seed."""
    torch.manual_seed(0)
    mask = torch.zeros(case.batch, case.patches, dtype=torch.bool)
    for row in mask:
        row[torch.randperm(case.patches)[: case.masked]] = True
    pixels = torch.randn(case.batch, 3, case.side, case.side)
    if case.head == "tokens":
        return pixels, mask, torch.randint(case.options["vocab_size"], (case.batch, case.patches))
    if case.head == "scenes":
        return pixels, mask, torch.randint(LABELS, (case.batch, case.side, case.side))
    one_hot = functional.one_hot(torch.randint(LABELS, (case.batch,)), LABELS).float()
    return pixels, mask, 0.7 * one_hot + 0.3 * one_hot.flip(0)  # as mixup gives them


def our_loss(case, model, pixels, mask, labels):
    """Return the loss as our trainings compute it: the head of pre-training sees masked patches only."""
    if case.head == "tokens":
        return functional.cross_entropy(model.masked_logits(pixels, mask).float(), labels[mask])
    if case.head == "scenes":
        return model(pixels, labels=labels).loss
    return functional.cross_entropy(model(pixels).logits.float(), labels)


def their_loss(case, model, pixels, mask, labels):
    """Return the loss of transformers, as its documentation shows it."""
    if case.head == "tokens":
        return model(pixel_values=pixels, bool_masked_pos=mask, labels=labels[mask]).loss
    if case.head == "scenes":
        return model(pixel_values=pixels, labels=labels).loss
    return functional.cross_entropy(model(pixel_values=pixels).logits.float(), labels)


def built(case, who):
    """Return the model of a case, ours or theirs, in training mode."""
    import beit

    if who == "ours":
        return getattr(beit, MODELS[case.head])(beit.BeitConfig(**case.options)).train()
    import transformers

    config = transformers.BeitConfig(**case.options)
    return getattr(transformers, MODELS[case.head])._from_config(config, attn_implementation="sdpa").train()


def stepper(case, who, model, half):
    """Return a step of AdamW, the same for both; fine-tuning clips, and decays the rate by layers."""
    from beit.engine.optimiser import parameter_groups

    loss_of = {"ours": our_loss, "theirs": their_loss}[who]
    fine = case.head != "tokens"
    groups = model.parameters()
    if fine:
        groups = parameter_groups(model, 0.05, LAYER_DECAY, model.config.num_hidden_layers)
        groups = [{**group, "lr": 1e-4 * group.pop("lr_scale")} for group in groups]
    optimiser = torch.optim.AdamW(groups, lr=1e-4, fused=True)

    def step(pixels, mask, labels):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = loss_of(case, model, pixels, mask, labels)
        loss.backward()
        if fine:
            torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return float(loss.detach())

    return step


def operations(case, config):
    """Return the operations of the matrix products of a step; None for scenes, whose head is of convolutions."""
    from beit.tasks.pretrain.cost import training_flops

    return None if case.head == "scenes" else training_flops(config, case.masked) * case.batch


def speed(name, precision, rounds):
    import transformers

    from beit.engine.throughput import gemm_rate

    case, half = CASES[name], precision == "bf16"
    batch = inputs(case)
    models = {who: built(case, who) for who in ("theirs", "ours")}
    with tempfile.TemporaryDirectory() as folder:  # the same weights, by way of the layout that both read
        models["theirs"].save_pretrained(folder)
        models["ours"].load_weights(folder, strict=True)
    steps = {who: stepper(case, who, models[who], half) for who in ("ours", "theirs")}
    times, loss = {"ours": [], "theirs": []}, {}
    for _ in range(1 + int(rounds)):
        for who, step in steps.items():
            began = time.perf_counter()
            value = step(*batch)
            times[who].append(time.perf_counter() - began)
            loss.setdefault(who, value)
    dtype = torch.bfloat16 if half else torch.float32
    rate = max(gemm_rate(torch.device("cpu"), dtype) for _ in range(3))
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    flops = operations(case, models["ours"].config)
    warm = {name: values[1:] for name, values in times.items()}
    return {**warm, "loss": loss, "batch": case.batch, "flops": flops, "gemm_rate": rate, "versions": versions}


def memory(name, who):
    case = CASES[name]
    batch = inputs(case)
    if who == "theirs":
        import transformers  # noqa: F401  # the library itself is not counted
    idle = resident()
    step = stepper(case, who, built(case, who), half=False)
    for _ in range(3):
        step(*batch)
    return {"peak": peak() - idle}


if __name__ == "__main__":
    print(json.dumps({"speed": speed, "memory": memory}[sys.argv[1]](*sys.argv[2:])))
