"""Pictures that cannot be trained on: one clear line, a non-zero status, no model."""

import io

import pytest
from PIL import Image

from beit.cli.main import main
from tests.e2e.small import FINETUNE, PRETRAIN

EXTRA = ["--train.max_steps=3", "--train.batch_size=8", "--optim.warmup_steps=0"]


@pytest.fixture
def run(tmp_path, capsys):
    def command(job, options, pictures):
        output = tmp_path / "run"
        status = main([job, *options, *EXTRA, f"--data.path={pictures}", f"--run.output={output}"])
        lines = capsys.readouterr().err.strip().splitlines()
        assert status == 1
        assert len(lines) == 1, lines
        assert not (output / "model").exists()
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
        (b"this is text", "is not a picture that Pillow can read"),
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
    assert "has no labels; put the pictures into one folder per class" in run("finetune", FINETUNE, pictures / "cat")


def test_other_classes_to_validate_on(run, pictures, tmp_path):
    assert "differ in" in run("finetune", [*FINETUNE, "--data.val_path=digits:test"], pictures)
