"""The benchmarks' own arithmetic, their runner, and the tables that the documents show."""

import ast
import importlib
import importlib.util
import json
import re
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from beit import BeitConfig, BeitForMaskedImageModeling
from beit.geometry import Grid

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
MEASURES = """
import sys
from ratios import parser, speed
from records import hand_over
hand_over(parser("A benchmark.").parse_args(), [speed("work", "a peer", [1.0, 2.0, 4.0], [2.0, 3.0, 12.0], 1.8)])
sys.exit("wanted and not met: nothing")
"""


@pytest.fixture
def program(monkeypatch):
    """Import a file of benchmarks/, as its programs do."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


def test_speed_is_their_time_over_ours_in_each_round(program):
    ratio = program("ratios").speed("work", "a peer", [1.0, 2.0, 4.0], [2.0, 3.0, 12.0], 1.8)
    assert ratio.rounds == [2.0, 1.5, 3.0]
    assert (ratio.median, ratio.ours, ratio.theirs, ratio.met) == (2.0, 2.0, 3.0, True)
    assert ratio.columns()[2:] == ("2.00 s", "3.00 s", "2.00", "1.50 to 3.00", "at least 1.8", "yes")


def test_share_is_our_bytes_over_theirs_and_should_be_small(program):
    ratio = program("ratios").share("work: memory", "a peer", [300 * 2**20], [400 * 2**20], "MiB", 0.7)
    assert ratio.columns()[2:] == ("300 MiB", "400 MiB", "0.750", "measured once", "at most 0.7", "no")
    assert not ratio.met


def test_what_is_not_wanted_is_always_met(program):
    ratio = program("ratios").speed("work", "a peer", [2.0], [1.0])
    assert ratio.met
    assert ratio.columns()[-2:] == ("", "")


def test_one_failing_benchmark_does_not_stop_the_others(program, tmp_path, capfd):
    runner, place = program("all"), tmp_path / "bench"
    (tmp_path / "broken.py").write_text("raise SystemExit('there is no peer')")
    (tmp_path / "sound.py").write_text(f"import sys; sys.path.append({str(BENCHMARKS)!r}){MEASURES}")
    assert runner.measure(["broken", "sound"], tmp_path, place) == "failed: broken"
    (measured,) = program("records").records(place)
    assert measured["kind"] == program("about").kind()
    assert measured["benchmarks"]["sound"]["ratios"][0]["rounds"] == [2.0, 1.5, 3.0]
    assert place.with_suffix(".png").stat().st_size > 1000
    output = capfd.readouterr()
    assert "1.50 to 3.00" in output.out
    assert "there is no peer" in output.err


def answer(program, kind, date, *seconds, wanted=1.0):
    ratios = [vars(program("ratios").speed(f"work {number}", "a peer", [ours], [theirs], wanted))
              for number, (ours, theirs) in enumerate(seconds)]  # fmt: skip
    return {"kind": kind, "machine": "one", "date": date, "versions": {"torch": "2"}, "commit": "0", "ratios": ratios}


def test_a_record_keeps_what_is_not_measured_again(program, tmp_path):
    records = program("records")
    old, new = answer(program, "AMD 25/17", "2026-01-01", (1, 2)), answer(program, "AMD 25/17", "2026-02-01", (1, 3))
    records.record({"steps": old, "answers": old}, tmp_path)
    records.record({"steps": new}, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["amd-25-17.json"]
    (one,) = records.records(tmp_path)
    assert {name: entry["date"] for name, entry in one["benchmarks"].items()} == {
        "steps": "2026-02-01", "answers": "2026-01-01"
    }  # fmt: skip


def test_kinds_stand_side_by_side_and_the_worst_comes_first(program, tmp_path):
    records, table = program("records"), program("table")
    records.record({"steps": answer(program, "A", "2026-01-01", (1, 2), (1, 4))}, tmp_path)
    records.record({"steps": answer(program, "B", "2026-02-01", (1, 3), (2, 1), wanted=0.8)}, tmp_path)
    assert table.bench_rows(records.records(tmp_path)) == [
        ("what", "against", "wanted", "A", "B"),
        ("work 1", "a peer", "at least 0.8", "4.00", "**0.500**"),
        ("work 0", "a peer", "at least 0.8", "2.00", "3.00"),
    ]


def test_a_processor_that_plays_an_older_one_is_another_kind(program, monkeypatch):
    about = program("about")
    for name in about.LIMITS:
        monkeypatch.delenv(name, raising=False)
    plain = about.kind()
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")
    assert about.kind() == f"{plain} as AVX2"


def test_all_knows_every_benchmark_that_takes_turns(program):
    quick = {path.stem for path in BENCHMARKS.glob("*.py") if "parser(__doc__)" in path.read_text()}
    assert quick == set(program("all").BENCHMARKS)


def test_the_fitted_exponent_is_that_of_the_law(program):
    fit, line = program("cost").fitted((1, 2, 4, 8), [3.0, 12.0, 48.0, 192.0])
    assert (fit["exponent"], fit["error"]) == (2.0, 0.0)
    assert line == pytest.approx([3.0, 12.0, 48.0, 192.0])


def test_a_document_without_markers_is_refused(program):
    with pytest.raises(SystemExit, match="there is no place for the table"):
        program("table").within("no markers here", "bench", "a table")


def test_documents_show_the_results(program):
    table = program("table")
    for document in table.PLACES:
        assert document.read_text() == table.written(document), "python benchmarks/all.py --table writes the tables"
    for picture in table.PICTURES:
        assert (ROOT / "docs/pictures" / picture).read_bytes() == (table.RESULTS / picture).read_bytes()


READS_TEST = ("path_for", "accuracy_on_test")


def called(node):
    """Return the name of the function that is called."""
    return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")


def early_readings(text):
    """Return where a program may read the test pictures before its last step.

    They are asked for in functions `measure_on_test`; what calls one does not fit, train or choose afterwards.
    """
    tree = ast.parse(text)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    last_steps = [node for function in functions if function.name == "measure_on_test" for node in ast.walk(function)]
    found = [
        f"line {node.lineno}: {node.id} outside measure_on_test"
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and node.id in READS_TEST and node not in last_steps
    ]
    for function in functions:
        calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
        read = min((node.lineno for node in calls if called(node) == "measure_on_test"), default=None)
        found += [
            f"line {node.lineno}: {called(node)} after the test pictures were read"
            for node in calls
            if read is not None and node.lineno > read and re.match("fit|train|choose", called(node))
        ]
    return found


def missing_names(text):
    """Return what a program imports of beit that is not there."""
    imports = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)]
    ours = [node for node in imports if node.module.split(".")[0] == "beit"]
    return [
        f"{node.module}.{alias.name}"
        for node in ours
        for alias in node.names
        if not hasattr(importlib.import_module(node.module), alias.name)
        and importlib.util.find_spec(f"{node.module}.{alias.name}") is None
    ]


@pytest.mark.parametrize("folder", ["benchmarks", "examples"])
def test_what_programs_import_is_there(folder):
    sources = {path.name: path.read_text() for path in (ROOT / folder).glob("*.py")}
    assert sources
    assert {name: found for name, text in sources.items() if (found := missing_names(text))} == {}
    assert missing_names("from beit.geometry import Grid, no_such_name") == ["beit.geometry.no_such_name"]


def test_programs_read_the_test_pictures_last():
    sources = {path.name: path.read_text() for path in BENCHMARKS.glob("*.py") if path.name != "test_pictures.py"}
    assert {name for name, text in sources.items() if re.search(r"(?<!train)(?<!pyarrow)\.parquet", text)} == set()
    assert {name: found for name, text in sources.items() if (found := early_readings(text))} == {}
    users = {name for name, text in sources.items() if "from test_pictures import" in text}
    assert users == {"headline.py", "inference.py", "short_classifiers.py", "tokenizers_cifar10.py"}


def test_an_early_reading_is_found():
    assert early_readings("def choose():\n    return path_for(run)") == ["line 2: path_for outside measure_on_test"]
    late = "def measure_on_test():\n    path_for(run)\ndef main():\n    train()\n    measure_on_test()\n"
    assert early_readings(late) == []
    assert early_readings(late + "    train(more)\n") == ["line 6: train after the test pictures were read"]


class BlackPictures:
    """Ten pictures of different classes."""

    labels = np.arange(10)

    def __len__(self):
        return 10

    def load(self, index):
        return Image.new("RGB", (32, 32))


def test_only_what_is_finished_gets_the_test_pictures_and_once(program, tmp_path, monkeypatch):
    pictures = program("test_pictures")
    (tmp_path / "test.parquet").touch()
    monkeypatch.setattr(pictures, "open_source", lambda path: BlackPictures())
    monkeypatch.setattr(pictures.path_for, "__defaults__", (tmp_path,))
    with pytest.raises(SystemExit, match="is not finished"):
        pictures.accuracy_on_test(tmp_path, lambda pixels, labels: 0.5)
    (tmp_path / "chosen.json").write_text("{}")
    seen = []
    for _ in range(2):
        assert pictures.accuracy_on_test(tmp_path, lambda *test: seen.append(test) or 0.5) == 0.5
    assert pictures.accesses(tmp_path) == len(seen) == 1
    assert seen[0][0].shape == (10, 32, 32, 3)


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
    assert program("headline_trainings").tokenizer_flops(tmp_path / "model") == (200 * one, 64 * one)


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


@pytest.mark.parametrize(
    "page", ["README.md", "docs/recipes.md", "recipes/finetune_cifar10_nano.yaml",
             "src/beit/included/nano-cifar10/README.md"],
)  # fmt: skip
def test_what_is_said_of_few_labels_is_what_was_measured(page):
    measured = json.loads((BENCHMARKS / "results" / "headline.json").read_text())["labels"]
    said = (ROOT / page).read_text(encoding="utf-8").replace(" %", "%")
    shares = {"1%": ("pretrained", "scratch", "ridge"), "10%": ("pretrained", "scratch"), "100%": ("pretrained",)}
    for share, rows in shares.items():
        for row in rows:
            assert f"{measured[share][row]['mean']:.1%}" in said, (share, row)


def test_the_card_of_the_classifier_has_the_result_with_all_labels():
    measured = json.loads((BENCHMARKS / "results" / "headline.json").read_text())["labels"]["100%"]["pretrained"]
    card = (ROOT / "src/beit/included/nano-cifar10-classifier/README.md").read_text(encoding="utf-8")
    assert f"{measured['mean']:.1%}".replace("%", " %") in card


def test_every_part_of_the_gpu_program_fails_alone(program, tmp_path, monkeypatch, capsys):
    gpu, result = program("gpu"), tmp_path / "gpu.json"
    answers = {"heads": {"relative_error": 0.0}, "answers": {"failed": "out of memory"}, "tokenizer": {"ms": 1.0}}
    states, limits = [], []

    def measure(name, tiny, seconds):
        states.append(len(json.loads(result.read_text())["parts"]) if result.exists() else 0)
        limits.append(seconds)
        return answers[name]

    monkeypatch.setattr(gpu, "measure", measure)
    assert gpu.run(list(answers), True, 8, result) == ["answers"]
    assert limits == pytest.approx([240, 240, 480], abs=10), "a part that hangs leaves time for the others"
    assert json.loads(result.read_text())["parts"] == answers
    assert states == [0, 1, 2], "written after every part"
    assert gpu.run(["heads"], True, 0, result) == ["heads"]
    assert "the 0 minutes are over" in capsys.readouterr().out


def test_the_headline_of_the_gpu_program_has_its_minutes(program, tmp_path, monkeypatch):
    gpu, limits = program("gpu"), {}
    monkeypatch.setattr(gpu, "measure", lambda name, tiny, seconds: limits.update({name: seconds}) or {})
    gpu.run(["headline", "heads", "answers"], True, 8, tmp_path / "gpu.json", of_headline=3)
    assert list(limits) == ["heads", "answers", "headline"], "it comes last"
    assert list(limits.values()) == pytest.approx([150, 300, 480], abs=10), "and has what the others leave"
    gpu.run(["headline"], True, 8, tmp_path / "gpu.json", of_headline=3)
    assert limits["headline"] == pytest.approx(480, abs=10)


def test_numbers_of_the_gpu_program_beside_what_is_hoped_for(program):
    gpu = program("gpu")
    step = {"with stored tokens": {"images_per_second": 900.0, "tflops": 400.0}}
    found = {
        "pretraining": {"128 plain": step, "256 plain": {"failed": "out of memory"}},
        "peers": {"transformers": "5.0", "128": {"images_per_second": 600.0}},
        "attention": {"memory_ratio": 0.31},
    }
    beside = gpu.beside_hopes(found, "NVIDIA H100 80GB HBM3")
    assert {name: pair["measured"] for name, pair in beside.items()} == {
        "utilisation": 0.404, "times transformers": 1.5, "memory of attention": 0.31,
    }  # fmt: skip
    assert gpu.beside_hopes(found, "of another maker").keys() == beside.keys() - {"utilisation"}
    failed = {name: {"failed": "out of memory"} for name in found}
    assert gpu.beside_hopes(failed, "NVIDIA A100-SXM4-80GB") == {}
    assert gpu.peak_of("NVIDIA A100-SXM4-80GB") == [312e12]


def test_the_ways_of_attention_that_are_measured_are_the_same(program):
    steps, config = program("gpu_steps"), BeitConfig(hidden_size=32, num_attention_heads=4)
    contexts = [step() for step in steps.attention_ways(config, Grid(4, 5), 2, torch.device("cpu")).values()]
    torch.testing.assert_close(*contexts, atol=2e-2, rtol=2e-2)  # bf16


@pytest.mark.e2e
def test_the_headline_of_the_gpu_program_probes_what_it_pretrained(program, monkeypatch):
    """The trainings are tried by hand."""
    parts, asked = program("gpu_parts"), []

    def pretrained(given):
        asked.append(given)
        torch.manual_seed(1)
        config = BeitConfig(hidden_size=32, num_attention_heads=4, intermediate_size=64, num_hidden_layers=2,
                            image_size=32, patch_size=4, vocab_size=8)  # fmt: skip
        BeitForMaskedImageModeling(config).save_pretrained(given.runs / "model")
        line = {"step": 7, "split": "train", "images_per_second": 9.0, "loss": 2.0}
        (given.runs / "metrics.jsonl").write_text(json.dumps(line) + "\n")
        return given.runs

    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (200, 32, 32, 3), dtype=np.uint8), np.arange(200) % 10
    monkeypatch.setattr(program("headline_gpu"), "pretrained", pretrained)
    monkeypatch.setattr(program("cifar10"), "labelled", lambda share, seed: pictures)
    found = parts.headline(parts.sizes(True, 100.0))
    assert asked[0].minutes == pytest.approx(100 * parts.PRETRAINING_SHARE / 60)
    assert (found["steps"], found["images_per_second"], found["loss"]) == (7, 9.0, 2.0)
    probed = ("pretrained ridge", "pretrained knn", "random ridge", "random knn", "pixels knn")
    assert all(0 <= found[name] <= 1 for name in probed)


@pytest.mark.e2e
def test_a_part_that_crashes_or_hangs_is_a_failure(program):
    gpu = program("gpu")
    assert "nothing" in gpu.measure("nothing", True, 60)["failed"]
    assert gpu.measure("heads", True, 0.01) == {"failed": "not finished after 0 s"}


@pytest.mark.e2e
def test_what_a_part_started_ends_with_it(program, monkeypatch, tmp_path):
    gpu, mark = program("gpu"), tmp_path / "alive"
    started = f"import time; time.sleep(4); open({str(mark)!r}, 'w')"
    hangs = tmp_path / "hangs.py"
    hangs.write_text(f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {started!r}])\n")
    monkeypatch.setattr(gpu, "__file__", str(hangs))
    assert gpu.measure("heads", True, 2) == {"failed": "not finished after 2 s"}
    time.sleep(4)
    assert not mark.exists()


@pytest.mark.e2e
@pytest.mark.parametrize(
    "part", ["heads", "repeatability", "pretraining", "peers", "segmentation", "attention", "tokenizer", "answers"]
)
def test_the_parts_of_the_gpu_program_run_in_small(program, part):
    """`continuation` and `headline` are tried by hand: they train in processes of their own, which have other tests."""
    torch._dynamo.reset()
    parts = program("gpu_parts")
    found = parts.PARTS[part](parts.sizes(True))
    assert found
    assert "failed" not in json.dumps(found)
    assert {"continuation", "headline", part} <= parts.PARTS.keys()


def test_the_gpu_headline_is_of_the_recipe(program):
    made = program("headline_gpu")
    line = made.arguments("12x192", Path("tokens"), 2000, tiny=False)
    assert {"--model.num_hidden_layers=12", "--model.hidden_size=192", "--train.batch_size=1024",
            "--train.max_steps=2000", "--optim.warmup_steps=100", "--train.compile=true", "--data.keep_decoded=true",
            "--augment.device=model"} <= set(line)  # fmt: skip
    assert made.arguments("9x256", Path("tokens"), 4, tiny=True)[-len(made.TINY) :] == made.TINY
