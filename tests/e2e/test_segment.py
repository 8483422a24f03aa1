"""Segmentation through the command line: training, measuring, predicting, and masks that are wrong."""

import json
import shutil
import signal
import time
from dataclasses import replace
from math import nan

import av
import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from safetensors.numpy import load_file

from beit.cli.main import main
from beit.evaluation.result import Speed
from beit.evaluation.segmentation.evaluate import SceneEvaluation, scene_sections
from beit.evaluation.segmentation.measure import MeasuredScenes, SceneScore
from beit.evaluation.segmentation.scores import SegmentationScores
from beit.models_torch.scene import SceneInference
from tests.e2e.small import MODEL, assert_stops_and_saves, beit, losses, start

CLASSES = ["ground", "square", "disc"]
COLOURS = [(90, 90, 90), (220, 60, 60), (60, 60, 220)]
STEPS = 60


def draw(rng):
    """Return a picture of a square and a disc, and its mask; 9 is the rim of the disc, which is no class."""
    mask = Image.new("L", (80, 64))
    pen = ImageDraw.Draw(mask)
    left, top = rng.integers(0, 40), rng.integers(0, 30)
    pen.rectangle((left, top, left + 24, top + 24), fill=1)
    x, y = rng.integers(10, 60), rng.integers(10, 40)
    pen.ellipse((x, y, x + 20, y + 20), fill=2, outline=9)
    classes = np.asarray(mask)
    table = np.zeros((256, 3))
    table[:3] = COLOURS
    noise = rng.normal(0, 12, (64, 80, 3))
    return Image.fromarray(np.clip(table[classes] + noise, 0, 255).astype(np.uint8)), mask


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    place, rng = tmp_path_factory.mktemp("scenes"), np.random.default_rng(0)
    for part, count in (("train", 24), ("val", 6)):
        for kind in ("pictures", "masks"):
            (place / part / kind).mkdir(parents=True)
        for number in range(count):
            picture, mask = draw(rng)
            picture.save(place / part / "pictures" / f"{number:02d}.png")
            mask.save(place / part / "masks" / f"{number:02d}.png")
    (place / "classes.txt").write_text("\n".join(CLASSES))
    return place


def command(place, run):
    return [
        "segment", *MODEL, f"--data.path={place}/train/pictures", f"--label_maps.path={place}/train/masks",
        f"--data.val_path={place}/val/pictures", f"--label_maps.val_path={place}/val/masks",
        f"--label_maps.classes={place}/classes.txt", "--label_maps.ignored=[9]", "--data.workers=0",
        "--model.image_size=32", "--model.num_hidden_layers=4", "--model.drop_path_rate=0.1", "--optim.lr=3e-3",
        "--optim.warmup_steps=5", "--optim.layer_decay=1.0", f"--train.max_steps={STEPS}", "--train.batch_size=8",
        "--run.log_every=1", "--run.save_every=20", "--validation.every=30", "--scene.scale=[0.8, 1.5]",
        f"--run.output={run}",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def whole(scenes, tmp_path_factory):
    run = tmp_path_factory.mktemp("segment") / "run"
    done = beit(*command(scenes, run))
    assert done.returncode == 0, done.stderr
    assert "pixels in 24 label maps:" in done.stdout
    assert "mean IoU" in done.stdout
    return run


def test_a_signal_to_every_process_of_a_job_saves(scenes, tmp_path):
    arguments = [*command(scenes, tmp_path / "run"), "--data.workers=2", "--train.max_steps=2000"]
    assert_stops_and_saves([*arguments, "--run.save_every=1000"], tmp_path / "run", signal.SIGTERM, 0)


def test_it_learns_and_reports(whole):
    result = json.loads((whole / "result.json").read_text())
    assert result["mean_iou"] > 0.6
    assert {"iou_ground", "iou_square", "iou_disc", "boundary_f1", "pixel_accuracy"} <= result.keys()
    assert result["pictures"] == 6
    loss = losses(whole)
    assert np.mean([loss[step] for step in range(50, 60)]) < 0.6 * np.mean([loss[step] for step in range(1, 10)])
    page = (whole / "report.html").read_text()
    assert page.count("data:image/png") >= 6 * 3 + 1
    assert "disc" in page


def test_predicted_maps_are_those_that_were_measured(whole, scenes, tmp_path, capsys):
    assert (
        main(["predict", str(whole / "model"), f"{scenes}/val/pictures", "--task=segment", f"--output={tmp_path}"]) == 0
    )
    assert "6 pictures in" in capsys.readouterr().out
    joint, either = np.zeros(3), np.zeros(3)
    for number in range(6):
        true = np.asarray(Image.open(scenes / f"val/masks/{number:02d}.png"))
        found = np.asarray(Image.open(tmp_path / f"{number:02d}_index.png"))
        assert found.shape == true.shape
        for label in range(3):
            joint[label] += ((found == label) & (true == label)).sum()
            either[label] += (((found == label) | (true == label)) & (true != 9)).sum()
        written = json.loads((tmp_path / f"{number:02d}.json").read_text())
        assert written["shares"]["ground"] == pytest.approx((found == 0).mean())
        assert Image.open(tmp_path / f"{number:02d}_overlay.png").width > 80, "a legend beside it"
    result = json.loads((whole / "result.json").read_text())
    assert joint / either == pytest.approx([result[f"iou_{name}"] for name in CLASSES], abs=1e-6)


def test_evaluate_gives_what_training_measured(whole, scenes, tmp_path, capsys):
    files = {name: tmp_path / name for name in ("output.json", "predictions.csv", "report.html")}
    given = [f"--{name.split('.')[0]}={path}" for name, path in files.items()]
    place = [f"--data.path={scenes}/val/pictures", f"--label_maps.path={scenes}/val/masks", "--label_maps.ignored=[9]"]
    assert main(["evaluate", f"--model={whole / 'model'}", *place, *given]) == 0
    assert "IoU" in capsys.readouterr().out
    result, written = json.loads((whole / "result.json").read_text()), json.loads(files["output.json"].read_text())
    assert list(written) == [
        "schema", "numbers", "speed", "model", "settings", "versions", "classes", "per_class", "confusion", "broken"
    ]  # fmt: skip
    assert written["settings"]["label_maps"]["ignored"] == [9]
    assert written["versions"].keys() == {"beit", "python", "torch", "torchmetrics", "numpy", "Pillow"}
    assert written["model"]["problem_type"] == "semantic_segmentation"
    assert (written["classes"], written["broken"]) == (CLASSES, [])
    assert written["speed"]["model"] > written["speed"]["whole"] > 0
    right = np.trace(written["confusion"]) / np.sum(written["confusion"])
    assert written["numbers"]["pixel_accuracy"] == pytest.approx(right)
    for name in ("mean_iou", "mean_accuracy", "pixel_accuracy", "boundary_f1", "pictures"):
        assert written["numbers"][name] == pytest.approx(result[name], abs=1e-6)
    assert [row["iou"] for row in written["per_class"]] == pytest.approx([result[f"iou_{name}"] for name in CLASSES])
    lines = files["predictions.csv"].read_text().splitlines()
    assert len(lines) == 7
    assert "Scenes that are segmented worst" in files["report.html"].read_text()
    more = ["--flips", "--scene.scales=[0.75, 1.0]", "--scene.window=48", "--limit=2"]
    assert main(["evaluate", f"--model={whole / 'model'}", *place, *more]) == 0
    assert "pictures" in capsys.readouterr().out


def test_evaluate_sees_scenes_as_the_training_did_unless_it_is_asked_otherwise(whole, scenes, tmp_path, capsys):
    size, place = 32, [f"--data.path={scenes}/val/pictures", f"--label_maps.path={scenes}/val/masks"]

    def confusion(model, *more):
        output = tmp_path / "output.json"
        settings = [f"--model={model}", *place, "--label_maps.ignored=[9]", f"--output={output}", *more]
        assert main(["evaluate", *settings]) == 0, capsys.readouterr().err
        return json.loads(output.read_text())["confusion"]

    model = shutil.copytree(whole / "model", tmp_path / "model")
    plain, flipped = confusion(model), confusion(model, "--flips")
    assert plain == confusion(model, "--flips=false") != flipped
    own = SceneInference.from_pretrained(model, (size, size))
    replace(own, flip=True).save_pretrained(model)
    assert confusion(model) == flipped
    assert confusion(model, "--flips=false") == plain
    replace(own, windows=None).save_pretrained(model)
    at_once = confusion(model)
    assert at_once == confusion(model, "--scene.mode=whole") != plain
    assert confusion(model, "--scene.mode=slide") == plain


def test_scenes_without_a_pixel_that_counts_are_not_among_the_worst():
    scores = SegmentationScores(2)
    scores.add(torch.zeros(8, 8), torch.zeros(8, 8))
    ious = {"good": 0.9, "ignored": nan, "bad": 0.1, "fair": 0.5}
    scenes = [SceneScore(name, iou, iou) for name, iou in ious.items()]
    measured = MeasuredScenes(scores, scenes, Speed(1.0, 1.0), [])
    worst = scene_sections(SceneEvaluation(measured, ["a", "b"], 1))[-1]
    assert [row[0] for row in worst.rows] == ["bad", "fair", "good"]


def test_evaluate_refuses_what_does_not_fit(whole, scenes, tmp_path, capsys):
    place = [
        f"--model={whole / 'model'}",
        f"--data.path={scenes}/val/pictures",
        f"--label_maps.path={scenes}/val/masks",
    ]
    (tmp_path / "other.txt").write_text("ground\ncircle\ndisc\n")
    assert main(["evaluate", *place, f"--label_maps.classes={tmp_path}/other.txt"]) == 1
    assert "class 1 is 'circle' there and 'square' in the model" in capsys.readouterr().err
    assert main(["evaluate", *place, "--scene.mode=whole", "--scene.window=9"]) == 1
    assert "scene.mode is whole; choose one" in capsys.readouterr().err
    assert main(["evaluate", *place]) == 1, "9 stands for nothing here"
    assert "has the number 9; expected 0 to 2" in capsys.readouterr().err


def test_a_killed_run_continues_bit_for_bit(whole, scenes, tmp_path):
    run = tmp_path / "run"
    kill_after = int(np.random.default_rng().integers(21, STEPS - 15))
    process = start(*command(scenes, run))
    deadline = time.monotonic() + 120
    while max(losses(run), default=0) < kill_after and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert max(losses(run)) < STEPS, "killed in the middle"
    done = beit(*command(scenes, run))
    assert done.returncode == 0, done.stderr
    assert losses(run) == losses(whole), f"killed after step {kill_after}"
    for name in ("model/model.safetensors", "result.json"):
        assert (run / name).read_bytes() == (whole / name).read_bytes(), name


def test_recomputing_changes_nothing(whole, scenes, tmp_path):
    run = tmp_path / "run"
    beit(*command(scenes, run), "--train.recompute=true", kill_after=run / "checkpoints/step_00000020")
    found, expected = losses(run), losses(whole)
    assert len(found) >= 20
    assert list(found.values()) == pytest.approx([expected[step] for step in found], rel=1e-3)


def test_weights_hard_pixels_and_a_trained_model(whole, scenes, tmp_path):
    options = ["--class_weights=balanced", "--hard_pixels.confidence=0.7", "--hard_pixels.least=100"]
    given = [part for part in command(scenes, tmp_path / "run") if not part.startswith(("--model.", "--train.max"))]
    more = [f"--checkpoint={whole / 'model'}", "--train.max_steps=6", "--train.ema_decay=0.9", "--inference.flip=true"]
    done = beit(*given, *options, *more)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "run/result.json").read_text())
    assert result["mean_iou"] > 0.5, "its head is kept"
    assert result["average_mean_iou"] > 0.5
    assert result["average_mean_iou"] != result["mean_iou"]
    assert "moving average of the weights" in (tmp_path / "run/report.html").read_text()


@pytest.fixture
def spoilt(scenes, tmp_path):
    """A copy of a few scenes, to be spoilt."""
    for kind in ("pictures", "masks"):
        (tmp_path / "train" / kind).mkdir(parents=True)
        for number in range(4):
            name = f"train/{kind}/{number:02d}.png"
            (tmp_path / name).write_bytes((scenes / name).read_bytes())
    return tmp_path


def other_size(masks):
    Image.new("L", (80, 60)).save(masks / "01.png")


def out_of_range(masks):
    Image.new("L", (80, 64), 7).save(masks / "01.png")
    Image.new("L", (80, 64), 8).save(masks / "02.png")


def in_colours(masks):
    Image.new("RGB", (80, 64), (1, 2, 3)).save(masks / "01.png")


def missing(masks):
    (masks / "01.png").unlink()


def one_class(masks):
    for file in masks.iterdir():
        Image.new("L", (80, 64), 1).save(file)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (other_size, "01.png is 60 x 80 pixels and its picture 64 x 80; expected one number per pixel"),
        (out_of_range, "01.png has the number 7; expected 0 to 2, one for each of the 3 classes, or 9, 255 for none"),
        (in_colours, "01.png has colours, and their classes are unknown"),
        (missing, "1 of 4 pictures of"),
        (one_class, "the label maps have 1 class ['square']; expected 2 or more"),
    ],
)
def test_wrong_masks_are_named_before_anything_is_written(spoilt, scenes, tmp_path, spoil, message, capsys):
    spoil(spoilt / "train/masks")
    run = tmp_path / "run"
    given = [part.replace(f"{scenes}/train", f"{spoilt}/train") for part in command(scenes, run)]
    assert main(given) == 1
    said = capsys.readouterr().err
    assert message in said
    if spoil is out_of_range:
        assert "(1 more of 4 label maps are wrong)" in said
    assert not run.exists()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--label_maps.classes=nowhere.txt", "nowhere.txt cannot be read"),
        ("--label_maps.val_path=null", "expected both, or neither"),
        ("--label_maps.mapping={0: 3}", "label_maps.mapping gives the class 3; expected 0 to 2"),
        ("--data.per_class=3", "label maps hold the classes: leave it out"),
        ("--layers=[1, 2, 3, 5]", "layers is [1, 2, 3, 5]; expected numbers from 1 to 4"),
        (
            "--class_weights=[1.0, 2.0]",
            "class_weights has 2 numbers, [1.0, 2.0]; expected one for each of the 3 classes",
        ),
        ("--inference.stride=33", "the stride of a window of 32 pixels is 33"),
    ],
)
def test_impossible_settings_leave_nothing_behind(scenes, tmp_path, option, message, capsys):
    assert main([*command(scenes, tmp_path / "run"), option]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_frames_of_a_film(whole, scenes, tmp_path, capsys):
    film = tmp_path / "ride.mp4"
    with av.open(str(film), "w") as out:
        stream = out.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 80, 64, "yuv420p"
        for number in range(3):
            frame = av.VideoFrame.from_image(Image.open(scenes / f"val/pictures/{number:02d}.png"))
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    made = tmp_path / "made"
    assert main(["predict", str(whole / "model"), str(film), "--task=segment", f"--output={made}", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["name"] for line in lines] == ["ride_000000", "ride_000001", "ride_000002"]
    assert np.asarray(Image.open(made / "ride_000002_index.png")).shape == (64, 80)
    assert main(["predict", str(whole / "model"), str(film), "--task=segment"]) == 1
    assert "--output is missing" in capsys.readouterr().err


def test_a_dry_run_prints_the_cost_and_writes_nothing(scenes, tmp_path, capsys):
    assert main([*command(scenes, tmp_path / "run"), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "steps        60 of 8 pictures, out of 24" in said
    assert "held in the timed steps" in said
    assert not (tmp_path / "run").exists()


def test_divided_over_two_processes_equals_whole_copies(scenes, fork_server, tmp_path):
    runs = {kind: tmp_path / kind for kind in ("ddp", "fsdp")}
    extra = ["--train.max_steps=8", "--run.report=false", "--run.device=cpu", "--train.ema_decay=0.5",
             "--train.accumulate=2", "--validation.every=4"]  # fmt: skip
    for kind, run in runs.items():
        ended = fork_server.run(*command(scenes, run), *extra, f"--run.sharding={kind}", ranks=2)
        assert not any(ended.statuses), ended.errors
    whole, divided = (losses(run) for run in runs.values())
    assert list(divided.values()) == pytest.approx(list(whole.values()), rel=1e-4)
    # a bias right before a batch norm has no gradient but rounding, which Adam makes large
    idle = ("fpn1.0.bias", "fpn1.1.running_mean", "fpn1.3.bias", "fpn2.0.bias")
    for name in ("model", "model_average", "best"):
        expected, found = (load_file(run / name / "model.safetensors") for run in runs.values())
        for key in found.keys() - set(idle):
            np.testing.assert_allclose(found[key], expected[key], rtol=1e-3, atol=1e-4, err_msg=key)


def test_one_picture_at_a_time_is_refused_before_label_maps_are_read(scenes, tmp_path, capsys):
    arguments = [*command(scenes, tmp_path / "run"), "--train.batch_size=4", "--train.accumulate=4"]
    assert main(arguments) == 1
    said = capsys.readouterr()
    assert "is one picture at a time, and the batch norms of UperNet need two: raise train.batch_size to 8" in said.err
    assert "pixels in" not in said.out
    assert not (tmp_path / "run").exists()
