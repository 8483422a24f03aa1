"""What the documents say of accuracies is what was measured: benchmarks/results, and the demo as the guide shows it."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def result(name):
    return json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text(encoding="utf-8"))


LABELS = result("headline")["labels"]
CLAIMS = {  # document -> its sentences; {arm at share} is a mean and {± arm at share} its deviation, in percent
    "README.md": [
        "that gives {pretrained at 1%} % of the test pictures",
        "from scratch at equal total compute has {scratch at 1%} %",
        "ridge regression on raw pixels {ridge at 1%} %",
        "it has {pretrained at 10%} % (from scratch {scratch at 10%} %, ridge {ridge at 10%} %)",
        ", with all {pretrained at 100%} % (from scratch {scratch at 100%} %, ridge {ridge at 100%} %; one seed)",
        "small convolutional network of equal compute has {convnet at 1%} % with 1 %",
        "{convnet at 10%} % with 10 % and {convnet at 100%} % with all:",
    ],
    "docs/why.md": [
        "| {pretrained at 1%} % ± {± pretrained at 1%} | {pretrained at 10%} % ± {± pretrained at 10%} |",
        "| {scratch at 1%} % ± {± scratch at 1%} | {scratch at 10%} % ± {± scratch at 10%} |",
        "| {ridge at 1%} % ± {± ridge at 1%} | {ridge at 10%} % ± {± ridge at 10%} |",
        "equal total compute | {convnet at 1%} % ± {± convnet at 1%} | {convnet at 10%} % ± {± convnet at 10%} |",
        "pre-trained {pretrained at 100%} %, from scratch at equal compute {scratch at 100%} %, the convolutional",
        "network {convnet at 100%} %.",
    ],
    "docs/recipes.md": [
        "50 labelled pictures per class: {pretrained at 1%}% ± {± pretrained at 1%}% of the test pictures",
        "(ridge regression on raw pixels {ridge at 1%}%;",
        "from random weights at equal compute {scratch at 1%}% ± {± scratch at 1%}%, a small convolutional network",
        "{convnet at 1%}%)",
        "with 500 per class {pretrained at 10%}% ± {± pretrained at 10%}% (from random weights {scratch at 10%}%",
        "± {± scratch at 10%}%, ridge {ridge at 10%}%; the convolutional network {convnet at 10%}%",
        "± {± convnet at 10%}%)",
        "with all {pretrained at 100%}% (one seed; from random weights {scratch at 100%}%, the convolutional network",
        "{convnet at 100%}%)",
    ],
    "recipes/finetune_cifar10_nano.yaml": [
        "{pretrained at 1%} % of the test pictures, standard deviation {± pretrained at 1%} over three seeds",
        "the same total compute has {scratch at 1%} % ({± scratch at 1%})",
        "ridge regression on raw pixels {ridge at 1%} %, a small convolutional",
        "network with that compute {convnet at 1%} %",
        "give {pretrained at 10%} % ({± pretrained at 10%}; from random weights {scratch at 10%} %",
        "{± scratch at 10%}; ridge {ridge at 10%} %; the",
        "convolutional network {convnet at 10%} %, {± convnet at 10%})",
        "with all of them {pretrained at 100%} % (one seed; from random weights {scratch at 100%} %,",
        "the convolutional network {convnet at 100%} %)",
    ],
    "src/beit/included/nano-cifar10/README.md": [
        "kNN {knn at 100%} % with all labels (on raw pixels {pixel_knn at 100%} %), {knn at 10%} % (standard",
        "deviation {± knn at 10%} over three draws of 10 % of the labels",
        "ridge regression on raw pixels {ridge at 10%} %), {knn at 1%} % ± {± knn at 1%} with 1 %",
        "labels: {pretrained at 1%} % ± {± pretrained at 1%}.",
        "same total compute has {scratch at 1%} % ± {± scratch at 1%}, ridge regression on raw pixels {ridge at 1%} %",
        "a small convolutional network with that compute {convnet at 1%} %.",
        "10 % of the labels {pretrained at 10%} % ± {± pretrained at 10%} (from scratch {scratch at 10%} %",
        "± {± scratch at 10%}; the convolutional network {convnet at 10%} % ± {± convnet at 10%}),",
        "with all {pretrained at 100%} % (one seed; from scratch {scratch at 100%} %, the convolutional network",
        "{convnet at 100%} %)",
    ],
    "src/beit/included/nano-cifar10-classifier/README.md": [
        "**Results**: {pretrained at 100%} % of 5,000 test pictures",
        "scratch at equal compute has {scratch at 100%} % (one seed each)",
        "a ridge probe of random weights has {random_linear at 100%} %",
    ],
    "src/beit/catalog.py": ['32, "accuracy {pretrained at 100%}")'],
}
WHOLE = ("README.md", "recipes/finetune_cifar10_nano.yaml")  # with no other percentages of their own


def percent(name):
    deviation, arm, share = re.fullmatch(r"(± )?(\w+) at (\d+%)", name).groups()
    return f"{100 * LABELS[share][arm]['std' if deviation else 'mean']:.1f}"


def as_measured(sentence):
    return re.sub(r"\{([^}]+)\}", lambda slot: percent(slot[1]), sentence)


def text_of(document):
    return re.sub(r"\s+(?:# )?", " ", (ROOT / document).read_text(encoding="utf-8"))


@pytest.mark.parametrize("document", CLAIMS)
def test_what_is_claimed_was_measured(document):
    text = text_of(document)
    assert [claim for claim in CLAIMS[document] if as_measured(claim) not in text] == []


@pytest.mark.parametrize("document", WHOLE)
def test_every_percentage_is_claimed(document):
    text = text_of(document)
    for claim in CLAIMS[document]:
        text = text.replace(as_measured(claim), "")
    assert re.findall(r"\d+\.\d+ ?%", text) == []


def test_segmentation_of_the_recipe():
    measured = result("camvid")["validation"]
    scratch, pretrained = (f"{measured[how]['mean_iou']:.1%}" for how in ("scratch", "pretrained"))
    tutorial, card = text_of("docs/tutorials/segment.md"), text_of("src/beit/included/nano-camvid-segmenter/README.md")
    assert f"a mean IoU of {pretrained} on the 101 validation pictures" in tutorial
    assert f"as the pre-training cost, it is {scratch}." in tutorial
    assert f"measured: {pretrained}, and {scratch} from random weights" in text_of("docs/recipes.md")
    said = f"mean IoU of {pretrained} with pre-training on the same pictures and some of CIFAR-10, and {scratch} from"
    assert said in text_of("docs/why.md")
    assert f"measured once each, one seed: {pretrained} and {scratch}" in text_of("docs/benchmarks.md")
    pretrained, scratch = pretrained.replace("%", " %"), scratch.replace("%", " %")
    assert f"mean IoU {pretrained} of the 101 validation scenes" in card
    assert f"with the same total compute has {scratch}" in card
    assert f"a mean IoU of {pretrained} on the 101" in text_of("recipes/segment_camvid_nano.yaml")


def test_tokens_of_the_recipes():
    probe = result("tokenizers_cifar10")["linear_probe_accuracy"]
    vq_kd, vae = (100 * probe[kind] for kind in ("vq_kd", "discrete_vae"))
    assert f"has {vq_kd:.1f}%, on those of `tokenizer_cifar10` {vae:.1f}%" in text_of("docs/recipes.md")
    assert f"reaches {vq_kd:.1f} %, on those of tokenizer_cifar10.yaml {vae:.1f} %" in text_of(
        "recipes/vq_kd_cifar10.yaml"
    )


def test_the_demo_on_the_first_page():
    rows = {
        row[0].strip(): row[-1].strip()
        for line in (ROOT / "docs" / "start.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("│") and (row := line.strip("│").split("│"))
    }
    first = text_of("docs/index.md")
    assert f"the demo of this package reaches {rows['pre-trained and fine-tuned']} with" in first
    assert f"on raw pixels has {rows['1-nearest neighbour on raw pixels'].split(' ± ')[0]};" in first
    assert f"do as well ({rows['from scratch, as many steps in all']})" in first


def test_the_ranking_by_the_monitor():
    ranks = result("monitor_ranking")["spearman"]
    said = f"{ranks['ridge']:.2f} for the monitor's ridge probe and {ranks['knn']:.2f} for its kNN"
    assert said in text_of("docs/benchmarks.md")


def test_what_is_said_of_the_ablations_is_what_they_measured():
    variants = result("ablations")["variants"]

    def points(title, probe="linear"):
        before = variants[variants[title]["compared_with"]]
        return round(100 * (variants[title][probe]["mean"] - before[probe]["mean"]))

    why, page = text_of("docs/why.md"), text_of("docs/benchmarks.md")
    biases = [title for title in variants if "relative bias" in title]
    assert {points(title) for title in biases} == {-2}
    assert sorted({-points(title, "fine_tuned") for title in biases}) == [5, 6]
    assert "relative positions cost 2 and 5 to 6." in why
    assert "cost 2 points by the ridge probe and 5 to 6 fine-tuned" in page
    gains = {-points("pixels instead of visual tokens", probe) for probe in ("linear", "fine_tuned")}
    assert gains == {5}
    assert "visual tokens gain 5 points over pixels, by a ridge probe and fine-tuned" in why
    blocks = "blocks instead of random patches"
    assert points(blocks, "fine_tuned") == -2
    assert "(fine-tuned, blocks cost 2)" in why
    assert "cost 2 points fine-tuned and nothing that the two probes agree on" in page
    for title in (blocks, "with layer scale (0.1)"):
        before = variants["the recipe"]
        gains = [variants[title][probe]["mean"] - before[probe]["mean"] for probe in ("knn", "linear")]
        assert gains[0] > 0 > gains[1], "the probes do not agree"
    assert points("with layer scale (0.1)", "fine_tuned") == 0
    hidden = "mask tokens in the encoder"
    assert points(hidden) / 2 < points(hidden, "fine_tuned") < 0
    assert "fine-tuning makes up for more than half of the latter" in page


def test_a_folder_is_listed_as_fast_as_is_said():
    files = result("listing")["files"]
    assert f"take {files['listing']:.1f} s the first time and {files['listing_again']:.1f} s again" in text_of(
        "docs/benchmarks.md"
    )


def test_what_a_gpu_was_measured_to_do():
    parts, said = result("gpu")["parts"], text_of("docs/benchmarks.md")
    errors = parts["heads"]["relative_error"]
    for kind, digits in (("fp32", 0), ("bf16", 3)):
        found = [error for name, error in errors.items() if name.endswith(kind)]
        low, high = (f"{error:.{digits}{'e' if kind == 'fp32' else 'f'}}" for error in (min(found), max(found)))
        assert f"to a relative {low} to {high} |".replace("e-0", "e-") in said
    assert parts["repeatability"]["exact"] is True
    shares = [f"{100 * parts['tokenizer'][how]['differing']:.1f}" for how in ("bf16", "compiled")]
    assert f"| {shares[0]} and {shares[1]} % differ" in said
    ours, theirs = parts["pretraining"]["256 plain"]["with stored tokens"], parts["peers"]["256"]
    assert f"**{ours['ms']:.0f} ms and {ours['peak_gib']:.1f} GiB, where transformers" in said
    assert f"takes {theirs['ms']:.0f} ms and {theirs['peak_gib']:.1f} GiB**" in said
    assert f"took {ours['ms']:.0f} ms on an H200 where tf 5 takes {theirs['ms']:.0f}" in text_of("docs/comparison.md")
