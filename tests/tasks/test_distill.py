"""Distillation: what the student learns of the teacher, and that it is refused where the two do not fit."""

import json
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

from beit import BeitForImageClassification, preset
from beit.cli.main import main
from beit.data import open_source
from beit.errors import ConfigError
from beit.image import Preprocessing
from beit.settings.distill import StudentJob, TeacherSettings
from beit.settings.groups import DataSettings
from beit.tasks.distill import DistillLoss, DistillTask, TeacherOutputs, _check_pictures, outputs_of
from tests.conftest import TINY_MODEL
from tests.e2e.small import FINETUNE, beit, losses

ALL = TeacherSettings(path="x", features=1.0, attention=1.0)
VIEW, OTHER = Preprocessing((32, 32), (32, 32)), Preprocessing((32, 32), (32, 32), mean=(0.4,) * 3, std=(0.3,) * 3)


def classifier(seed=0, **options):
    torch.manual_seed(seed)
    return BeitForImageClassification(preset("tiny", **TINY_MODEL | options, num_labels=3, initializer_range=0.2))


def pixels():
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_a_student_that_is_its_teacher_has_nothing_to_learn():
    model = classifier().eval()
    batch = {"pixel_values": pixels(), "targets": torch.eye(3)[:2], "labels": torch.arange(2)}
    batch |= TeacherOutputs(model, VIEW, VIEW, [0, 1, 2], ALL)(pixels())
    values = DistillLoss(model, None, False, ALL)(batch, 0.0)
    for part in ("teacher_divergence", "teacher_features", "teacher_attention"):
        assert float(values[part]) == pytest.approx(0, abs=1e-6)
    other = DistillLoss(classifier(seed=1), None, False, ALL).eval()(batch, 0.0)
    parts = sum(float(other[part]) for part in ("teacher_divergence", "teacher_features", "teacher_attention"))
    assert parts > 0.05
    logits = outputs_of(classifier(seed=1).eval(), pixels(), ALL)["logits"]
    labels = torch.nn.functional.cross_entropy(logits, torch.arange(2))
    assert float(other["loss"]) == pytest.approx(float(labels) + parts, rel=1e-4)


def test_the_teacher_sees_pictures_as_it_was_trained_and_classes_in_the_students_order():
    model = classifier().eval()
    seen = TeacherOutputs(model, OTHER, VIEW, [2, 0, 1], ALL)(pixels())
    own = (pixels() * 0.5 + 0.5 - 0.4) / 0.3
    expected = outputs_of(model, own, ALL)
    torch.testing.assert_close(seen["teacher_logits"], expected["logits"][:, [2, 0, 1]], rtol=1e-4, atol=1e-5)
    assert seen["teacher_similarities"].shape == (2, 16, 16)
    assert seen["teacher_attention"].shape == (2, 17, 17)
    torch.testing.assert_close(seen["teacher_attention"].sum(-1), torch.ones(2, 17))


@torch.no_grad()
def test_in_half_precision_patches_are_compared_in_float32():
    """Patches of a layer are alike, and bf16 has three numbers from 0.99 to 1."""
    model = classifier().eval()
    with torch.autocast("cpu", torch.bfloat16):
        similarities = outputs_of(model, pixels(), ALL)["similarities"]
    diagonal = similarities.diagonal(dim1=1, dim2=2)
    assert similarities.dtype == torch.float32
    torch.testing.assert_close(diagonal, torch.ones_like(diagonal), atol=1e-6, rtol=0)
    assert len(similarities.unique()) > similarities.numel() / 4


def test_the_teacher_computes_in_the_precision_of_the_run():
    task, precisions = DistillTask.__new__(DistillTask), []
    task.accelerator = SimpleNamespace(autocast=lambda: torch.autocast("cpu", torch.bfloat16))
    task._targets = lambda tensors, step: tensors
    task._teacher = lambda pixels: precisions.append(torch.is_autocast_enabled("cpu")) or {"teacher_logits": pixels}
    assert task.prepare({"pixel_values": pixels()}, 0).keys() == {"pixel_values", "teacher_logits"}
    assert precisions == [True]


def test_only_what_has_a_weight_is_computed():
    assert outputs_of(classifier(), pixels(), TeacherSettings(path="x")).keys() == {"logits"}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A classifier of digits that some steps have trained."""
    place = tmp_path_factory.mktemp("teacher")
    command = [*FINETUNE, "--train.max_steps=60", "--train.batch_size=32", "--run.report=false"]
    done = beit("finetune", *command, f"--run.output={place / 'run'}", cwd=place)
    assert done.returncode == 0, done.stderr
    return place / "run" / "model"


STUDENT = [*FINETUNE, "--model.hidden_size=24", "--model.num_attention_heads=3", "--teacher.features=1",
           "--teacher.attention=0.1", "--run.log_every=1", "--run.save_every=4", "--train.batch_size=32",
           "--train.max_steps=8", "--optim.warmup_steps=2"]  # fmt: skip


@pytest.mark.e2e
def test_a_run_continues_bit_for_bit_and_leaves_a_small_classifier(teacher, tmp_path):
    command = ["distill", *STUDENT, f"--teacher.path={teacher}"]
    done = beit(*command, f"--run.output={tmp_path / 'whole'}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "held-out pictures: accuracy" in done.stdout
    lines = [json.loads(line) for line in (tmp_path / "whole/metrics.jsonl").read_text().splitlines()]
    assert {"teacher_divergence", "teacher_features", "teacher_attention", "accuracy"} <= lines[0].keys()
    assert 'alt="Distance from the teacher"' in (tmp_path / "whole/report.html").read_text()
    student = BeitForImageClassification.from_pretrained(tmp_path / "whole/model")
    assert student.config.hidden_size == 24
    assert student.config.class_names == open_source("digits:train").classes
    stopped = beit(*command, f"--run.output={tmp_path / 'run'}", cwd=tmp_path,
                   kill_after=tmp_path / "run/checkpoints/step_00000004")  # fmt: skip
    assert stopped.returncode == -9
    done = beit(*command, f"--run.output={tmp_path / 'run'}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")


@pytest.mark.e2e
def test_a_student_beside_the_same_one_without_a_teacher(teacher, tmp_path, capsys):
    command = [*STUDENT, "--train.max_steps=3", f"--teacher.path={teacher}", f"--run.output={tmp_path / 'run'}"]
    assert main(["distill", *command, "--dry-run"]) == 0
    assert capsys.readouterr().out.count("whole run ") == 1
    assert main(["distill", *command, "--dry-run", "--compare"]) == 0
    both = capsys.readouterr().out
    assert both.count("whole run ") == 2, "what is compared with is trained too"
    assert "the same student without its teacher, which --compare trains after it:" in both
    assert main(["distill", *command, "--compare"]) == 0
    heads, taught, alone = capsys.readouterr().out.splitlines()[-3:]
    assert heads.split() == ["held-out", "pictures", "accuracy", "mean", "class", "accuracy", "loss", "run"]
    for line, name in ((taught, "run"), (alone, "run_without_teacher")):
        result = json.loads((tmp_path / name / "result.json").read_text())
        assert f"{result['accuracy']:.2%}" in line
        assert line.endswith(str(tmp_path / name))
    assert (taught.startswith("with the teacher"), alone.startswith("without it")) == (True, True)
    assert "teacher_divergence" not in (tmp_path / "run_without_teacher" / "metrics.jsonl").read_text()
    assert main(["distill", *command, "--compare"]) == 0, "both are finished"
    assert capsys.readouterr().out.splitlines()[-3:] == [heads, taught, alone]


def test_the_same_student_without_a_teacher_has_all_other_settings():
    job = StudentJob(DataSettings("digits:train"), teacher=ALL, label_smoothing=0.3, checkpoint="other")
    alone = job.without_teacher()
    assert (alone.label_smoothing, alone.checkpoint, alone.data) == (0.3, "other", job.data)
    assert (alone.run.output, alone.run.seed) == ("runs/distill_without_teacher", job.run.seed)


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model.patch_size=8"], "the teacher has 4 x 4 patches, the student 2 x 2"),
        (["--run.framework=jax"], "run.framework is jax, which distillation does not have"),
        (["--teacher.path=/nowhere"], "/nowhere does not exist"),
    ],
)
def test_what_does_not_fit_is_refused(teacher, tmp_path, capsys, options, message):
    command = [*STUDENT, f"--teacher.path={teacher}", f"--run.output={tmp_path / 'run'}", *options]
    assert main(["distill", *command]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.e2e
def test_a_teacher_of_other_classes_is_refused(tmp_path, capsys):
    classifier().save_pretrained(tmp_path / "teacher")
    VIEW.save_pretrained(tmp_path / "teacher")
    command = [*STUDENT, f"--teacher.path={tmp_path / 'teacher'}", f"--run.output={tmp_path / 'run'}"]
    assert main(["distill", *command]) == 1
    assert "knows 3 classes (LABEL_0, LABEL_1, LABEL_2, ...), the pictures have 10" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("channels", "options", "data", "message"),
    [
        (3, {"value_range": (0.0, 4000.0)}, {}, r"data.value_range is auto, and .* has learnt from \[0, 4000\]"),
        (3, {"frame": 2}, {}, "data.frame is None, and .* has learnt from 2"),
        (3, {}, {"channels": 4}, "data.channels is 4, and the teacher .* takes 3 channels"),
        (1, {}, {}, "data.channels is 3, and the teacher .* takes 1 channels"),
        (3, {}, {"channels": 1}, None),
    ],
)
def test_a_teacher_that_pictures_are_read_otherwise_for_is_refused(tmp_path, channels, options, data, message):
    half = (0.5,) * channels
    Preprocessing.cropping((32, 32), 1.0, mean=half, std=half, **options).save_pretrained(tmp_path)
    settings, model = DataSettings("digits:train", **data), classifier(num_channels=channels)
    with nullcontext() if message is None else pytest.raises(ConfigError, match=message):
        _check_pictures(model, settings, str(tmp_path))
