"""`beit statistics`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from beit.cli.early_checks import check_paths
from beit.cli.output import prepare_outputs, say
from beit.cli.parser import parse_job
from beit.settings.statistics import StatisticsJob

DESCRIPTION = (
    "Measure mean and standard deviation of each colour channel over pictures to train on, from 0 (black) to 1 "
    "(white), and print them as the settings that a training takes. A model that starts from a checkpoint keeps that "
    "one's."
)


def run(arguments: Sequence[str]) -> int:
    """Parse, measure, print."""
    job = parse_job(StatisticsJob, "beit statistics", DESCRIPTION, arguments)
    check_paths(job.data.path)
    prepare_outputs(job, "output")
    from beit.data import measure_channels, sample
    from beit.files import write_json
    from beit.settings.inputs import open_to_train

    found = measure_channels(sample(open_to_train(job.data), job.pictures, job.seed), job.data.max_broken)
    mean, std = _rounded(found.mean), _rounded(found.std)
    left_out = f", {len(found.broken):,} broken ones left out" if found.broken else ""
    say(f"{found.pictures:,} pictures{left_out}")
    if found.cut[0]:
        say(
            f"{100 * found.cut[1]:.2g} % of the values, in {found.cut[0]:,} pictures, lie beyond their range and are "
            "cut off; data.value_range takes a wider one"
        )
    if found.absent[0]:
        say(
            f"{100 * found.absent[1]:.2g} % of the values, in {found.absent[0]:,} pictures, stand for no measurement "
            "(GDAL_NODATA) and are left out; a training sees them as black"
        )
    say(f"mean  {mean}", f"std   {std}", f'--model.image_mean "{mean}" --model.image_std "{std}"')
    if job.output is not None:
        numbers = {"mean": found.mean, "std": found.std, "pictures": found.pictures, "absent_values": found.absent[1]}
        write_json(Path(job.output), numbers, indent=1)
    return 0


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(value, 4) for value in values]
