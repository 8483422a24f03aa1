"""Tokenizers: trained, killed, stored, read by pre-training."""

import json
import shutil
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from beit import BeitForMaskedImageModeling, preset
from beit.cli.main import main
from beit.data import StoredTokens, TokenWriter
from beit.engine.throughput import MACHINE
from beit.errors import ConfigError
from beit.settings.groups import AugmentSettings, DataSettings, OptimSettings, RunSettings, TrainSettings
from beit.settings.tokenizer import DistilledTokenizerSettings, DistillJob
from beit.tasks.pretrain.loss import PretrainLoss
from beit.tasks.tokenizer.token_identity import token_identity
from beit.tasks.tokenizer.vq_kd import VQKDTask, distill_tokenizer
from beit.tokenizer import (
    VQKD,
    DiscreteVAE,
    DiscreteVAEConfig,
    TokenEncoder,
    VisualTokenizer,
    VQKDConfig,
    load_tokenizer,
)
from tests.e2e.small import FEW, FINETUNE, MODEL, PICTURES, TOKENIZER, UNWATCHED, beit, losses, start

VIEWS = ["--augment.flip=0", "--augment.crop_scale=[0.6, 1.0]"]
VQ_KD = [
    "--image_size=16", "--model.patch_size=4", "--model.vocab_size=32", "--model.code_size=8", "--model.hidden_size=32",
    "--model.num_hidden_layers=2", "--model.num_attention_heads=4", "--model.intermediate_size=64",
    "--model.decoder_layers=1", "--optim.lr=3e-3", "--optim.warmup_steps=5", "--train.batch_size=32",
]  # fmt: skip
PRETRAIN = [*PICTURES, *MODEL, "--mask.count=7", "--mask.min_block=2", "--optim.warmup_steps=5",
            "--train.batch_size=32", "--train.max_steps=12", "--run.log_every=1", "--run.report=false",
            *UNWATCHED]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("tokenizers")


@pytest.fixture(scope="module")
def teacher(place):
    done = beit("finetune", *FINETUNE, "--train.max_steps=40", "--train.batch_size=64", "--run.report=false",
                f"--run.output={place}/teacher")  # fmt: skip
    assert done.returncode == 0, done.stderr
    return place / "teacher/model"


@pytest.fixture(scope="module")
def distilled(place, teacher):
    command = ["tokenizer", "distill", *PICTURES, *VQ_KD, f"--teacher={teacher}", "--train.max_steps=40",
               "--run.log_every=1", "--run.save_every=7", f"--run.output={place}/vq_kd"]  # fmt: skip
    done = beit(*command)
    assert done.returncode == 0, done.stderr
    assert "cosine similarity to the teacher" in done.stdout
    return place / "vq_kd"


@pytest.fixture(scope="module")
def discrete(place):
    command = ["tokenizer", "train", *PICTURES, *TOKENIZER, "--loss.kl_weight=[0.0, 0.01]", "--train.max_steps=30",
               "--train.batch_size=32", "--run.log_every=1", "--run.save_every=7",
               f"--run.output={place}/dvae"]  # fmt: skip
    done = beit(*command)
    assert done.returncode == 0, done.stderr
    return place / "dvae"


def test_distillation_learns_and_reports(distilled):
    loss = losses(distilled)
    assert loss[40] < loss[1]
    lines = [json.loads(line) for line in (distilled / "metrics.jsonl").read_text().splitlines()]
    assert {"distillation", "commitment", "perplexity", "dead_codes", "revived"} <= lines[0].keys()
    assert {"similarity", "used_codes", "vocab_size", "perplexity", "pictures"} <= lines[-1].keys()
    page = (distilled / "report.html").read_text()
    assert "mean of the patches" in page
    assert "Dead and revived codes" in page


def test_the_discrete_vae_reports_the_use_of_its_codebook(discrete):
    lines = [json.loads(line) for line in (discrete / "metrics.jsonl").read_text().splitlines()]
    assert 1 <= lines[0]["perplexity"] <= 32
    assert lines[0]["dead_codes"] == 0, "too early to know"
    assert lines[-1]["psnr"] == pytest.approx(-10 * np.log10(lines[-1]["l2"]))
    page = (discrete / "report.html").read_text()
    assert "decoded from its visual tokens" in page
    assert "Perplexity of the codes in a step" in page


@pytest.mark.parametrize("kind", ["discrete", "distilled"])
def test_one_protocol(kind, request):
    folder = request.getfixturevalue(kind) / "model"
    tokenizer = load_tokenizer(folder)
    assert isinstance(tokenizer, VisualTokenizer)
    assert isinstance(tokenizer, DiscreteVAE if kind == "discrete" else VQKD)
    side = 4 * tokenizer.stride
    tokens = tokenizer.encode(torch.rand(2, 3, side, side))
    assert tokens.shape == (2, 4, 4)
    assert tokens.max() < tokenizer.vocab_size
    assert tokenizer.decodes_pixels == (kind == "discrete")


@pytest.mark.parametrize("kind", ["discrete", "distilled"])
def test_a_killed_training_continues_bit_for_bit(kind, request, tmp_path, place):
    whole = request.getfixturevalue(kind)
    options = (
        [*TOKENIZER, "--loss.kl_weight=[0.0, 0.01]", "--train.max_steps=30", "--train.batch_size=32"]
        if kind == "discrete"
        else [*VQ_KD, f"--teacher={place}/teacher/model", "--train.max_steps=40"]
    )
    action = "train" if kind == "discrete" else "distill"
    command = ["tokenizer", action, *PICTURES, *options, "--run.log_every=1", "--run.save_every=7",
               f"--run.output={tmp_path}/run"]  # fmt: skip
    process = start(*command)
    deadline = time.monotonic() + 120
    kept = tmp_path / "run/checkpoints/step_00000007"  # written in the background: it may come some steps later
    while not kept.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = beit(*command)
    assert done.returncode == 0, done.stderr
    assert "continuing" in done.stdout
    lines = [path.read_text().splitlines() for path in (whole / "metrics.jsonl", tmp_path / "run/metrics.jsonl")]
    first, second = ([json.loads(line) | dict.fromkeys(MACHINE, 0) for line in part] for part in lines)
    assert second == first
    weights = [run / "model/model.safetensors" for run in (whole, tmp_path / "run")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_an_early_stop_keeps_the_best_and_is_remembered(tmp_path):
    command = ["tokenizer", "train", *PICTURES, *TOKENIZER, "--optim.lr=1e-12", "--optim.min_lr=0",
               "--train.max_steps=500", "--train.batch_size=32", "--early_stop.patience=2", "--validation.every=3",
               f"--run.output={tmp_path}/run", "--run.report=false"]  # fmt: skip
    done = beit(*command)
    assert done.returncode == 0, done.stderr
    assert "stopped after step 9: 2 measurements without a gain" in done.stdout
    assert "keeping the model of step 3" in done.stdout
    best, model = (tmp_path / f"run/{name}/model.safetensors" for name in ("best", "model"))
    assert best.read_bytes() == model.read_bytes()
    (tmp_path / "run/result.json").unlink()  # as if it had been killed between the last checkpoint and the result
    done = beit(*command)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert max(line["step"] for line in lines) == 9, "it does not go on"


def test_a_stopped_distillation_that_died_in_its_report_does_not_go_on(teacher, tmp_path):
    command = ["tokenizer", "distill", *PICTURES, *VQ_KD, f"--teacher={teacher}", "--train.max_steps=500",
               "--early_stop.patience=1", "--validation.every=3", "--early_stop.min_gain=0.5", "--run.report=false",
               f"--run.output={tmp_path}/run"]  # fmt: skip
    done = beit(*command)
    assert done.returncode == 0, done.stderr
    result = (tmp_path / "run/result.json").read_text()
    steps = max(losses(tmp_path / "run"), default=0)
    (tmp_path / "run/result.json").unlink()
    done = beit(*command)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run/result.json").read_text() == result
    assert max(losses(tmp_path / "run"), default=0) == steps


def test_the_last_step_is_measured_and_an_abandoned_best_is_forgotten(tmp_path):
    command = ["tokenizer", "train", *PICTURES, *TOKENIZER, "--loss.kl_weight=[0.0, 0.0]", "--train.batch_size=32",
               "--run.report=false", f"--run.output={tmp_path}/run"]  # fmt: skip
    (tmp_path / "run").mkdir()
    (tmp_path / "run/recipe.yaml").write_text("{}")  # an attempt that came to no checkpoint ...
    DiscreteVAE(DiscreteVAEConfig(32, 8, 1, 2, 8)).save_pretrained(tmp_path / "run/best")  # ... but to a best model
    abandoned = (tmp_path / "run/best/model.safetensors").read_bytes()
    done = beit(*command, "--train.max_steps=4", "--early_stop.patience=3", "--validation.every=3")
    assert done.returncode == 0, done.stderr
    assert "keeping the model of step" in done.stdout
    best, model = (tmp_path / f"run/{name}/model.safetensors" for name in ("best", "model"))
    assert best.read_bytes() == model.read_bytes() != abandoned
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line.keys() == {"step", "split", "l2"}] == [3, 4]


def encode(tokenizer, output, *more, views=1):
    return ["tokenizer", "encode", f"--tokenizer={tokenizer}", "--data.path=digits:train", "--data.workers=0",
            *VIEWS, f"--views={views}", f"--output={output}", "--batch_size=16", *more]  # fmt: skip


def test_stored_tokens_are_those_that_pretraining_would_compute(distilled, tmp_path):
    assert main(encode(distilled / "model", tmp_path / "tokens", views=2)) == 0
    common = [*PRETRAIN, f"--tokenizer.path={distilled}/model", "--fixed_views=2", "--aggregation.early_layer=1"]
    common += ["--run.force"]  # a tokenizer of a few steps has hardly two codes
    for name, more in (("computed", []), ("read", [f"--tokenizer.tokens={tmp_path}/tokens", "--data.workers=1"])):
        done = beit("pretrain", *common, *more, f"--run.output={tmp_path}/{name}")
        assert done.returncode == 0, done.stderr
    assert losses(tmp_path / "read") == losses(tmp_path / "computed")
    lines = [json.loads(line) for line in (tmp_path / "read/metrics.jsonl").read_text().splitlines()]
    assert all("aggregation_loss" in line for line in lines if line["split"] == "train")


def test_a_killed_encoding_continues(discrete, tmp_path):
    command = encode(discrete / "model", tmp_path / "killed", "--image_size=8")
    process = start(*command)
    identity = tmp_path / "killed/facts.json"
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if identity.exists() and json.loads(identity.read_text())["finished_rows"]:
            break
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 0 < json.loads(identity.read_text())["finished_rows"] < 1297, "killed in the middle"
    assert main(command) == 0
    assert main(encode(discrete / "model", tmp_path / "whole", "--image_size=8")) == 0
    files = [(tmp_path / name / "tokens.npy").read_bytes() for name in ("killed", "whole")]
    assert files[0] == files[1]
    assert StoredTokens(tmp_path / "whole").shape == (1297, 1, 4, 4)


def fails(capsys, *arguments):
    """Run a command that must fail with one line, and return that line."""
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_what_does_not_fit_is_refused_before_any_work(discrete, distilled, teacher, tmp_path, capsys):
    model, pretrain = discrete / "model", ["pretrain", *PRETRAIN, f"--run.output={tmp_path}/run"]
    path = f"--tokenizer.path={model}"
    line = fails(capsys, *pretrain, path, "--tokenizer.image_size=16")
    assert "16 at 2 pixels per token gives 8 x 8 tokens, and the model has 4 x 4 patches" in line
    assert "set it to 8" in line
    assert "is not a multiple of the 2 pixels" in fails(capsys, *pretrain, path, "--tokenizer.image_size=9")
    assert "fixed_views is not set" in fails(capsys, *pretrain, path, f"--tokenizer.tokens={tmp_path}/t")
    assert "tokenizer.path is not set" in fails(capsys, *pretrain, f"--tokenizer.tokens={tmp_path}/t")
    assert "facts.json" in fails(capsys, *pretrain, path, "--fixed_views=1", f"--tokenizer.tokens={tmp_path}/t")

    assert main(encode(model, tmp_path / "t", "--image_size=8")) == 0
    stored = [f"--tokenizer.tokens={tmp_path}/t", "--fixed_views=1"]
    other = f"--tokenizer.path={distilled}/model"
    assert "holds other tokens: tokenizer is" in fails(capsys, *pretrain, other, *stored)
    assert "data is" in fails(capsys, *pretrain, path, *stored, "--data.path=digits:test")
    assert "random_views is" in fails(capsys, *pretrain, path, *stored, "--run.seed=5")
    assert "choose another output" in fails(capsys, *encode(distilled / "model", tmp_path / "t"))

    assert "image_size 1 is smaller than the 2 pixels" in fails(
        capsys, *encode(model, tmp_path / "n", "--image_size=1")
    )
    reconstruct = ["tokenizer", "reconstruct", "--data.path=digits:test", f"--output={tmp_path}/r.png"]
    assert "no decoder that paints pixels" in fails(capsys, *reconstruct, f"--tokenizer={distilled}/model")
    evaluate = ["tokenizer", "evaluate", "--data.path=digits:test", f"--tokenizer={model}", f"--teacher={teacher}"]
    assert "a DiscreteVAE predicts no features" in fails(capsys, *evaluate)
    distill = ["tokenizer", "distill", *PICTURES, *VQ_KD, f"--run.output={tmp_path}/d"]
    assert "teacher is missing; name it: classifier whose patch features" in fails(capsys, *distill)
    assert "does not exist" in fails(capsys, *encode(tmp_path / "nowhere", tmp_path / "n"))
    own = ["--tokenizer.codebook.groups=2"]
    assert "early_layer is 99; expected 1 to 2" in fails(capsys, *pretrain, *own, "--aggregation.early_layer=99")
    assert "set it to 8" in fails(capsys, *pretrain, *own, "--tokenizer.image_size=64")
    assert "has no mask token" in fails(capsys, *pretrain, *own, f"--checkpoint={teacher}")
    assert "optim.layer_decay is 0.5" in fails(capsys, *distill, f"--teacher={teacher}", "--optim.layer_decay=0.5")
    assert "name the folder of a tokenizer" in fails(capsys, *encode(model / "model.safetensors", tmp_path / "n"))
    line = fails(capsys, "tokenizer", "convert", model, teacher)
    assert "exists and is not empty" in line
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk/a.png").write_text("junk")
    junk = [f"--data.path={tmp_path}/junk", "--data.max_broken=1", f"--tokenizer={model}"]
    assert "none of the 1 pictures is usable" in fails(capsys, *reconstruct, *junk)
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "d").exists()


def test_a_teacher_of_another_width(distilled, tmp_path, capsys):
    wide = [*FINETUNE, "--model.hidden_size=64", "--train.max_steps=8", "--train.batch_size=64", "--run.report=false"]
    assert beit("finetune", *wide, f"--run.output={tmp_path}/wide").returncode == 0
    line = fails(capsys, "tokenizer", "evaluate", "--data.path=digits:test", f"--tokenizer={distilled}/model",
                 f"--teacher={tmp_path}/wide/model")  # fmt: skip
    assert "has 64 features per patch" in line
    assert "predicts 32" in line


def test_another_tokenizer_under_the_same_path_is_noticed(discrete, tmp_path):
    shutil.copytree(discrete / "model", tmp_path / "tokenizer")
    command = [
        "pretrain",
        *PRETRAIN,
        *FEW,
        "--run.force",
        f"--tokenizer.path={tmp_path}/tokenizer",
        f"--run.output={tmp_path}/run",
    ]
    assert beit(*command).returncode == 0
    (tmp_path / "run/result.json").unlink()
    (tmp_path / "tokenizer").rename(tmp_path / "moved")
    done = beit(*command[:-2], f"--tokenizer.path={tmp_path}/moved", command[-1])
    assert done.returncode == 0, "a moved one is welcome"
    (tmp_path / "run/result.json").unlink()
    DiscreteVAE(DiscreteVAEConfig(32, 8, 1, 2, 8)).save_pretrained(tmp_path / "tokenizer")
    done = beit(*command)
    assert done.returncode == 1
    assert "tokenizer and now there is" in done.stderr


def test_a_codebook_larger_than_the_model(discrete, tmp_path, capsys):
    first = [f"--tokenizer.path={discrete}/model", f"--run.output={tmp_path}/first", "--run.force"]
    done = beit("pretrain", *PRETRAIN, *FEW, *first, "--model.image_mean=[0.1, 0.1, 0.1]")
    assert done.returncode == 0, done.stderr
    large = DiscreteVAEConfig(64, 8, 1, 2, 8, image_size=8)
    DiscreteVAE(large).save_pretrained(tmp_path / "large")
    pretrain = ["pretrain", *PRETRAIN, *FEW, f"--checkpoint={tmp_path}/first/model", f"--run.output={tmp_path}/second"]
    line = fails(capsys, *pretrain, f"--tokenizer.path={tmp_path}/large")
    assert "the tokenizer has 64 codes and the model predicts 32 tokens" in line
    done = beit(*pretrain, f"--tokenizer.path={discrete}/model", "--run.force")
    assert done.returncode == 0, done.stderr
    assert losses(tmp_path / "second")[1] < losses(tmp_path / "first")[1], "it goes on from what was learnt"
    files = [(tmp_path / name / "model/preprocessor_config.json").read_text() for name in ("first", "second")]
    assert files[0] == files[1]
    assert "0.1" in files[0], "and sees pictures as before"


def test_evaluate_and_convert(discrete, distilled, teacher, tmp_path, capsys):
    common = [
        "tokenizer",
        "evaluate",
        "--data.path=digits:test",
        f"--output={tmp_path}/n.json",
        f"--report={tmp_path}/r.html",
    ]
    assert main([*common, f"--tokenizer={distilled}/model", f"--teacher={teacher}"]) == 0
    assert "cosine similarity" in capsys.readouterr().out
    assert -1 <= json.loads((tmp_path / "n.json").read_text())["similarity"] <= 1
    assert main([*common, f"--tokenizer={discrete}/model"]) == 0
    assert "PSNR" in capsys.readouterr().out
    assert "peak signal-to-noise" in (tmp_path / "r.html").read_text()
    assert main(["tokenizer", "convert", str(discrete / "model"), str(tmp_path / "copy")]) == 0
    assert (tmp_path / "copy/model.safetensors").read_bytes() == (discrete / "model/model.safetensors").read_bytes()


def distill_job(output, **model):
    sizes = {"vocab_size": 16, "code_size": 4, "patch_size": 4, "hidden_size": 32, "num_hidden_layers": 1,
             "num_attention_heads": 4, "intermediate_size": 64, "decoder_layers": 1}  # fmt: skip
    return DistillJob(
        teacher="one of ours",
        run=RunSettings(output=str(output), report=False),
        data=DataSettings(path="digits:train", workers=0),
        augment=AugmentSettings(flip=0, color_jitter=0),
        image_size=8,
        model=DistilledTokenizerSettings(**{**sizes, **model}),
        optim=OptimSettings(lr=3e-3, warmup_steps=2),
        train=TrainSettings(batch_size=32, max_steps=5),
    )


def test_any_callable_teaches(tmp_path):
    """Here: the mean and the spread of the brightness in every 4 x 4 patch."""

    def teacher(pixels):
        patches = torch.nn.functional.unfold(pixels.mean(1, keepdim=True), 4, stride=4).transpose(1, 2)
        return torch.stack((patches.mean(-1), patches.std(-1)), dim=-1)

    folder = distill_tokenizer(distill_job(tmp_path / "run"), teacher)
    assert load_tokenizer(folder.model).config == VQKDConfig(
        16, 4, 8, 4, 32, 1, 4, 64, decoder_layers=1, teacher_size=2
    )
    with pytest.raises(ConfigError, match=r"gives \(1, 4, 16\).*expected \(1, 16, features\)"):
        distill_tokenizer(
            distill_job(tmp_path / "other", patch_size=2),
            lambda pixels: torch.nn.functional.unfold(pixels[:, :1], 4, stride=4).transpose(1, 2),
        )
    assert not (tmp_path / "other").exists()


def test_a_module_teaches_in_evaluation_mode(tmp_path):
    class Teacher(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = torch.nn.BatchNorm2d(3)
            self.modes = set()

        def forward(self, pixels):
            self.modes.add(self.training)
            return torch.nn.functional.unfold(self.norm(pixels), 4, stride=4).transpose(1, 2)

    teacher = Teacher()
    distill_tokenizer(distill_job(tmp_path / "run"), teacher)
    assert teacher.modes == {False}
    assert teacher.norm.num_batches_tracked == 0


def test_tokens_stored_before_a_setting_came_are_known_again():
    """Settings that are 0 and came later are no part of the identity: folders from before do not have them."""
    before = {"crop_scale": [0.08, 1.0], "crop_aspect": [0.75, 1.3333], "flip": 0.5, "color_jitter": 0.4}
    plain, turned = (
        token_identity("tokenizer", "data", (8, 8), 2, augment, 0)["random_views"]["augment"]
        for augment in (AugmentSettings(), AugmentSettings(rotation=5))
    )
    assert plain == before
    assert turned == before | {"rotation": 5.0}


def test_a_tokenizer_of_ones_own():
    """The protocol is all that an encoder asks for."""

    class Brightness:
        vocab_size, stride, image_size, decodes_pixels = 4, 2, 8, False

        def map_pixels(self, pixels):
            return pixels * self.vocab_size

        def encode(self, pixels):
            blocks = torch.nn.functional.avg_pool2d(self.map_pixels(pixels).mean(1, keepdim=True), self.stride)
            return blocks[:, 0].floor().clamp(0, self.vocab_size - 1).long()

        def decode(self, tokens):
            raise NotImplementedError

    tokenizer = Brightness()
    assert isinstance(tokenizer, VisualTokenizer)
    model = BeitForMaskedImageModeling(preset("tiny", image_size=16, patch_size=4, num_hidden_layers=1, vocab_size=4))
    objective = PretrainLoss(model, TokenEncoder(tokenizer), most_masked=16)
    views = {"pixel_values": torch.randn(2, 3, 16, 16), "tokenizer_pixels": torch.rand(2, 3, 8, 8)}
    values = objective(objective.prepare({**views, "bool_masked_pos": torch.rand(2, 16) < 0.5}))
    assert torch.isfinite(values["loss"])


def test_a_compiled_encoder_gives_the_same_tokens(discrete):
    pixels = torch.rand(5, 3, 8, 8)
    plain, compiled = (TokenEncoder(load_tokenizer(discrete / "model"), compiled=flag) for flag in (False, True))
    assert torch.equal(compiled(pixels), plain(pixels))


def test_pictures_that_go_while_they_are_encoded_stop_it(discrete, pictures, tmp_path, monkeypatch, capsys):
    """They are not stored as broken: once they are back, the same command continues to the same tokens."""
    away, append, appended = tmp_path / "away", TokenWriter.append, []
    command = ["tokenizer", "encode", f"--tokenizer={discrete}/model", f"--data.path={pictures}", "--data.workers=0",
               "--image_size=8", "--batch_size=1", "--data.max_broken=1"]  # fmt: skip
    assert main([*command, f"--output={tmp_path}/whole"]) == 0

    def append_and_move(self, tokens_Rhw):
        append(self, tokens_Rhw)
        appended.append(len(tokens_Rhw))
        if len(appended) == 2:
            pictures.rename(away)

    with monkeypatch.context() as patched:
        patched.setattr(TokenWriter, "append", append_and_move)
        assert "was there when it was listed and cannot be read" in fails(capsys, *command, f"--output={tmp_path}/t")
    away.rename(pictures)
    assert main([*command, f"--output={tmp_path}/t"]) == 0
    assert (tmp_path / "t/tokens.npy").read_bytes() == (tmp_path / "whole/tokens.npy").read_bytes()


def test_a_teacher_without_a_trained_head_is_the_same_when_a_run_continues(tmp_path):
    """A pre-trained model is one: its head is drawn anew by every process, and no feature depends on it."""
    identities = []
    for seed, teacher in enumerate(("beit/nano-cifar10", "beit/nano-cifar10", "beit/nano-cifar10-classifier")):
        torch.manual_seed(seed)
        task = VQKDTask(replace(distill_job(tmp_path / "run"), teacher=teacher))
        identities.append(task.identity()["teacher"])
    assert identities[0] == identities[1]
    assert identities[0] != identities[2]
