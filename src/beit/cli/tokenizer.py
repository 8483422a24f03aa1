"""`beit tokenizer ACTION`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beit.cli.early_checks import check_paths
from beit.cli.forecast import say_forecast
from beit.cli.main import HELP_WORDS, listed, nearest
from beit.cli.output import gib, prepare_outputs, say
from beit.cli.parser import parse_job
from beit.cli.training import parse_training, say_results
from beit.errors import ConfigError
from beit.settings.tokenizer import (
    ClusterJob,
    ConvertTokenizerJob,
    DistillJob,
    EncodeJob,
    EvaluateTokenizerJob,
    ReconstructJob,
    TokenizerJob,
)

if TYPE_CHECKING:
    from beit.engine.run_folder import RunFolder

ACTIONS = {
    "train": "Train a discrete VAE on your pictures: the tokenizer whose tokens pre-training predicts.",
    "distill": "Train a VQ-KD tokenizer (BEiT v2): its tokens keep what a classifier of yours sees, not pixels.",
    "cluster": "Fit a k-means tokenizer: its tokens are clusters of whitened patches, found without a network.",
    "encode": "Store the visual tokens of pictures in a folder, for pre-training or for your own use; continues.",
    "reconstruct": "Decode pictures from their visual tokens, side by side with the pictures, and report the error.",
    "evaluate": "Measure a tokenizer on pictures: error, use of the codebook, how well a teacher is predicted.",
    "convert": "Write a published tokenizer (OpenAI's pickles, VQ-KD's .pth) as a folder of safetensors, once.",
}


def run(arguments: Sequence[str]) -> int:
    """Parse, do, print."""
    if not arguments or arguments[0] in HELP_WORDS:
        print("usage: beit tokenizer ACTION [RECIPE] [--setting VALUE ...]", "", "actions:", listed(ACTIONS), sep="\n")
        return 0 if arguments else 2
    action, rest = arguments[0], arguments[1:]
    if action not in ACTIONS:
        raise ConfigError(f"there is no `beit tokenizer {action}`{nearest(action, ACTIONS)}; expected {list(ACTIONS)}")
    if action == "convert":
        return _convert(rest)
    if action == "train":
        return _train(rest)
    if action == "distill":
        return _distill(rest)
    if action == "cluster":
        return _cluster(rest)
    jobs: dict[str, Any] = {
        "encode": (EncodeJob, _encode),
        "reconstruct": (ReconstructJob, _reconstruct),
        "evaluate": (EvaluateTokenizerJob, _evaluate),
    }
    kind, do = jobs[action]
    job = parse_job(kind, f"beit tokenizer {action}", ACTIONS[action], rest)
    check_paths(job.data.path)
    return do(job)


def _train(arguments: Sequence[str]) -> int:
    job, dry, machines = parse_training(TokenizerJob, "beit tokenizer train", ACTIONS["train"], arguments)
    from beit.tasks.tokenizer.dvae import DiscreteVAETask, train_tokenizer

    if dry:
        say_forecast(DiscreteVAETask, job, machines)
        return 0
    return _say_trained(train_tokenizer(job))


def _distill(arguments: Sequence[str]) -> int:
    job, dry, machines = parse_training(DistillJob, "beit tokenizer distill", ACTIONS["distill"], arguments)
    from beit.tasks.tokenizer.vq_kd import VQKDTask, distill_tokenizer

    if dry:
        say_forecast(VQKDTask, job, machines)
        return 0
    return _say_trained(distill_tokenizer(job))


def _cluster(arguments: Sequence[str]) -> int:
    job, dry, machines = parse_training(
        ClusterJob, "beit tokenizer cluster", ACTIONS["cluster"], arguments, flags="[--dry-run] [--force]"
    )
    if machines.device is not None:
        raise ConfigError("--device is given, and beit tokenizer cluster takes no steps to count; leave it out")
    if (machines.processes or 1) > 1:
        raise ConfigError(f"--processes is {machines.processes}, and beit tokenizer cluster runs in one; leave it out")
    from beit.tasks.tokenizer.kmeans import cluster_tokenizer, forecast_clustering

    if not dry:
        return _say_trained(cluster_tokenizer(job))
    from beit.engine.metrics import duration

    cost = forecast_clustering(job)
    say(
        f"windows      {cost.windows:,} of {cost.values:,} numbers, of {cost.pictures:,} pictures",
        f"memory       {gib(cost.memory)} estimated; clustering.windows lowers it",
        f"whole run    about {duration(cost.reading_seconds)} to read the pictures, at most about "
        f"{duration(cost.fitting_seconds)} to cluster",
    )
    return 0


def _say_trained(folder: RunFolder) -> int:
    from beit.evaluation.tokenizer.quality import quality_lines

    say(*quality_lines(folder.read_result()))
    say_results(folder, "tokenizer")
    return 0


def _encode(job: EncodeJob) -> int:
    from beit.evaluation.tokenizer.quality import says_little
    from beit.tasks.encode import encode_pictures

    encoded = encode_pictures(job)
    views = f", {encoded.views} views of each" if job.views is not None else ""
    broken = f", {encoded.broken} broken ones left out" if encoded.broken else ""
    say(
        f"{encoded.pictures:,} pictures{views} as {encoded.height} x {encoded.width} tokens{broken}; "
        f"{encoded.used_codes} of {encoded.vocab_size} codes used, perplexity {encoded.perplexity:.1f}"
    )
    if warning := says_little({"perplexity": encoded.perplexity, "vocab_size": encoded.vocab_size}):
        say(warning)
    say(f"tokens  {job.output}")
    return 0


def _reconstruct(job: ReconstructJob) -> int:
    from beit.evaluation.tokenizer.evaluate import reconstruct_pictures
    from beit.evaluation.tokenizer.quality import quality_lines

    prepare_outputs(job, "output")
    say(*quality_lines(reconstruct_pictures(job).numbers()), f"pictures  {job.output}")
    return 0


def _evaluate(job: EvaluateTokenizerJob) -> int:
    from beit.evaluation.tokenizer.evaluate import evaluate_tokenizer
    from beit.evaluation.tokenizer.quality import quality_lines

    prepare_outputs(job, "output", "report")
    say(*quality_lines(evaluate_tokenizer(job).numbers()))
    for name, path in (("numbers", job.output), ("report", job.report)):
        if path is not None:
            say(f"{name:<7}  {path}")
    return 0


def _convert(arguments: Sequence[str]) -> int:
    words = ("source", "destination")
    job = parse_job(ConvertTokenizerJob, "beit tokenizer convert", ACTIONS["convert"], arguments, words)
    from beit.tokenizer import load_tokenizer

    destination = Path(job.destination)
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise ConfigError(f"{destination} exists and is not empty; choose another destination, or remove it")
    load_tokenizer(job.source).save_pretrained(job.destination)
    say(f"tokenizer  {job.destination}")
    return 0
