import json
from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from torch import nn

from beit import BeitForImageClassification, preset
from beit.data import BrokenPicture, BrokenPictures
from beit.engine.checkpoints import latest_checkpoint, restore_objective, save_checkpoint
from beit.engine.metrics import MetricsLog, read_metrics
from beit.engine.optimiser import optimiser_tensors, parameter_groups, restore_optimiser, set_learning_rate
from beit.engine.run_folder import RunFolder
from beit.engine.schedule import Schedule, cosine
from beit.errors import CheckpointError, ConfigError, DataError, StorageError
from beit.reports.report import Section, write_report
from beit.settings.groups import AugmentSettings, OptimSettings, TrainSettings
from beit.settings.pretrain import PretrainJob
from beit.settings.recipe import resolved_recipe
from tests.conftest import TINY_MODEL
from tests.full_disk import full_disk


def test_learning_rate_of_a_run():
    optim = OptimSettings(lr=1.0, min_lr=0.1, warmup_steps=10)
    schedule = Schedule(optim, TrainSettings(max_steps=100), pictures=1)
    rates = [schedule.rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(1 / 11)
    assert rates[10] == 1.0
    assert rates[99] == pytest.approx(0.1)
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    # half way down, the cosine is half way between
    schedule = Schedule(replace(optim, min_lr=0.0), TrainSettings(max_steps=99), pictures=1)
    assert schedule.rate(54) == pytest.approx(0.5)


def test_cosine_is_flat_outside():
    assert (cosine(2.0, 1.0, -1), cosine(2.0, 1.0, 0.5), cosine(2.0, 1.0, 7)) == (2.0, 1.5, 1.0)


@pytest.fixture
def classifier():
    options = {"use_shared_relative_position_bias": True, "use_absolute_position_embeddings": True}
    return BeitForImageClassification(preset("tiny", **{**TINY_MODEL, **options}))


def test_every_parameter_is_in_one_group_with_the_right_decay(classifier):
    groups = parameter_groups(classifier, weight_decay=0.05, layer_decay=0.5, layers=2)
    by_parameter = {id(p): group for group in groups for p in group["params"]}
    assert len(by_parameter) == sum(len(group["params"]) for group in groups) == len(list(classifier.parameters()))

    def group(name):
        chosen = by_parameter[id(classifier.get_parameter(name))]
        return chosen["weight_decay"], chosen["lr_scale"]

    assert group("classifier.weight") == (0.05, 1.0)
    assert group("classifier.bias") == (0.0, 1.0)
    assert group("beit.pooler.layernorm.weight") == (0.0, 1.0)
    assert group("beit.encoder.layer.1.intermediate.dense.weight") == (0.05, 0.5)
    assert group("beit.encoder.layer.0.lambda_1") == (0.0, 0.25)
    assert group("beit.encoder.relative_position_bias.relative_position_bias_table") == (0.0, 1.0)
    assert group("beit.embeddings.patch_embeddings.projection.weight") == (0.05, 0.125)
    assert group("beit.embeddings.cls_token") == (0.0, 0.125)
    assert group("beit.embeddings.position_embeddings") == (0.0, 0.125)


def test_groups_share_the_learning_rate(classifier):
    optimiser = torch.optim.AdamW(parameter_groups(classifier, 0.05, 0.5, 2))
    set_learning_rate(optimiser, 0.8)
    assert sorted({group["lr"] for group in optimiser.param_groups}) == pytest.approx([0.1, 0.2, 0.4, 0.8])


def trained_steps(model, optimiser, steps, first=0):
    for step in range(first, first + steps):
        torch.manual_seed(step)
        loss = model(torch.randn(4, 3)).square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def writes(moments):
    return lambda folder: save_file(moments, folder / "optimiser.safetensors")


def test_a_restored_optimiser_continues_bit_for_bit(tmp_path):
    torch.manual_seed(0)
    whole, resumed = nn.Linear(3, 2), nn.Linear(3, 2)
    optimiser = torch.optim.AdamW(whole.parameters(), lr=0.1)
    trained_steps(whole, optimiser, 5)
    moments = optimiser_tensors(whole, optimiser)
    path = save_checkpoint(tmp_path, 5, writes(moments), whole, keep=2, facts={"pictures": 9})
    resumed.load_state_dict(whole.state_dict())
    again = torch.optim.AdamW(resumed.parameters(), lr=0.1)
    assert restore_objective(path, resumed, {"pictures": 9}) == 5
    restore_optimiser(path, resumed, again)
    trained_steps(whole, optimiser, 5, first=5)
    trained_steps(resumed, again, 5, first=5)
    assert torch.equal(whole.weight, resumed.weight)


def test_only_the_newest_checkpoints_stay(tmp_path):
    model = nn.Linear(1, 1)
    assert latest_checkpoint(tmp_path) is None
    for step in (5, 10, 100):
        save_checkpoint(tmp_path, step, writes({}), model, keep=2, facts={})
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["step_00000010", "step_00000100"]
    assert latest_checkpoint(tmp_path).name == "step_00000100"


def test_damaged_checkpoints_are_named(tmp_path):
    model = nn.Linear(3, 2)
    optimiser = torch.optim.AdamW(model.parameters())
    trained_steps(model, optimiser, 1)
    moments = optimiser_tensors(model, optimiser)
    path = save_checkpoint(tmp_path, 1, writes(moments), model, keep=1, facts={"pictures": 9})
    with pytest.raises(CheckpointError, match=r"has no state for 0\.weight; it belongs to another model"):
        restore_optimiser(path, nn.Sequential(nn.Linear(3, 2)), optimiser)
    with pytest.raises(CheckpointError, match=r"weight/exp_avg is \(2, 3\), the model has \(4, 3\)"):
        restore_optimiser(path, nn.Linear(3, 4), optimiser)
    with pytest.raises(CheckpointError, match="was made with 9 pictures and now there is 8"):
        restore_objective(path, model, {"pictures": 8})
    (path / "state.json").write_text("{}")
    with pytest.raises(CheckpointError, match="is damaged"):
        restore_objective(path, model, {})


def test_metrics_after_the_checkpoint_are_dropped(tmp_path):
    folder = RunFolder(tmp_path)
    with MetricsLog(folder, 0) as log:
        for step in range(1, 6):
            log.write(step, "train", {"loss": 1 / step})
    with folder.metrics.open("a") as file:
        file.write('{"step": 6, "lo')  # killed while writing
    with MetricsLog(folder, 3) as log:
        log.write(4, "train", {"loss": 9.0})
    lines = read_metrics(folder.metrics)
    assert [(line["step"], line["loss"]) for line in lines] == [(1, 1.0), (2, 0.5), (3, 1 / 3), (4, 9.0)]
    assert all(json.loads(text) for text in folder.metrics.read_text().splitlines())


def test_a_full_disk_leaves_no_partial_line(tmp_path):
    folder = RunFolder(tmp_path)
    with MetricsLog(folder, 0) as log:
        log.write(1, "train", {"loss": 1.0})
        with (
            full_disk(folder.metrics.stat().st_size + 5),
            pytest.raises(StorageError, match=r"metrics\.jsonl: File too large; free space and continue the run"),
        ):
            log.write(2, "train", {"loss": 1.0})
    assert [line["step"] for line in read_metrics(folder.metrics)] == [1]
    assert folder.metrics.read_text().endswith("}\n")


def test_broken_pictures_are_counted_once_and_listed(tmp_path):
    broken = BrokenPictures(tmp_path / "broken.txt", pictures=100, max_share=0.02)
    for name in ("a", "b", "a"):
        broken.add([BrokenPicture(name, f"{name} is broken")])
    assert (tmp_path / "broken.txt").read_text() == "a is broken\nb is broken\n"
    assert "2 broken pictures were skipped" in broken.summary()
    with pytest.raises(
        DataError, match=r"3 of 100 pictures are broken, more than data.max_broken allows \(2%\); first: a"
    ):
        broken.add([BrokenPicture("c", "c is broken")])


def test_recipes_are_plain_yaml_and_complete():
    recipe = resolved_recipe(PretrainJob())
    assert "!!" not in recipe
    assert "  lr: 0.0015\n" in recipe
    assert next(iter(recipe.splitlines())) == "run:"


@pytest.mark.parametrize(
    "build",
    [lambda: OptimSettings(lr=-1), lambda: AugmentSettings(crop_scale=(0.9, 0.1)), lambda: OptimSettings(lrr=1)],
)
def test_settings_are_checked(build):
    with pytest.raises(ValidationError):
        build()


def test_impossible_warm_up():
    with pytest.raises(
        ConfigError, match=r"warm-up of 10 steps is not shorter than the run of 10; lower optim\.warmup"
    ):
        Schedule(OptimSettings(warmup_steps=10), TrainSettings(max_steps=10), pictures=100).check()


def test_steps_follow_from_epochs():
    schedule = Schedule(OptimSettings(warmup_epochs=2), TrainSettings(batch_size=32, epochs=10), pictures=100)
    assert (schedule.steps, schedule.warmup) == (31, 6)


def test_the_report_escapes_names(tmp_path):
    write_report(
        tmp_path / "report.html", "<b>&", [Section("<script>alert(1)</script>", table=[("<i>", "&")])], "a: <b>"
    )
    page = (tmp_path / "report.html").read_text()
    assert "<script>" not in page
    assert "&lt;b&gt;&amp;" in page
