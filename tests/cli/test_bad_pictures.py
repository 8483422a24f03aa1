"""Pictures that cannot be trained on: one clear line, a non-zero status, no model."""

import io

import pytest
from PIL import Image

from beit.cli.main import main
from beit.errors import ConfigError
from beit.models_torch.loading import read_safetensors
from beit.settings.groups import DataSettings, RunSettings, TrainSettings
from beit.settings.tokenizer import DistillJob
from beit.tasks.tokenizer.vq_kd import distill_tokenizer
from tests.e2e import small
from tests.e2e.small import FINETUNE, TOKENIZER

pytestmark = pytest.mark.e2e

PRETRAIN = [*small.PRETRAIN, "--tokenizer.train.batch_size=4"]
EXTRA = ["--train.max_steps=3", "--train.batch_size=8", "--optim.warmup_steps=0"]


@pytest.fixture
def run(tmp_path, capsys):
    def command(job, options, pictures):
        output = tmp_path / "run"
        status = main([job, *options, *EXTRA, f"--data.path={pictures}", f"--run.output={output}"])
        lines = capsys.readouterr().err.strip().splitlines()
        assert status == 1
        assert len(lines) == 1, lines
        assert not (output / "result.json").exists()
        assert not list(tmp_path.rglob("*.tmp"))
        return lines[0]

    return command


def put(folder, content):
    (folder / "cat" / "9.png").write_bytes(content)


def truncated():
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 90).convert("RGB").save(buffer, format="JPEG")
    return buffer.getvalue()[:-700]


def dot():
    buffer = io.BytesIO()
    Image.new("RGB", (1, 1)).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("job", "options"), [("pretrain", PRETRAIN), ("finetune", FINETUNE)], ids=["pretrain", "finetune"]
)
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (truncated(), "is broken: image file is truncated"),
        (b"this is text", "is not a picture that can be read"),
        (dot(), "is 1 x 1 pixels; expected at least 8"),
    ],
    ids=["truncated", "text", "dot"],
)
def test_a_broken_picture_in_a_small_folder(run, pictures, job, options, content, reason):
    put(pictures, content)
    line = run(job, [*options, "--data.val_share=0.4"], pictures)
    assert "cat/9.png" in line
    assert reason in line
    assert "raise data.max_broken" in line


def test_up_to_the_allowed_share_it_is_skipped_and_listed(pictures, tmp_path, capsys):
    put(pictures, b"this is text")
    output = tmp_path / "run"
    options = [*PRETRAIN, *EXTRA, "--data.max_broken=0.5", f"--data.path={pictures}", f"--run.output={output}"]
    assert main(["pretrain", *options]) == 0
    assert "1 broken pictures were skipped" in capsys.readouterr().out
    assert "cat/9.png is not a picture" in (output / "broken.txt").read_text()


def test_a_class_with_one_picture(run, pictures):
    (pictures / "eel").mkdir()
    Image.new("RGB", (20, 20)).save(pictures / "eel" / "only.png")
    assert "class 'eel' has 1 picture; expected at least 2" in run("finetune", FINETUNE, pictures)


def test_an_empty_folder(run, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "there are no pictures in" in run("pretrain", PRETRAIN, tmp_path / "empty")


def test_pictures_without_labels(run, pictures):
    line = run("finetune", FINETUNE, pictures / "cat")
    assert "has no labels; put every picture into the folder of its class" in line


def test_validation_pictures_that_are_all_broken(run, pictures, tmp_path):
    (tmp_path / "val").mkdir()
    for number in range(3):
        (tmp_path / "val" / f"{number}.png").write_bytes(b"this is text")
    assert "none of the 3 pictures is usable" in run(
        "pretrain", [*PRETRAIN, f"--data.val_path={tmp_path / 'val'}"], pictures
    )


def test_a_loss_that_diverges_leaves_no_poisoned_checkpoint(pictures, tmp_path, capsys):
    options = [*PRETRAIN, "--train.max_steps=20", "--optim.lr=1e30", "--optim.warmup_steps=0", "--run.save_every=1"]
    more = ["--run.log_every=20", "--train.batch_size=4", "--data.val_share=0.4", f"--data.path={pictures}"]
    more += [f"--run.output={tmp_path}/run"]
    assert main(["pretrain", *options, *more]) == 1
    assert "lower optim.lr" in capsys.readouterr().err
    for path in (tmp_path / "run" / "checkpoints").glob("*/model.safetensors"):
        assert all(tensor.isfinite().all() for tensor in read_safetensors(path).values())


def test_other_classes_to_validate_on(run, pictures, tmp_path):
    assert "differ in" in run("finetune", [*FINETUNE, "--data.val_path=digits:test"], pictures)


def test_classes_of_held_out_pictures_mean_nothing_to_pretraining(pictures, tmp_path):
    (tmp_path / "val" / "emu").mkdir(parents=True)
    Image.new("RGB", (20, 20)).save(tmp_path / "val" / "emu" / "only.png")
    command = [*PRETRAIN, *EXTRA, f"--data.path={pictures}", f"--data.val_path={tmp_path / 'val'}"]
    assert main(["pretrain", *command, f"--run.output={tmp_path / 'run'}", "--run.report=false"]) == 0


@pytest.mark.parametrize("dry", [[], ["--dry-run"]], ids=["run", "dry run"])
@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("--mask.count=17", "mask.count and mask.min_block"),
        ("--mask.count=1", "1 masked patches with blocks of at least 2"),
        (
            "--train.batch_size=12",
            "train.batch_size 12 is larger than the 11 pictures; lower it to at most 11, or add pictures",
        ),
        ("--tokenizer.train.batch_size=12", "tokenizer.train.batch_size 12 is larger than the 11 pictures; lower it"),
        (
            "--train.batch_size=12 --tokenizer.train.batch_size=13",
            "train.batch_size 12 and tokenizer.train.batch_size 13 are larger than the 11 pictures; lower them to at",
        ),
        ("--train.accumulate=9", "train.accumulate is 9, and each of 1 processes has 8 of the 8 pictures"),
        ("--tokenizer.train.accumulate=5", "tokenizer.train.accumulate is 5, and each of 1 processes has 4"),
    ],
    ids=[
        "more masked patches than patches",
        "less than one block",
        "less pictures than a batch",
        "less pictures than a batch of the tokenizer",
        "less pictures than either batch",
        "more parts than pictures",
        "of the tokenizer",
    ],
)
def test_what_does_not_fit_together_is_refused_before_the_first_step(pictures, tmp_path, capsys, setting, message, dry):
    command = [*PRETRAIN, "--train.max_steps=9", "--train.batch_size=8", *setting.split(), f"--data.path={pictures}"]
    assert main(["pretrain", *command, f"--run.output={tmp_path / 'run'}", *dry]) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert message in lines[0]
    assert not (tmp_path / "run").exists()


def test_less_pictures_than_a_batch_of_a_tokenizer(pictures, tmp_path, capsys):
    command = ["tokenizer", "train", *TOKENIZER, "--train.batch_size=12", f"--data.path={pictures}"]
    assert main([*command, f"--run.output={tmp_path / 'run'}"]) == 1
    assert "train.batch_size 12 is larger than the 11 pictures; lower it" in capsys.readouterr().err
    job = DistillJob(
        teacher="ones",
        run=RunSettings(output=str(tmp_path / "run")),
        data=DataSettings(path=str(pictures), workers=0),
        image_size=32,
        train=TrainSettings(batch_size=12),
    )
    with pytest.raises(ConfigError, match=r"^train\.batch_size 12 is larger than the 11 pictures"):
        distill_tokenizer(job, teacher=lambda pixels: pixels.new_ones(len(pixels), 4, 8))
    assert not (tmp_path / "run").exists()
