"""`beit finetune`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from beit.cli.forecast import say_cost
from beit.cli.output import say, say_settings
from beit.cli.parser import parse_job
from beit.settings.finetune import FinetuneJob

DESCRIPTION = (
    "Fine-tune a pre-trained BEiT on classes of pictures, or on several labels or a number for each (data.labels), or "
    "train one from scratch (without a checkpoint). The same command continues a run that was stopped. --dry-run takes "
    "a few steps, writes nothing and tells what the whole run would cost."
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
    dry = "--dry-run" in arguments
    given = [word for word in arguments if word != "--dry-run"]
    job = parse_job(FinetuneJob, "beit finetune", DESCRIPTION, given, "[--dry-run]")
    say_settings(job)
    return _forecast(job) if dry else _finetune(job)


def _forecast(job: FinetuneJob) -> int:
    from beit.tasks.finetune.dry_run import forecast_finetuning

    say_cost(forecast_finetuning(job), job.train, job.model.image_size or "the checkpoint's")
    return 0


def _finetune(job: FinetuneJob) -> int:
    from beit.tasks.finetune.task import finetune

    folder = finetune(job)
    result = folder.read_result()
    say(f"held-out pictures: {_told(result)}, {result['pictures']:,.0f} pictures")
    if "accuracy" in result and result["pictures"] < _FEW:
        say(
            f"so few that each counts {1 / result['pictures']:.1%}: hold out more (data.val_share), or name them "
            "(data.val_path)"
        )
    if any(name.startswith(_AVERAGE) for name in result):
        average = {name.removeprefix(_AVERAGE): value for name, value in result.items() if name.startswith(_AVERAGE)}
        say(f"moving average of the weights: {_told(average)}")
    say(f"model   {folder.model}")
    if folder.report.exists():
        say(f"report  {folder.report}")
    return 0


def _told(result: Mapping[str, float]) -> str:
    """Return the numbers that matter most for the kind of labels."""
    shown = [f"{words} {result[name]:{form}}" for name, (words, form) in _SHOWN.items() if name in result]
    return ", ".join(shown)
