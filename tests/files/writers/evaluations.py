"""Results of evaluations."""

import numpy as np
from PIL import Image

from beit import (
    BeitConfig,
    BeitForImageClassification,
    BeitForSemanticSegmentation,
    BeitImageProcessor,
)
from beit.evaluation.classification.evaluate import evaluate
from beit.evaluation.features.attentive import AttentiveScores
from beit.evaluation.features.benchmark import Benchmark, Measured
from beit.evaluation.features.benchmark_files import write_benchmark
from beit.evaluation.features.frozen import raw_pixels
from beit.evaluation.features.kept_features import ModelFeatures, SetFeatures, write_attentive, write_features
from beit.evaluation.features.probes import LayerScores, ModelScores
from beit.evaluation.segmentation.evaluate import evaluate_scenes
from beit.evaluation.tokenizer.evaluate import evaluate_tokenizer, reconstruct_pictures
from beit.settings.benchmark import BenchmarkJob
from beit.settings.evaluate import EvaluateJob
from beit.settings.groups import DataSettings, PictureSettings
from beit.settings.segment import LabelMapSettings
from beit.settings.tokenizer import EvaluateTokenizerJob, ReconstructJob
from beit.tokenizer import DiscreteVAE
from tests.files.writers.table import CODEBOOK, CONFIG, SMALL, writer


def drawn(folder):
    """Four pictures of two classes, and a mask for each."""
    for number in range(4):
        for kind, mode in (("pictures", "RGB"), ("masks", "L")):
            place = folder / kind / "ab"[number % 2]
            place.mkdir(parents=True, exist_ok=True)
            Image.new(mode, (32, 32), number % 2).save(place / f"{number}.png")
    return PictureSettings(str(folder / "pictures"), workers=0)


def evaluation(option):
    def make(folder):
        BeitForImageClassification(BeitConfig(**SMALL, id2label={0: "a", 1: "b"})).save_pretrained(folder / "model")
        BeitImageProcessor(size=32).save_pretrained(folder / "model")
        data = drawn(folder)
        return lambda place: evaluate(EvaluateJob(str(folder / "model"), data, **{option: str(place / option)}))

    make.__name__ = f"evaluation_{option}"
    return make


def scenes(option):
    def make(folder):
        BeitForSemanticSegmentation(CONFIG).save_pretrained(folder / "model")
        BeitImageProcessor(size=32).save_pretrained(folder / "model")
        data, maps = drawn(folder), LabelMapSettings(str(folder / "masks"))
        return lambda place: evaluate_scenes(
            EvaluateJob(str(folder / "model"), data, label_maps=maps, **{option: str(place / option)})
        )

    make.__name__ = f"scenes_{option}"
    return make


for name in ("output", "predictions"):
    writer("evaluation/result.py")(evaluation(name))
    writer("evaluation/result.py")(scenes(name))


@writer("evaluation/features/kept_features.py")
def kept_features(_):
    train, val = (SetFeatures([np.zeros((4, 8), np.float32)], np.arange(4), np.arange(4), []) for _ in range(2))
    return lambda place: write_features(place / "a.safetensors", ModelFeatures(train, val, 1.0))


@writer("evaluation/features/kept_features.py")
def kept_attentive_scores(_):
    return lambda place: write_attentive(place / "a.json", {"layer": 1}, AttentiveScores(0.5, 1, 5, 0.5, 8))


@writer("evaluation/features/benchmark_files.py")
def benchmark_of_features(_):
    scores = ModelScores([LayerScores(0.5, 1, 0.5, 0.5, 1.0, 0.5)], 1, 1, [])
    result = Benchmark([Measured(raw_pixels(), scores, 1.0, 1.0)], ["a", "b"], 8, 2, [], "cpu", "fp32")
    return lambda place: write_benchmark(place, result, BenchmarkJob(("random",), DataSettings("pictures")))


@writer("evaluation/tokenizer/evaluate.py")
def tokenizer_numbers(folder):
    DiscreteVAE(CODEBOOK).save_pretrained(folder / "tokenizer")
    data, tokenizer = drawn(folder), str(folder / "tokenizer")
    return lambda place: evaluate_tokenizer(
        EvaluateTokenizerJob(tokenizer, image_size=16, data=data, output=str(place / "numbers.json"))
    )


@writer("evaluation/tokenizer/evaluate.py")
def reconstructions(folder):
    DiscreteVAE(CODEBOOK).save_pretrained(folder / "tokenizer")
    data, tokenizer = drawn(folder), str(folder / "tokenizer")
    return lambda place: reconstruct_pictures(
        ReconstructJob(tokenizer, image_size=16, data=data, output=str(place / "shown.png"))
    )
