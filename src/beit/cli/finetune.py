"""`beit finetune`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from beit.cli.forecast import say_forecast
from beit.cli.output import say
from beit.cli.training import parse_training, say_results
from beit.settings.finetune import FinetuneJob

if TYPE_CHECKING:
    from beit.engine.run_folder import RunFolder

DESCRIPTION = (
    "Fine-tune a pre-trained BEiT on classes of pictures, or on several labels or a number for each (data.labels), or "
    "train one from scratch (without a checkpoint). The same command continues a run that was stopped. --dry-run takes "
    "a few steps, writes nothing and prints the cost of the whole run."
)
_FEW = 50  # held-out pictures, of which one changes the accuracy by more than two hundredths
_AVERAGE = "average_"
_SHOWN = {
    "accuracy": ("accuracy", ".2%"),
    "mean_average_precision": ("mean average precision", ".2%"),
    "f1": ("F1", ".2%"),
    "mean_absolute_error": ("mean absolute error", ".4g"),
    "loss": ("loss", ".4f"),
}


def run(arguments: Sequence[str]) -> int:
    """Parse, fine-tune, print."""
    job, dry, machines = parse_training(FinetuneJob, "beit finetune", DESCRIPTION, arguments)
    from beit.tasks.finetune.task import FinetuneTask, finetune

    if dry:
        say_forecast(FinetuneTask, job, machines)
        return 0
    say_classifier(finetune(job))
    return 0


def say_classifier(folder: RunFolder) -> None:
    """Print what a trained classifier reached on held-out pictures, and where it lies."""
    result = folder.read_result()
    say(f"held-out pictures: {_numbers(result)}, {result['pictures']:,.0f} pictures")
    if "accuracy" in result and result["pictures"] < _FEW:
        say(
            f"so few that each counts {1 / result['pictures']:.1%}: hold out more (data.val_share), or name them "
            "(data.val_path)"
        )
    if any(name.startswith(_AVERAGE) for name in result):
        average = {name.removeprefix(_AVERAGE): value for name, value in result.items() if name.startswith(_AVERAGE)}
        say(f"moving average of the weights: {_numbers(average)}")
    say_results(folder)


def _numbers(result: Mapping[str, float]) -> str:
    """Return the numbers that matter most for the kind of labels."""
    shown = [f"{words} {result[name]:{form}}" for name, (words, form) in _SHOWN.items() if name in result]
    return ", ".join(shown)
