"""`beit pretrain`."""

from __future__ import annotations

from collections.abc import Sequence

from beit.cli.forecast import say_forecast
from beit.cli.output import say
from beit.cli.training import parse_training, say_results
from beit.settings.pretrain import PretrainJob

DESCRIPTION = (
    "Pre-train a BEiT by masked image modelling: predict the visual tokens of hidden patches. No labels are needed. "
    "Without tokenizer.path a tokenizer is trained first, on the same pictures. The same "
    "command continues a run that was stopped; --force continues it with other settings. --dry-run takes a few steps, "
    "writes nothing and prints the cost of the whole run; with --processes N, that of N processes like this one; with "
    "--device H100 it takes none, and prints what the run would cost on such GPUs."
)


def run(arguments: Sequence[str]) -> int:
    """Parse, pre-train, print."""
    job, dry, machines = parse_training(PretrainJob, "beit pretrain", DESCRIPTION, arguments)
    from beit.reports import quality
    from beit.tasks.pretrain.held_out import verdict
    from beit.tasks.pretrain.task import PretrainTask, pretrain

    if dry:
        say_forecast(PretrainTask, job, machines)
        return 0
    folder = pretrain(job)
    result = folder.read_result()
    say(
        f"held-out pictures, masked patches: loss {result['loss']:.4f}, "
        f"always predicting the token frequencies {result['frequency_loss']:.4f}\n"
        f"token accuracy {result['accuracy']:.2%}, always the most frequent token {result['frequency_accuracy']:.2%}"
    )
    for line in (verdict(result), quality.verdict(result)):
        if line is not None:
            say(line)
    say_results(folder)
    return 0
