"""`beit tokenizer train|encode|reconstruct`."""

from __future__ import annotations

from collections.abc import Sequence

from beit.cli.main import HELP_WORDS, nearest
from beit.cli.output import say
from beit.cli.parser import parse_job
from beit.errors import ConfigError
from beit.training.jobs import EncodeJob, ReconstructJob, TokenizerJob

ACTIONS = {
    "train": "Train a discrete VAE on your pictures: the tokenizer whose tokens pre-training predicts.",
    "encode": "Write the visual tokens of pictures to a file, (pictures, height, width), and report their usage.",
    "reconstruct": "Decode pictures from their visual tokens, side by side with the pictures, and report the error.",
}


def run(arguments: Sequence[str]) -> int:
    """Parse, do, print."""
    if not arguments or arguments[0] in HELP_WORDS:
        print("usage: beit tokenizer {train,encode,reconstruct} [RECIPE.yaml] [--group.setting VALUE ...]\n")
        print("\n".join(f"  {name:<13}{summary}" for name, summary in ACTIONS.items()))
        return 0 if arguments else 2
    action, rest = arguments[0], arguments[1:]
    if action not in ACTIONS:
        raise ConfigError(f"there is no `beit tokenizer {action}`{nearest(action, ACTIONS)}; expected {list(ACTIONS)}")
    return {"train": _train, "encode": _encode, "reconstruct": _reconstruct}[action](rest)


def _train(arguments: Sequence[str]) -> int:
    job = parse_job(TokenizerJob, "beit tokenizer train", ACTIONS["train"], arguments)
    from beit.training.run_folder import resolved_recipe
    from beit.training.tokenizer import train_tokenizer

    say(f"recipe:\n{resolved_recipe(job)}")
    folder = train_tokenizer(job)
    say(quality_line(folder.read_result()))
    say(f"tokenizer  {folder.model}")
    if folder.report.exists():
        say(f"report     {folder.report}")
    return 0


def _encode(arguments: Sequence[str]) -> int:
    job = parse_job(EncodeJob, "beit tokenizer encode", ACTIONS["encode"], arguments)
    from beit.training.tokenize import encode_pictures

    encoded = encode_pictures(job)
    say(
        f"{encoded.pictures:,} pictures as {encoded.height} x {encoded.width} tokens, "
        f"{encoded.used_codes} of {encoded.vocab_size} codes used, perplexity {encoded.perplexity:.1f}\n"
        f"tokens  {job.output}"
    )
    return 0


def _reconstruct(arguments: Sequence[str]) -> int:
    job = parse_job(ReconstructJob, "beit tokenizer reconstruct", ACTIONS["reconstruct"], arguments)
    from beit.training.tokenize import reconstruct_pictures

    say(quality_line(reconstruct_pictures(job)))
    say(f"pictures  {job.output}")
    return 0


def quality_line(quality: dict[str, float]) -> str:
    """Return what was measured, for a person."""
    return (
        f"{quality['pictures']:,.0f} pictures: mean absolute error {quality['l1']:.4f}, squared "
        f"{quality['l2']:.5f} (pixels in [0, 1]); "
        f"{quality['used_codes']:.0f} of {quality['vocab_size']:.0f} codes used, perplexity {quality['perplexity']:.1f}"
    )
