"""What is disturbed: a small job of every kind, and the files that it has to make."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tests.e2e.small import FINETUNE, MODEL, PICTURES, PRETRAIN, TOKENIZER

MODEL_NAME, TOKENS = "beit/nano-cifar10", "beit/nano-cifar10-tokens"
RUN = ["--run.log_every=1", "--run.save_every=5", "--run.report=false", "--train.max_steps=24"]
JAX = ["--run.framework=jax", "--run.device=cpu"]


@dataclass(frozen=True)
class Job:
    """A job and the files that have to be the same.

    Attributes:
        command: Its command line, `{output}` for what it makes, `{model}` for the model of the job that it needs.
        compared: Those files, below the output, or its endings; "" for the output itself.
        ranks: How many processes it has.
        needs: Name of the job whose model it works with.
    """

    command: list[str]
    compared: tuple[str, ...]
    ranks: int = 1
    needs: str = ""


def jobs(place: Path) -> dict[str, Job]:
    """Return all jobs; `place` is for the pictures that some of them need."""
    scenes, pictures = place / "scenes", place / "pictures"
    draw_pictures(scenes, pictures)
    weights, output = ("model/model.safetensors",), "--run.output={output}"
    segment = [
        "segment", *MODEL, f"--data.path={scenes}/pictures", f"--label_maps.path={scenes}/masks", "--data.workers=0",
        f"--label_maps.classes={scenes}/classes.txt", "--optim.warmup_steps=2",
        "--model.image_size=32", "--model.num_hidden_layers=4", "--optim.lr=3e-3", "--train.batch_size=8",
    ]  # fmt: skip
    distil = [
        "tokenizer", "distill", *PICTURES, "--image_size=16", "--model.patch_size=4", "--model.vocab_size=32",
        "--model.code_size=8", "--model.hidden_size=32", "--model.num_hidden_layers=2", "--model.decoder_layers=1",
        "--model.num_attention_heads=4", "--model.intermediate_size=64", f"--teacher={MODEL_NAME}",
        "--optim.warmup_steps=2",
    ]  # fmt: skip
    cluster = [
        "tokenizer", "cluster", *PICTURES, "--image_size=16", "--model.vocab_size=32", "--model.patch_size=4",
        "--clustering.windows=2000", "--clustering.batch_size=256",
    ]  # fmt: skip
    encode = ["tokenizer", "encode", f"--tokenizer={TOKENS}", "--data.path=digits:train", "--image_size=32"]
    predict = ["predict", MODEL_NAME, str(pictures), "--device=cpu", "--batch_size=8", "--task"]
    evaluate = ["evaluate", "--model={model}", "--data.path=digits:test", "--predictions={output}.csv"]
    finetune = ["finetune", *FINETUNE, *RUN]
    drawn = tuple(f"{number}_attention.png" for number in range(40))
    return {
        "pretrain": Job(["pretrain", *PRETRAIN, *RUN, output], weights),
        "pretrain on two": Job(["pretrain", *PRETRAIN, *RUN, output], weights, ranks=2),
        "finetune": Job([*finetune, "--train.ema_decay=0.9", output], weights),
        "finetune on two": Job([*finetune, output], weights, ranks=2),
        "finetune with workers": Job([*finetune, "--data.workers=2", output], weights),
        "finetune in jax": Job([*finetune, *JAX, output], weights),
        "distill": Job(["distill", *FINETUNE, *RUN, "--teacher.path={model}", output], weights, needs="finetune"),
        "segment": Job([*segment, *RUN, output], weights),
        "dvae": Job(["tokenizer", "train", *PICTURES, *TOKENIZER, *RUN, output], weights),
        "vq_kd": Job([*distil, *RUN, output], weights),
        "k-means": Job([*cluster, output], weights),
        "encode": Job([*encode, "--batch_size=32", "--output={output}"], ("tokens.npy", "names.txt")),
        "predict": Job([*predict, "embed", "--output={output}.jsonl"], (".jsonl",)),
        "predict a table": Job([*predict, "embed", "--output={output}.parquet"], (".parquet",)),
        "predict pictures": Job([*predict, "attend", "--output={output}"], drawn),
        "evaluate": Job(evaluate, (".csv",), needs="finetune"),
        "convert": Job(["convert", f"{MODEL_NAME}-classifier", "{output}", "--to=timm"], ("model.safetensors",)),
        "convert to a pickle": Job(["convert", MODEL_NAME, "{output}.pth", "--to=unilm"], (".pth",)),
    }  # fmt: skip


def draw_pictures(scenes: Path, pictures: Path) -> None:
    """Write pictures, and scenes with label maps."""
    rng = np.random.default_rng(0)
    for kind in ("pictures", "masks"):
        (scenes / kind).mkdir(parents=True)
    pictures.mkdir()
    for number in range(40):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(pictures / f"{number}.png")
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(scenes / "pictures" / f"{number}.png")
        Image.fromarray(rng.integers(0, 3, (40, 40), np.uint8)).save(scenes / "masks" / f"{number}.png")
    (scenes / "classes.txt").write_text("a\nb\nc\n")
