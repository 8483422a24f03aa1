"""The headline on a GPU: a larger BEiT, pre-trained and fine-tuned on CIFAR-10 within minutes.

    python benchmarks/headline_gpu.py                                # everything that is missing
    python benchmarks/headline_gpu.py --size 12x192 --epochs 200     # the other size, pre-trained for longer
    python benchmarks/headline_gpu.py --shares 10,1                  # some of it
    python benchmarks/headline_gpu.py --measure                      # probes and test pictures, also without a GPU
    python benchmarks/headline_gpu.py --record                       # the table, and results/headline_gpu.json
    python benchmarks/headline_gpu.py --tiny                         # all in small, also on a CPU; no test pictures

Everything is trained in bf16, compiled. Batches of pre-training are of 1,024 pictures, decoded once and cropped on the
GPU; everything random about one is a function of (seed, epoch, index). With all labels fine-tuning is longer than in
headline.py and changes pictures more; with fewer it is that of headline.py, to the letter. From scratch: the same
network and recipe with all labels, and as much compute as pre-training and fine-tuning together; it trains beside them.
Stopped, it continues; what is finished is not run again.
"""

import argparse
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
import yaml

import headline
from about import about, write_result
from beit import BeitConfig
from beit.tasks.pretrain.cost import training_flops
from cifar10 import HELD_OUT, TRAIN, spread
from headline_trainings import CANDIDATES, LABELLED, RECIPES, SIZES, Pretraining, tokenizer_flops
from headline_trainings import arguments as of_few_labels
from peers import ROOT
from table import HEADLINE
from test_pictures import accesses
from trainings import lines, train

RESULT = Path(__file__).parent / "results" / "headline_gpu.json"
MODELS = {  # layers, width, heads
    "9x256": (9, 256, 4),
    "12x192": (12, 192, 3),
}
BATCH, PILOT_STEPS = 1024, 100
PRETRAINING_EPOCHS, FINE_TUNING_EPOCHS = 100, 90  # the second over all labelled pictures
WARMUP = 0.05  # of the steps
ALL = "100%"
SEEDS = {ALL: (0,), "10%": (0, 1, 2), "1%": (0, 1, 2)}
ARMS = ("pretrained", "scratch")
MACHINE = "machine.json"
PROBES = ("knn", "linear", "ridge", "pixel_knn")
WORKERS = {"pretraining": 6, "pretrained": 7, "scratch": 7}  # that load pictures; of 16 CPUs
FAST = {"run.precision": "bf16", "train.compile": "true", "run.log_every": 50, "run.save_every": 1000,
        "run.report": "false", "validation.every": 0}  # fmt: skip
FINE_TUNING = {  # with all labels
    "rand_augment.operations": 2,
    "rand_augment.magnitude": 7,
    "mixing.mixup": 0.8,
    "mixing.cutmix": 1.0,
    "mixing.probability": 0.8,
    "model.drop_path_rate": 0.1,
    "train.ema_decay": "null",
    "optim.name": "muon",
    "optim.lr": 4e-3,
}
TINY_MODEL = ["--model.num_hidden_layers=2", "--model.hidden_size=32", "--model.num_attention_heads=2",
              "--model.intermediate_size=64"]  # fmt: skip
TINY = ["--run.device=cpu", "--train.batch_size=16", "--train.max_steps=4", "--optim.warmup_steps=0",
        "--run.precision=fp32", "--train.compile=false", "--data.workers=0"]  # fmt: skip
TINY_TOKENIZER = ["--clustering.windows=20000", "--clustering.epochs=1"]
TINY_STEPS = 4


# Trainings.


def arguments(size, tokenizer, steps, tiny):
    """Return the arguments of a pre-training of so many steps."""
    options = {
        "data.path": TRAIN,
        "data.workers": WORKERS["pretraining"],
        "data.keep_decoded": "true",
        "augment.device": "model",
        "tokenizer.path": tokenizer,
        **{f"model.{name}": value for name, value in model_of(size).items()},
        "optim.warmup_steps": int(WARMUP * steps),
        "train.batch_size": BATCH,
        "train.max_steps": steps,
        "monitor.every": 0,
        "gallery.pictures": 0,
        **FAST,
    }
    own = [f"--{name}={value}" for name, value in options.items()]
    return ["-m", "beit", "pretrain", RECIPES["pretraining"], *own, *([*TINY, *TINY_MODEL] if tiny else [])]


def pretrained(given):
    """Return the run folder of the pre-training, after running what is missing.

    Of a length in minutes a pilot measures the speed first.
    """
    place, tokenizer = given.runs / given.size, tokenizer_of(given)
    steps = steps_of_pretraining(given, place, tokenizer)
    train([(place / "pretraining", arguments(given.size, tokenizer, steps, given.tiny))])
    return place / "pretraining"


def tokenizer_of(given):
    """Return the folder or the name of the tokenizer, after fitting it where none is given."""
    if given.tokenizer is not None:
        return given.tokenizer
    run = given.runs / given.size / "tokenizer"
    clustering = ["-m", "beit", "tokenizer", "cluster", RECIPES["tokenizer"], f"--data.path={TRAIN}"]
    train([(run, [*clustering, *(TINY_TOKENIZER if given.tiny else [])])])
    return run / "model"


def steps_of_pretraining(given, place, tokenizer):
    """Return the steps of the pre-training: of its epochs, or of its minutes at the speed of a pilot."""
    if given.tiny:
        return TINY_STEPS
    if given.minutes is None:
        return round(given.epochs * LABELLED[ALL] / BATCH)
    train([(place / "pilot", arguments(given.size, tokenizer, PILOT_STEPS, given.tiny))])
    rate = last_line(place / "pilot")[0]["images_per_second"]
    steps = max(1, round(60 * given.minutes * rate / BATCH))
    print(f"{rate:,.0f} pictures a second: {steps:,} steps in {given.minutes:g} minutes", flush=True)
    return steps


def last_line(run):
    """Return the last line of a training's metrics, and its step."""
    line = lines(run, "train")[-1]
    return line, line["step"]


def model_of(size):
    """Return the settings of the model: those of the recipe of pre-training, at this size."""
    layers, width, heads = MODELS[size]
    own = {
        "num_hidden_layers": layers,
        "hidden_size": width,
        "num_attention_heads": heads,
        "intermediate_size": 4 * width,
    }
    recipe = yaml.safe_load((ROOT / RECIPES["pretraining"]).read_text())["model"]
    return {name: value for name, value in (recipe | own).items() if name in SIZES}


def steps_of(arm, given):
    """Return the steps of a training with all labels; from scratch those of equal compute, tokens included."""
    tuning = given.fine_tuning_epochs * LABELLED[ALL] / BATCH
    if arm == "scratch":
        layers, width, heads = MODELS[given.size]
        config = BeitConfig(hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads,
                            intermediate_size=4 * width, image_size=32, patch_size=4, vocab_size=512)  # fmt: skip
        recipe = yaml.safe_load((ROOT / RECIPES["pretraining"]).read_text())
        step = training_flops(config, recipe["mask"]["count"], recipe["decoder"]["layers"])
        fit, tokens = tokenizer_flops(Path(tokenizer_of(given)))
        before = fit + given.epochs * LABELLED[ALL] * (step + tokens)
        tuning += before / (BATCH * training_flops(config, 0))
    return round(tuning)


def fine_tuning(arm, seed, given, checkpoint=None):
    """Return the arguments of a training with all labels, from a checkpoint or from scratch."""
    steps = steps_of(arm, given)
    new = {f"model.{name}": value for name, value in model_of(given.size).items()}
    options = {
        "data.path": TRAIN,
        "data.val_share": HELD_OUT,
        "data.workers": WORKERS[arm],
        "train.batch_size": BATCH,
        "train.max_steps": steps,
        "optim.warmup_steps": int(WARMUP * steps),
        "optim.layer_decay": CANDIDATES[arm][0]["optim.layer_decay"],
        "run.seed": seed,
        **FAST,
        **FINE_TUNING,
        **({"checkpoint": "null", **new} if checkpoint is None else {"checkpoint": checkpoint}),
    }
    own = [f"--{name}={value}" for name, value in options.items()]
    tiny = [*TINY, *(TINY_MODEL if checkpoint is None else [])] if given.tiny else []
    return ["-m", "beit", "finetune", RECIPES["training"], *own, *tiny]


def few_labels(share, seed, before, given):
    """Return the arguments of a fine-tuning with few labels, which is that of headline.py but for its speed."""
    line = of_few_labels("pretrained", share, seed, CANDIDATES["pretrained"][0], before)
    return [*line, *(f"--{name}={value}" for name, value in FAST.items()), *(TINY if given.tiny else [])]


def fine_tunings(before, given):
    """Yield the run folder and arguments of everything that starts from the pre-training."""
    for share in given.shares:
        for seed in SEEDS[share]:
            folder = headline.folder_of(given.runs / given.size, "pretrained", share, seed)
            all_labels = share == ALL
            yield folder, (fine_tuning("pretrained", seed, given, before.model) if all_labels
                           else few_labels(share, seed, before, given))  # fmt: skip


def train_all(given):
    """Train what is missing: from scratch beside the pre-training, and what starts from that when it is finished."""
    place = given.runs / given.size
    place.mkdir(parents=True, exist_ok=True)
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    (place / MACHINE).write_text(json.dumps({"gpu": gpu, **about("torch", "numpy", "Pillow")}) + "\n")
    with ThreadPoolExecutor(1) as pool:
        beside = None
        given.tokenizer = tokenizer_of(given)
        tokenizer_flops(Path(given.tokenizer))  # one whose compute is not counted is refused before hours of training
        if ALL in given.shares and "scratch" in given.arms:
            scratch = [(place / f"scratch_100_{seed}", fine_tuning("scratch", seed, given)) for seed in SEEDS[ALL]]
            beside = pool.submit(train, scratch)
        before = Pretraining(pretrained(given))
        if "pretrained" in given.arms:
            train(fine_tunings(before, given))
        if beside is not None:
            beside.result()


# The table.


def measure(given, before):
    """Probe the pre-trained model, and read the test pictures once for everything that is finished."""
    place = given.runs / given.size
    for share in given.shares:
        for name in PROBES:
            for seed in SEEDS[share]:
                headline.run_probe(name, place, share, seed, before, trial=False)
        for arm in ARMS:
            for seed in SEEDS[share]:
                folder = headline.folder_of(place, arm, share, seed)
                if (folder / "result.json").exists():
                    headline.measure_on_test(folder, headline.judge_of(arm, folder / "model"))


def report(given, before):
    """Return the numbers of all that is measured."""
    place = given.runs / given.size
    labels = {share: {name: cell(place, name, share, before) for name in HEADLINE} for share in SEEDS}
    pretraining = {"run": before.folder.name, "pflop": before.pflop, "pictures_seen": before.pictures_seen}
    settings = {"recipes": list(RECIPES.values()), "batch_size": BATCH, "seeds": SEEDS, "labelled_pictures": LABELLED,
                "with_all_labels": FINE_TUNING, "epochs_with_all_labels": given.fine_tuning_epochs}  # fmt: skip
    return {
        "trained_on": json.loads((place / MACHINE).read_text()),
        "size": given.size,
        "pretraining": pretraining,
        "labels": labels,
        "settings": settings,
    }


def cell(place, name, share, before):
    """Return accuracies, compute and run folders of a row and a share, of the seeds that are measured, or None."""
    if name not in ARMS:
        return headline.cell(place, name, share, before)
    every = [headline.folder_of(place, name, share, seed) for seed in SEEDS[share]]
    folders = [folder for folder in every if (folder / "test.json").exists()]
    if not folders:
        return None
    trained = Pretraining(folders[0])
    pflop = trained.pictures_seen * training_flops(before.config, 0) / 1e15
    started = name == "pretrained"
    return {
        **spread(json.loads((folder / "test.json").read_text())["accuracy"] for folder in folders),
        "held_out": [json.loads((folder / "result.json").read_text())["accuracy"] for folder in folders],
        "pflop": pflop + (before.pflop if started else 0.0),
        "pictures_seen": trained.pictures_seen + (before.pictures_seen if started else 0),
        "runs": [folder.name for folder in folders],
        "test_readings": [accesses(folder) for folder in folders],
    }


def options():
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=MODELS, default="9x256", help="layers x width; default: %(default)s")
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--epochs", type=float, default=PRETRAINING_EPOCHS, help="of pre-training; default: %(default)s"
    )
    length.add_argument("--minutes", type=float, help="of pre-training, at the speed of a pilot")
    parser.add_argument(
        "--fine-tuning-epochs", type=float, default=FINE_TUNING_EPOCHS, help="with all labels; default: %(default)s"
    )
    parser.add_argument("--tokenizer", help="folder or name of the tokenizer; default: one is fitted first")
    parser.add_argument("--shares", default="100,10,1", help="per cent of the labels, some of %(default)s")
    parser.add_argument("--arms", default=",".join(ARMS), help="some of %(default)s")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "headline_gpu", help="where everything is kept")
    parser.add_argument("--measure", action="store_true", help="only probe, and read the test pictures")
    parser.add_argument("--record", action="store_true", help="only print the table, and write its record")
    parser.add_argument("--tiny", action="store_true", help="all in small, also without a GPU; no test pictures")
    given = parser.parse_args()
    given.shares, given.arms = [f"{share}%" for share in given.shares.split(",")], given.arms.split(",")
    for name, values, known in (("shares", given.shares, SEEDS), ("arms", given.arms, ARMS)):
        if unknown := set(values) - set(known):
            parser.error(f"--{name} has {', '.join(sorted(unknown))}; expected some of {', '.join(known)}")
    trains = not (given.measure or given.record or given.tiny)
    if trains and not torch.cuda.is_available():
        parser.error("there is no GPU; --tiny runs everything in small on a CPU")
    if given.minutes is not None and "scratch" in given.arms:
        parser.error("--minutes fixes no compute before the run, and scratch needs as much; take --epochs")
    given.runs = (given.runs / "tiny" if given.tiny else given.runs).resolve()
    return given


def main():
    given = options()
    if not (given.measure or given.record):
        train_all(given)
        return
    before = Pretraining(given.runs / given.size / "pretraining")
    if given.measure:
        measure(given, before)
    numbers = report(given, before)
    headline.show(numbers)
    if given.record:
        write_result(RESULT, numbers, "torch", "numpy", "Pillow")


if __name__ == "__main__":
    sys.exit(main())
