"""A pre-trained BEiT on CIFAR-10 beside all that needs no pre-training, with all labels, 10 % and 1 % of them.

    python benchmarks/headline.py                                      # everything, in many hours of one core
    python benchmarks/headline.py --parts probes --shares 1,10         # some of it
    python benchmarks/headline.py --choose --parts finetune --shares 1 # settings, on held-out training pictures
    python benchmarks/headline.py --report                             # the table of what is there
    python benchmarks/headline.py --record                             # the same, and results/headline.json
    python benchmarks/headline.py --trial 0.01                         # all in small, one seed, no test pictures

One BEiT is pre-trained without labels by recipes/pretrain_cifar10_nano.yaml, on tokens of recipes/kmeans_cifar10.yaml,
unless `--pretrained` names the run folder of one that is, or beit/nano-cifar10, the packaged model of the recorded run.
Then, for each share of the labels:

- probes: kNN, a ridge probe and an attentive probe of its frozen features; the same of random weights; and ridge and
  kNN of raw pixels.
- finetune: the BEiT, fine-tuned.
- scratch: the same network from random weights, with the same recipe and the same compute: that of pre-training and
  fine-tuning together.
- convnet: a small convolutional network, with the same augmentation and the same compute.

Three seeds of all but those with all labels; a seed draws the labelled pictures too. All is chosen on held-out training
pictures. The test pictures are read by the last step of every arm, once. Stopped, it continues; what is finished is
not run again. Arms may run on several machines: what has no run folder here keeps its place in the record.
"""

import argparse
import json
import sys
from functools import lru_cache, partial
from pathlib import Path

import torch

import convnet
import headline_probes as probes
from about import about, write_result
from beit import BeitForImageClassification, BeitForMaskedImageModeling
from cifar10 import accuracy_of, labelled, spread
from headline_trainings import (
    BATCH,
    CANDIDATES,
    EPOCHS,
    LABELLED,
    RECIPES,
    SETTINGS,
    Packaged,
    arguments,
    cost_of,
    pretraining,
    probe_pflop,
)
from peers import ROOT
from table import headline_rows
from test_pictures import accesses, accuracy_on_test
from trainings import train

RESULT = Path(__file__).parent / "results" / "headline.json"
SEEDS = {"100%": (0,), "10%": (0, 1, 2), "1%": (0, 1, 2)}
ARMS = {"finetune": "pretrained", "scratch": "scratch", "convnet": "convnet"}  # the parts that are trainings
PARTS = ("probes", *ARMS)
# of the pre-trained model, of random weights, of raw pixels
PIXEL_PROBES = ("ridge", "pixel_knn")
PROBES = ("knn", "linear", "attentive", "random_knn", "random_linear", "random_attentive", *PIXEL_PROBES)
TRIAL_PICTURES, TRIAL_EPOCHS = 600, (1, 2)


def folder_of(runs, name, share, seed, candidate=0):
    """Return the run folder of a probe or a training; that of other settings than the first has their number."""
    return runs / "_".join([name, share.removesuffix("%"), str(seed), *([str(candidate)] if candidate else [])])


# Probes.


def source_of(name, before, seed):
    """Return the features of a probe, by the beginning of its name."""
    if name in PIXEL_PROBES:
        return probes.Pixels()
    if name.startswith("random"):
        torch.manual_seed(seed)
        return probes.Frozen(BeitForMaskedImageModeling(before.config))
    return pretrained_features(str(before.model))


@lru_cache(maxsize=1)  # several probes of one model follow each other
def pretrained_features(model):
    """Return the features of a pre-trained model."""
    return probes.Frozen(BeitForMaskedImageModeling.from_pretrained(model))


def fitted(name, folder, source, pixels, labels, epochs, seed):
    """Return what a probe chose, and the function that judges pictures by it."""
    if name.endswith("knn"):
        return probes.fit_knn(source, pixels, labels)
    if not name.endswith("attentive"):
        return probes.fit_linear(source, pixels, labels)
    linear = folder.with_name(folder.name.replace("attentive", "linear")) / "chosen.json"
    if not linear.exists():
        raise SystemExit(f"{name} takes the layer that the ridge probe chose, and there is no {linear}; run it first")
    return probes.fit_attentive(source, pixels, labels, json.loads(linear.read_text())["layer"], epochs, seed)


def run_probe(name, runs, share, seed, before, trial):
    """Fit a probe, keep what it chose, and measure it; one that is measured is not fitted again."""
    folder = folder_of(runs, name, share, seed)
    if not (folder / "test.json").exists() and not (trial and (folder / "chosen.json").exists()):
        folder.mkdir(parents=True, exist_ok=True)
        pixels, labels = labelled(share, seed)
        epochs = probes.EPOCHS[share]
        if trial:
            some = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))[:TRIAL_PICTURES].numpy()
            pixels, labels, epochs = pixels[some], labels[some], TRIAL_EPOCHS
        chosen, judge = fitted(name, folder, source_of(name, before, seed), pixels, labels, epochs, seed)
        (folder / "chosen.json").write_text(json.dumps({**chosen, "pictures": len(labels)}) + "\n")
        if not trial:
            measure_on_test(folder, judge)
    say(folder, json.loads((folder / "chosen.json").read_text()))


# Trainings.


def chosen_settings(runs, arm, share):
    """Return the number of the settings that `--choose` found best for an arm; else 0."""
    found = runs / "chosen.json"
    return json.loads(found.read_text()).get(f"{arm} {share}", 0) if found.exists() else 0


def choose(runs, arm, shares, before, scale):
    """Train an arm with all its settings, and note which did best on the held-out training pictures."""
    for share in shares:
        numbers = range(len(CANDIDATES[arm]))
        done = train(
            (folder_of(runs, arm, share, 0, number), arguments(arm, share, 0, CANDIDATES[arm][number], before, scale))
            for number in numbers
        )
        best = max(numbers, key=lambda number: done[number]["accuracy"])
        found = runs / "chosen.json"
        known = json.loads(found.read_text()) if found.exists() else {}
        found.write_text(json.dumps({**known, f"{arm} {share}": best}, indent=1) + "\n")
        print(f"{arm}, {share} of the labels: {CANDIDATES[arm][best]}", flush=True)


def run_training(runs, arm, share, before, scale):
    """Train an arm with all seeds, and measure each when it is finished; what is finished is not run again."""
    number = chosen_settings(runs, arm, share)
    seeds = SEEDS[share] if scale == 1 else SEEDS[share][:1]
    settings = CANDIDATES[arm][number]
    train(
        (
            (folder_of(runs, arm, share, seed, number), arguments(arm, share, seed, settings, before, scale))
            for seed in seeds
        ),
        then=partial(finish_training, arm, scale),
    )


def finish_training(arm, scale, folder, result):
    """Measure a finished training, unless it was a trial."""
    if scale == 1:
        measure_on_test(folder, judge_of(arm, folder / "model"))
    say(folder, {"held_out_accuracy": result["accuracy"]})


def judge_of(arm, folder):
    """Return the function that judges pictures by a trained model."""
    if arm == "convnet":
        network = convnet.load(folder)
        return lambda *test: accuracy_of(network, *test)
    model = BeitForImageClassification.from_pretrained(folder).eval()
    return lambda *test: accuracy_of(lambda pixels: model(pixels).logits, *test)


def measure_on_test(folder, judge):
    """Return the accuracy of a finished arm on the test pictures: the last step of an arm."""
    return accuracy_on_test(folder, judge)


def say(folder, chosen):
    """Print what an arm chose and reached."""
    kept = folder / "test.json"
    reached = f"test {json.loads(kept.read_text())['accuracy']:.2%}" if kept.exists() else "test not read"
    numbers = (f"{name} {value:.4g}" for name, value in chosen.items() if value is not None)
    print(f"{folder.name:<28} {reached:<16} {', '.join(numbers)}", flush=True)


# The report.


def cell(runs, name, share, before):
    """Return accuracies, compute and run folders of a row and a share, of the seeds that are measured, or None."""
    trained = name in CANDIDATES
    number = chosen_settings(runs, name, share) if trained else 0
    every = [folder_of(runs, name, share, seed, number) for seed in SEEDS[share]]
    folders = [folder for folder in every if (folder / "test.json").exists()]
    needs_model = name not in PIXEL_PROBES
    if not folders or (needs_model and before is None):
        return None
    accuracies = [json.loads((folder / "test.json").read_text())["accuracy"] for folder in folders]
    if trained:
        pflop, seen = cost_of(name, share, before)
    else:
        pflop, seen = probe_pflop(before.config, LABELLED[share]) if needs_model else 0.0, LABELLED[share]
        if needs_model and not name.startswith("random"):
            pflop, seen = pflop + before.pflop, seen + before.pictures_seen
    where = about()
    return {
        **spread(accuracies),
        **{name: where[name] for name in ("machine", "date", "commit")},
        "pflop": pflop,
        "pictures_seen": seen,
        "runs": [folder.name for folder in folders],
        "test_readings": [accesses(folder) for folder in folders],
        **({"settings": CANDIDATES[name][number]} if trained else {}),
    }


def starting_point(given):
    """Return the pre-training that all arms are set beside."""
    packaged = given.pretrained is not None and given.pretrained.as_posix() == Packaged.model
    return Packaged(RESULT) if packaged else pretraining(given.pretrained, given.runs)


def report(runs, before, record=None):
    """Return the numbers of all that is measured, here or as it is recorded; what is missing is None."""
    names = (*CANDIDATES, *PROBES)
    known = record["labels"] if record else {share: dict.fromkeys(names) for share in SEEDS}
    labels = {
        share: {name: of_more_seeds(cell(runs, name, share, before), known[share][name]) for name in names}
        for share in SEEDS
    }
    settings = {
        "recipes": list(RECIPES.values()),
        "seeds": SEEDS,
        "labelled_pictures": LABELLED,
        "epochs_of_fine_tuning": EPOCHS,
        "batch_size": BATCH,
        "changed": SETTINGS,
    }
    pretrained = record and record["pretraining"]
    if before and not isinstance(before, Packaged):
        pretrained = {"run": before.folder.name, "pflop": before.pflop, "pictures_seen": before.pictures_seen}
    return {"labels": labels, "pretraining": pretrained, "settings": settings}


def of_more_seeds(found, known):
    """Return what is measured here, unless the same, or more seeds, are recorded with their machine and commit."""
    if found is None or known is None:
        return found or known
    same = len(found["runs"]) == len(known["runs"]) and found["seeds"] == known["seeds"]
    return known if same or len(known["seeds"]) > len(found["seeds"]) else found


def recorded():
    """Return what is recorded, or None."""
    return json.loads(RESULT.read_text()) if RESULT.exists() else None


def show(numbers):
    """Print the table."""
    rows = headline_rows(numbers)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def show_origins(numbers):
    """Print where every number is from: run folders, accuracy of each seed, compute, machine and commit."""
    for share, cells in numbers["labels"].items():
        for name, cell in cells.items():
            if cell is None:
                continue
            every = zip(cell["runs"], cell["seeds"], strict=True)
            runs = ", ".join(f"{run} {accuracy:.2%}" for run, accuracy in every)
            print(f"{name} at {share}: {runs}; {cell['pflop']:.3f} PFLOP; {cell['machine']}; commit {cell['commit']}")


def options():
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--pretrained", type=Path, help=f"run folder of a pre-training, or {Packaged.model}; default: it is run"
    )
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "headline", help="where everything is kept")
    parser.add_argument("--parts", default=",".join(PARTS), help="some of %(default)s")
    parser.add_argument("--shares", default="1,10,100", help="per cent of the labels, some of %(default)s")
    parser.add_argument("--probes", default=",".join(PROBES), help="some of %(default)s")
    parser.add_argument("--choose", action="store_true", help="only choose the settings of the trainings")
    parser.add_argument("--report", action="store_true", help="only print the table of what is there")
    parser.add_argument("--record", action="store_true", help="only print it, and write results/headline.json")
    parser.add_argument("--trial", type=float, default=0.0, metavar="SHARE", help="so much of the steps")
    given = parser.parse_args()
    for name, known in (("parts", PARTS), ("shares", [one.removesuffix("%") for one in SEEDS]), ("probes", PROBES)):
        values = getattr(given, name).split(",")
        if unknown := set(values) - set(known):
            parser.error(f"--{name} has {', '.join(sorted(unknown))}; expected some of {', '.join(known)}")
        setattr(given, name, values)
    if given.trial and (given.report or given.record):
        parser.error("a trial has no table")
    given.runs = given.runs.resolve() / "trial" if given.trial else given.runs.resolve()
    return given


def main():
    given = options()
    if given.report or given.record:
        there = given.pretrained or (given.runs / "pretraining" / "result.json").exists()
        before = starting_point(given) if there else None
        numbers = report(given.runs, before, recorded())
        show(numbers)
        show_origins(numbers)
        if given.record:
            write_result(RESULT, numbers, "torch", "numpy", "Pillow")
        return
    before = starting_point(given)
    shares, scale = [f"{share}%" for share in given.shares], given.trial or 1.0
    print(f"{before.folder}: {before.pflop:.3f} PFLOP, {before.pictures_seen:,} pictures seen", flush=True)
    arms = [ARMS[part] for part in ARMS if part in given.parts]
    if given.choose:
        for arm in arms:
            choose(given.runs, arm, shares, before, scale)
        return
    for share in shares:
        for name in given.probes if "probes" in given.parts else ():
            for seed in SEEDS[share][: 1 if given.trial else None]:
                run_probe(name, given.runs, share, seed, before, bool(given.trial))
        for arm in arms:
            run_training(given.runs, arm, share, before, scale)
    if not given.trial:
        show(report(given.runs, before, recorded()))


if __name__ == "__main__":
    sys.exit(main())
