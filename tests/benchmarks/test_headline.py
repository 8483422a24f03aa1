"""The programs of the headline: equal compute, probes, what is recorded and what is said of it."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.benchmarks.places import BENCHMARKS


@pytest.fixture
def before(program):
    """A pre-training of 0.1 PFLOP."""
    trainings = program("headline_trainings")
    config = program("headline_trainings").BeitConfig(
        image_size=32, patch_size=4, hidden_size=192, num_hidden_layers=6, num_attention_heads=3, intermediate_size=384
    )
    model = {"size": "tiny", "hidden_size": None, **dict.fromkeys(trainings.SIZES[3:], 1)}
    model |= {"size": "tiny", "image_size": 32, "patch_size": 4, "positions": "absolute"}
    return SimpleNamespace(pflop=0.1, pictures_seen=1000, config=config, model=Path("before/model"),
                           recipe={"model": model})  # fmt: skip


@pytest.mark.parametrize("share", ["100%", "10%", "1%"])
def test_all_trainings_of_a_share_have_the_same_compute(program, before, share):
    trainings = program("headline_trainings")
    costs = {arm: trainings.cost_of(arm, share, before)[0] for arm in trainings.CANDIDATES}
    assert max(costs.values()) == pytest.approx(min(costs.values()), rel=1e-3)
    assert costs["pretrained"] > before.pflop


def test_trainings_of_a_share_differ_only_in_start_length_and_optimiser(program, before):
    trainings = program("headline_trainings")
    made = {arm: trainings.arguments(arm, "1%", 0, {}, before) for arm in trainings.CANDIDATES}
    own = ("--checkpoint", "--model", "--train.max_steps", "--optim.warmup_steps")
    shared = {
        arm: [one for one in line if one.startswith("--") and not one.startswith(own)] for arm, line in made.items()
    }
    assert shared["pretrained"] == shared["scratch"] == shared["convnet"]
    assert "--checkpoint=before/model" in made["pretrained"]
    assert {"--checkpoint=null", "--model.positions=absolute"} <= set(made["scratch"])


def test_the_compute_of_the_convolutions_is_what_torch_counts(program):
    from torch.utils.flop_counter import FlopCounterMode

    convnet = program("convnet")
    with FlopCounterMode(display=False) as counter:
        convnet.ConvNet()(torch.zeros(1, 3, 32, 32))
    assert convnet.training_flops() == 3 * counter.get_total_flops()


@pytest.mark.e2e
@pytest.mark.parametrize("stop_on", ["loss", "accuracy"])
def test_the_convolutions_train_validate_and_keep_their_best(program, tmp_path, monkeypatch, stop_on):
    recipe = BENCHMARKS.parent / "recipes" / "finetune_cifar10_tiny.yaml"
    options = ["--data.path=digits:train", "--data.per_class=20", "--checkpoint=null", "--data.workers=0",
               "--train.max_steps=4", "--train.batch_size=16", "--optim.warmup_steps=1", "--optim.layer_decay=1",
               "--validation.every=2", f"--stop_on={stop_on}", "--run.report=false", f"--run.output={tmp_path}/run",
               "--run.log_every=1", "--data.val_share=0.3"]  # fmt: skip
    monkeypatch.setattr("sys.argv", ["convnet.py", str(recipe), *options])
    convnet = program("convnet")
    convnet.main()
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert 0 <= result["accuracy"] <= 1
    assert result["loss"] > 0
    network = convnet.load(tmp_path / "run" / "model")
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_the_compute_of_pretraining_includes_its_tokens(program, tmp_path):
    (tmp_path / "model").mkdir()
    sizes = {
        "model_type": "beit-kmeans",
        "vocab_size": 16,
        "patch_size": 4,
        "window": 4,
        "image_size": 32,
        "channels": 3,
    }
    (tmp_path / "model" / "config.json").write_text(json.dumps(sizes))
    (tmp_path / "recipe.yaml").write_text("clustering: {windows: 100, epochs: 2}")
    one = 2 * 48 * (48 + 16)
    flops = program("headline_trainings").tokenizer_flops
    assert flops(tmp_path / "model") == (200 * one, 64 * one)
    (tmp_path / "recipe.yaml").unlink()
    with pytest.raises(SystemExit, match="no k-means tokenizer in the folder of the run that fitted it"):
        flops(tmp_path / "model")


def test_a_probe_finds_what_is_there(program):
    probes = program("headline_probes")
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 80)
    pixels = np.zeros((80, 4, 4, 3), np.uint8)
    pixels[:, :, :, 0] = rng.integers(0, 60, (80, 4, 4)) + 100 * labels[:, None, None]
    pixels[:, :, :, 1] = 100
    for fit in (probes.fit_knn, probes.fit_linear):
        chosen, judge = fit(probes.Pixels(), pixels[:60], labels[:60])
        assert chosen["layer"] == 1
        assert judge(pixels[60:], labels[60:]) > 0.9


def test_an_attentive_probe_finds_the_patch_that_counts(program, monkeypatch):
    probes = program("headline_probes")
    monkeypatch.setattr("beit.evaluation.features.attentive.RATE", 1e-2)
    torch.manual_seed(0)
    labels = torch.arange(120).remainder(2).numpy()
    patches = torch.randn(120, 6, 16)
    patches[:, :, 0] = 0.0
    patches[torch.arange(120), torch.randint(6, (120,)), 0] = 8.0 * torch.from_numpy(2.0 * labels - 1).float()
    source = SimpleNamespace(patches=lambda pixels, layer: pixels)
    chosen, judge = probes.fit_attentive(source, patches[:80], labels[:80], 3, (2, 30), seed=0)
    assert chosen["layer"] == 3
    assert chosen["held_out_accuracy"] > 0.8
    assert judge(patches[80:], labels[80:]) > 0.8


def test_what_is_not_measured_is_not_run_in_the_table(program):
    table = program("table")
    one = {"mean": 0.5, "std": 0.01, "pflop": 0.2}
    labels = {"100%": dict.fromkeys(table.HEADLINE), "1%": {**dict.fromkeys(table.HEADLINE), "linear": one}}
    first, *rest = table.headline_rows({"labels": labels})
    rows = {row[0]: row[1:] for row in rest}
    assert first == ("", "100% of the labels", "1% of the labels", "PFLOP")
    assert rows["pre-trained, frozen: ridge probe"] == ("not run", "50.0% ± 1.0%", "- / 0.20")
    assert rows["raw pixels: kNN"] == ("not run", "not run", "-")


def test_what_ran_elsewhere_keeps_its_place_in_the_record(program, tmp_path):
    headline = program("headline")
    record = headline.recorded()
    before = program("headline_trainings").Packaged(headline.RESULT)
    found = headline.report(tmp_path, before, record)
    assert found["labels"] == record["labels"]
    assert found["pretraining"] == record["pretraining"]
    (tmp_path / "ridge_100_0").mkdir()
    (tmp_path / "ridge_100_0" / "test.json").write_text('{"accuracy": 0.25, "accesses": 1}')
    new = headline.report(tmp_path, before, record)["labels"]
    assert new["100%"]["ridge"]["mean"] == 0.25
    assert new["10%"] == record["labels"]["10%"]
    for seed in (0, 1):  # of three that are recorded
        (tmp_path / f"ridge_1_{seed}").mkdir()
        (tmp_path / f"ridge_1_{seed}" / "test.json").write_text('{"accuracy": 0.25, "accesses": 1}')
    assert headline.report(tmp_path, before, record)["labels"]["1%"]["ridge"] == record["labels"]["1%"]["ridge"]
    nothing = {share: dict.fromkeys(arms) for share, arms in record["labels"].items()}
    new = headline.report(tmp_path, before, {**record, "labels": nothing})["labels"]
    assert new["1%"]["ridge"]["seeds"] == [0.25, 0.25]


def test_the_report_names_the_origin_of_every_number(program, tmp_path, monkeypatch, capsys):
    headline = program("headline")
    monkeypatch.setattr("sys.argv", ["headline.py", "--report", f"--runs={tmp_path}"])
    headline.main()
    printed = capsys.readouterr().out
    for share, cells in json.loads(headline.RESULT.read_text())["labels"].items():
        for name, cell in cells.items():
            line = next(line for line in printed.splitlines() if line.startswith(f"{name} at {share}: "))
            assert all(run in line for run in cell["runs"])
            assert line.endswith(f"{cell['pflop']:.3f} PFLOP; {cell['machine']}; commit {cell['commit']}")
