"""The parts of gpu.py: each takes the sizes and returns its numbers, or yields those that it has so far.

| part         | measures                                                                               |
|--------------|----------------------------------------------------------------------------------------|
| heads        | outputs of every head in float32 and bf16, beside those of the CPU in float32          |
| repeatability| whether two trainings have the same bits, exact and fast                               |
| pretraining  | a step of the base model at 224 pixels: plain, compiled, exact                         |
| peers        | the same step in transformers                                                          |
| segmentation | a step of the base model with UperNet at 640 pixels                                    |
| attention    | attention of a layer at 640 pixels: its bias from the table, and of all pairs of tokens |
| tokenizer    | visual tokens of OpenAI's encoder in float32, bf16, and compiled                       |
| answers      | answers of the base classifier, one at a time and many, plain and compiled             |
| continuation | `beit pretrain` continued from its middle, beside one that was not interrupted         |
| headline     | headline_gpu.py in a minute, and probes on held-out training pictures of CIFAR-10      |
"""

import copy
import hashlib
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from beit import BeitConfig, BeitForImageClassification, BeitForMaskedImageModeling, BeitForSemanticSegmentation
from beit.engine.compilation import compile_layers
from beit.engine.exactness import computing
from beit.geometry import Grid
from beit.models_torch.device import pick_device
from beit.models_torch.kernels import table_attention
from beit.models_torch.loading import read_safetensors
from beit.tokenizer import DiscreteVAE, DiscreteVAEConfig, TokenEncoder
from gpu_steps import (
    PRETRAINING,
    Pretraining,
    attention_ways,
    extra_memory,
    measure_pretraining,
    pretraining_batch,
    step_of,
    timed,
)
from peers import with_source


@dataclass(frozen=True)
class Sizes:
    """Sizes of everything; the defaults are those of the base model."""

    device: torch.device
    model: dict = field(default_factory=dict)
    tokenizer: dict = field(default_factory=dict)
    side: int = 224
    patch: int = 16
    stride: int = 8  # pixels per token
    masked: int = 75
    batches: tuple = (128, 256)
    rounds: int = 10
    scenes: dict = field(default_factory=lambda: {"image_size": 640, "out_indices": [3, 5, 7, 11]})
    scene_batch: int = 4
    answers: tuple = (1, 8, 256)
    tokens_batch: int = 256
    steps: int = 40
    backend: str = "inductor"
    compiles_whole: bool = True
    tiny: bool = False
    seconds: float = 180.0  # for the headline


def sizes(tiny, seconds=Sizes.seconds):
    """Return the sizes of the base model, or tiny ones, for a part that has some seconds."""
    device = pick_device("auto")
    if not tiny:
        return Sizes(device, seconds=seconds)
    small = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64}
    model = {**small, "num_hidden_layers": 2, "image_size": 32, "patch_size": 8}
    tokenizer = {"vocab_size": 16, "hidden_size": 8, "blocks_per_group": 1, "groups": 2, "decoder_input_size": 8}
    scenes = {**model, "num_hidden_layers": 4, "image_size": 64, "out_indices": [1, 2, 3, 4], "pool_scales": [1, 2]}
    return Sizes(
        device, model, tokenizer, 32, 8, 2, 6, (2,), 2, scenes, 2, (1, 2), 2, 8, "aot_eager", False, True, seconds
    )  # fmt: skip


def heads(given):
    """Compare the outputs of every head with those of the CPU in float32."""
    classes = {**given.model, "use_relative_position_bias": True, "layer_norm_eps": 1e-6}
    scenes = {**classes, **given.scenes, "image_size": given.side}
    models = {
        "tokens": lambda: BeitForMaskedImageModeling(BeitConfig(**given.model, **PRETRAINING)),
        "classes": lambda: BeitForImageClassification(BeitConfig(**classes)),
        "scenes": lambda: BeitForSemanticSegmentation(BeitConfig(**scenes)),
    }
    found = {}
    pixels = torch.randn(2, 3, given.side, given.side, generator=torch.Generator().manual_seed(0))
    for name, build in models.items():
        torch.manual_seed(0)
        model = build().eval()
        with torch.no_grad():
            expected = model(pixels).logits
            model.to(given.device)
            for kind in ("fp32", "bf16"):
                half = torch.autocast(given.device.type, torch.bfloat16, enabled=kind == "bf16")
                with computing(True, given.device), half:
                    logits = model(pixels.to(given.device)).logits.float().cpu()
                found[f"{name} {kind}"] = float((logits - expected).norm() / expected.norm())
                yield {"relative_error": found}


def repeatability(given):
    """Return whether the gradients of two equal trainings are the same, bit for bit."""
    return {kind: len({_digest(given, kind == "exact") for _ in range(2)}) == 1 for kind in ("exact", "fast")}


def _digest(given, exact):
    """Return a digest of the weights after three steps."""
    with computing(exact, given.device):
        module = Pretraining(given, exact)
        step = step_of(module, pretraining_batch(given, given.batches[0]), module.loss.prepare, given.device)
        torch.manual_seed(1)
        for _ in range(3):
            step()
    weights = torch.cat([parameter.detach().float().cpu().flatten() for parameter in module.parameters()])
    return hashlib.sha256(weights.numpy().tobytes()).hexdigest()


def pretraining(given):
    """Time the step of a pre-training, plain and compiled, exact and fast."""
    kinds = {"plain": (False, False), "compiled": (False, True), "exact": (True, False)}
    found = {}
    for batch in given.batches:
        for name, (exact, compiled) in kinds.items():
            try:
                found[f"{batch} {name}"] = measure_pretraining(given, batch, exact, compiled)
            except torch.OutOfMemoryError as error:
                found[f"{batch} {name}"] = {"failed": str(error)[:200]}
            yield found


def peers(given):
    """Time the step of transformers, with the same model, pictures and optimiser, and tokens that are stored."""
    import transformers

    class Theirs(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            config = transformers.BeitConfig(**given.model, **PRETRAINING)
            kind = transformers.BeitForMaskedImageModeling
            self.model = kind._from_config(config, attn_implementation="sdpa").to(given.device).train()

        def forward(self, tensors):
            mask_BN = tensors["bool_masked_pos"]
            return self.model(tensors["pixel_values"], bool_masked_pos=mask_BN, labels=tensors["tokens"][mask_BN]).loss

    found = {"transformers": transformers.__version__}
    for batch in given.batches:
        tensors = pretraining_batch(given, batch)
        tensors["tokens"] = torch.zeros_like(tensors["bool_masked_pos"], dtype=torch.int64)
        with computing(False, given.device):
            found[str(batch)] = timed(step_of(Theirs(), tensors, dict, given.device), given.device, given.rounds, batch)
        yield found


class Segmentation(nn.Module):
    """The scalar loss of a segmentation with random weights."""

    def __init__(self, given, compiled):
        super().__init__()
        options = {"use_relative_position_bias": True, "layer_norm_eps": 1e-6, "num_labels": 150, **given.scenes}
        self.model = BeitForSemanticSegmentation(BeitConfig(**options)).to(given.device).train()
        if compiled:
            compile_layers(self, given.backend)

    def forward(self, tensors):
        return self.model(tensors["pixels"], labels=tensors["labels"]).loss


def segmentation(given):
    """Time the step of a segmentation, plain and compiled."""
    side, batch, found = given.scenes["image_size"], given.scene_batch, {}
    tensors = {"pixels": torch.randn(batch, 3, side, side), "labels": torch.randint(150, (batch, side, side))}
    tensors = {name: tensor.to(given.device) for name, tensor in tensors.items()}
    for name in ("plain", "compiled"):
        with computing(False, given.device):
            step = step_of(Segmentation(given, name == "compiled"), tensors, dict, given.device)
            found[name] = timed(step, given.device, given.rounds, batch)
        yield found


def attention(given):
    """Time the attention of a layer at the size of a scene, and measure the memory that it takes meanwhile.

    The kernel that reads the bias from its table is tried with all tiles, of which a GPU may not have room for some;
    then as training chooses.
    """
    config = BeitConfig(**given.model)
    side, on_gpu = given.scenes["image_size"] // given.patch, given.device.type == "cuda"
    grid, kind = Grid(side, side), (torch.bfloat16, config.hidden_size // config.num_attention_heads)
    found = {"backward": on_gpu}  # on a CPU PyTorch's kernel has none
    ways = attention_ways(config, grid, given.scene_batch, given.device)
    every = {f"table, tiles {tiles}": (tiles, ways["table"]) for tiles in range(len(table_attention._TILES))}
    for name, (tiles, step) in {**(every if on_gpu else {}), **{way: (0, ways[way]) for way in ways}}.items():
        table_attention._FITTING[kind] = tiles
        if name == "table" and on_gpu:
            table_attention._FITTING.clear()
            shape = (given.scene_batch, 1 + grid.patches, config.hidden_size)
            chosen = table_attention.fastest_reads_table(shape, config.num_attention_heads, grid, kind[0], given.device)
            found |= {"chosen": "table" if chosen else "all pairs", "tiles": table_attention._FITTING.get(kind, 0)}
        try:
            with computing(False, given.device):
                found[name] = timed(step, given.device, given.rounds, given.scene_batch)
                found[name] |= extra_memory(step, given.device)
        except Exception as error:  # of a compiler
            found[name] = {"failed": str(error)[:200]}
        yield found
    if on_gpu and "extra_mib" in found["table"]:
        found["memory_ratio"] = round(found["table"]["extra_mib"] / found["all pairs"]["extra_mib"], 3)
        yield found


def tokenizer(given):
    """Time the encoder of a tokenizer, and count the tokens that differ from those of float32."""
    side, found, tokens = given.side // given.patch * given.stride, {}, {}
    torch.manual_seed(0)
    own = DiscreteVAE(DiscreteVAEConfig(**given.tokenizer))
    pixels = torch.rand(given.tokens_batch, 3, side, side, device=given.device)
    for name, precision, compiled in (("fp32", "fp32", False), ("bf16", "bf16", False), ("compiled", "bf16", True)):
        with computing(False, given.device):
            encoder = TokenEncoder(copy.deepcopy(own), given.device, precision, compiled and given.compiles_whole)
            found[name] = timed(lambda: encoder(pixels), given.device, given.rounds, len(pixels))  # noqa: B023
            tokens[name] = encoder(pixels)
        found[name]["differing"] = float((tokens[name] != tokens["fp32"]).float().mean())
        yield found


def answers(given):
    """Time answers of a classifier in bf16, plain and compiled."""
    torch.manual_seed(0)
    options = {**given.model, "use_relative_position_bias": True, "layer_norm_eps": 1e-6}
    plain = BeitForImageClassification(BeitConfig(**options)).to(given.device).eval()
    compiled, found = torch.compile(plain, dynamic=True, backend=given.backend), {}
    for batch in given.answers:
        pixels = torch.randn(batch, 3, given.side, given.side, device=given.device)
        for name, model in (("plain", plain), ("compiled", compiled)):
            with torch.no_grad(), torch.autocast(given.device.type, torch.bfloat16):
                found[f"{batch} {name}"] = timed(lambda: model(pixels), given.device, given.rounds, batch)  # noqa: B023
            yield found


def continuation(given):
    """Interrupt `beit pretrain` in its middle, continue it, and compare the weights with an undisturbed run's."""
    with tempfile.TemporaryDirectory() as folder:
        runs = {name: Path(folder) / name for name in ("undisturbed", "continued")}
        _pretrain(given, runs["undisturbed"], given.steps)
        _pretrain(given, runs["continued"], given.steps, interrupted=True)
        _pretrain(given, runs["continued"], given.steps)
        ours, theirs = (read_safetensors(run / "model" / "model.safetensors") for run in runs.values())
    return {"same_bits": all(torch.equal(ours[name], theirs[name]) for name in theirs)}


_INTERRUPTED = """
import os, signal, sys, threading, time
from pathlib import Path
from beit.cli.main import main
def watch(checkpoint):
    while not checkpoint.exists():
        time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGKILL)
threading.Thread(target=watch, args=(Path(sys.argv.pop(1)),), daemon=True).start()
sys.exit(main(sys.argv[1:]))
"""


def _pretrain(given, run, steps, interrupted=False):
    """Pre-train a small model on digits; `interrupted`, it is killed when the first checkpoint is written."""
    options = ["pretrain", "--data.path=digits:train", "--data.workers=1", "--model.size=tiny", "--model.image_size=16",
               "--model.patch_size=4", "--model.num_hidden_layers=2", "--mask.count=7", "--mask.min_block=2",
               "--tokenizer.codebook.vocab_size=32", "--tokenizer.codebook.hidden_size=8",
               "--tokenizer.codebook.blocks_per_group=1", "--tokenizer.codebook.groups=2",
               "--tokenizer.codebook.decoder_input_size=8", "--tokenizer.train.max_steps=2",
               "--tokenizer.train.batch_size=32", "--tokenizer.optim.warmup_steps=0", "--optim.warmup_steps=2",
               "--train.batch_size=32", f"--train.max_steps={steps}", f"--run.save_every={steps // 2}",
               "--run.exact=true", "--run.report=false", "--gallery.pictures=0", "--monitor.every=0",
               "--validation.every=0", f"--run.output={run}"]  # fmt: skip
    start = ["-c", _INTERRUPTED, str(run / f"checkpoints/step_{steps // 2:08d}")] if interrupted else ["-m", "beit"]
    done = subprocess.run([sys.executable, *start, *options], env=with_source(), capture_output=True, text=True)
    if done.returncode != (-9 if interrupted else 0):
        raise SystemExit(f"beit pretrain ended with status {done.returncode}: {done.stderr[-1000:]}")


PRETRAINING_SHARE = 0.4  # of the time of the headline; its compilation, a first trial and the probes take the rest
LABELS = "10%"


def headline(given):
    """Pre-train on CIFAR-10 for a part of the time, and probe the features; no test picture is read."""
    import headline_gpu  # with what only this part needs
    from cifar10 import labelled
    from headline_probes import Frozen, Pixels, fit_knn, fit_linear

    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        options = Namespace(
            size="9x256", minutes=PRETRAINING_SHARE * given.seconds / 60, runs=Path(folder), tiny=given.tiny,
            tokenizer="beit/nano-cifar10-tokens",
        )  # fmt: skip
        run = headline_gpu.pretrained(options)
        line, step = headline_gpu.last_line(run)
        trained = BeitForMaskedImageModeling.from_pretrained(run / "model")
    found = {"steps": step, "images_per_second": line["images_per_second"], "loss": line["loss"]}
    found["pretrained_after"] = round(time.monotonic() - began, 1)
    yield found
    pixels, labels = labelled(LABELS, 0)
    if given.tiny:
        pixels, labels = pixels[:: len(pixels) // 100], labels[:: len(labels) // 100]
    torch.manual_seed(0)
    sources = {"pretrained": trained, "random": BeitForMaskedImageModeling(trained.config)}
    features = {name: Frozen(model) for name, model in sources.items()}
    for name, source in features.items():
        found[f"{name} ridge"] = fit_linear(source, pixels, labels)[0]["held_out_accuracy"]
        yield found
    for name, source in {**features, "pixels": Pixels()}.items():
        found[f"{name} knn"] = fit_knn(source, pixels, labels)[0]["held_out_accuracy"]
        yield found


PARTS = {
    part.__name__: part
    for part in (
        heads, repeatability, pretraining, peers, segmentation, attention, tokenizer, answers, continuation, headline,
    )
}  # fmt: skip


def numbers_of(part, given):
    """Yield what a part has measured after every number of it."""
    numbers = part(given)
    yield from numbers if isinstance(numbers, Generator) else [numbers]
