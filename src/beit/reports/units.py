"""Names and units of numbers for reading: a share stands in percent wherever it is shown."""

from __future__ import annotations

from typing import Any

_SHARES = frozenset({
    "accuracy", "top5_accuracy", "mean_class_accuracy", "frequency_accuracy", "calibration_error", "held_out_error",
    "mean_average_precision", "f1", "mean_label_f1", "mean_iou", "mean_accuracy", "pixel_accuracy", "boundary_f1",
    "knn", "ridge", "retrieval", "position_spread", "flops_utilisation", "data_wait",
})  # fmt: skip
_WORDS = {
    "held_out_loss": "validation loss",
    "frequency_loss": "loss of always predicting the token frequencies",
    "frequency_accuracy": "accuracy of always predicting the most frequent token",
    "top5_accuracy": "top-5 accuracy",
    "mean_class_accuracy": "accuracy, mean over classes",
    "calibration_error": "expected calibration error",
    "mean_average_precision": "average precision, mean over labels",
    "f1": "F1, over all labels",
    "mean_label_f1": "F1, mean over labels",
    "mean_squared_error": "mean squared error",
    "mean_absolute_error": "mean absolute error",
    "r2": "share of the variance explained (R2)",
    "l1": "mean absolute error (pixels in [0, 1])",
    "l2": "mean squared error",
    "psnr": "peak signal-to-noise ratio (dB)",
    "similarity": "cosine similarity to the teacher's features",
    "used_codes": "codes used",
    "vocab_size": "codes in the codebook",
    "mean_iou": "intersection over union, mean over classes",
    "mean_accuracy": "accuracy of pixels, mean over classes",
    "pixel_accuracy": "accuracy of pixels",
    "boundary_f1": "outline F1, mean over classes",
    "knn": "kNN accuracy",
    "ridge": "ridge probe accuracy",
    "retrieval": "views that find each other",
    "rankme": "effective rank (RankMe)",
    "position_spread": "spread over positions",
    "prediction_perplexity": "perplexity of the predictions",
    "target_perplexity": "perplexity of the targets",
    "teacher_divergence": "probabilities, divergence",
    "teacher_features": "similarities of patches, squared error",
    "teacher_attention": "attention, divergence",
}
_OTHER_MODELS = {"average_": "moving average: ", "pixels_": "raw pixels: ", "start_": "before training: "}


def is_share(name: str) -> bool:
    """Return whether a metric is a share in [0, 1]."""
    for prefix in _OTHER_MODELS:
        name = name.removeprefix(prefix)
    return name in _SHARES or name.startswith("iou_")


def in_words(name: str) -> str:
    """Return what a metric is called in a table, such as "expected calibration error"."""
    for prefix, model in _OTHER_MODELS.items():
        if name.startswith(prefix):
            return model + in_words(name.removeprefix(prefix))
    if name.endswith("_layer"):
        return f"{in_words(name.removesuffix('_layer'))}, best layer"
    if name.startswith("iou_"):  # then the name of a class, which stays as it is
        return f"intersection over union of {name.removeprefix('iou_')}"
    return _WORDS.get(name, name.replace("_", " "))


def shown(name: str, value: Any) -> str:
    """Return a number for reading: shares in percent, others with four digits."""
    if not isinstance(value, float):
        return f"{value:,}"
    return percent(value, digits=2) if is_share(name) else f"{value:,.4g}"


def sentence(line: str | None) -> str:
    """Return a line of the command line as a sentence of a report; "" for none."""
    return f"{line[0].upper()}{line[1:]}." if line else ""


def percent(share: float, digits: int = 1) -> str:
    """Return a share in percent, such as "82.3 %"."""
    return f"{100 * share:.{digits}f} %"
