"""Exported folders that are damaged, foreign or wrongly used; exports that must leave nothing behind."""

import hashlib
import json
import sys

import numpy as np
import pytest
import torch

from beit.cli.main import main
from beit.errors import CheckpointError, ConfigError, DataError
from beit.inference.export import check, job
from beit.inference.exported import is_exported, load_exported
from beit.inference.exported_engines import ENGINES
from beit.inference.predictor import Predictor
from beit.settings.export import ExportJob
from tests.inference.exports import pixels_of, save_models

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    save_models(root)
    for to in ("onnx", "torch"):
        job.export(ExportJob(str(root / "classify"), to, str(root / to), check=str(root / "pictures")))
    return root


@pytest.fixture
def refused(folders, tmp_path, capsys):
    """Run the command, and return the one line that it says; nothing may be left."""

    def command(*words, output="out", model="classify"):
        place = tmp_path / output
        before = sorted(tmp_path.rglob("*"))
        status = main(["export", str(folders / model), f"--output={place}", *words])
        lines = capsys.readouterr().err.strip().splitlines()
        assert status == 1
        assert len(lines) == 1, lines
        assert sorted(tmp_path.rglob("*")) == before
        return lines[0]

    return command


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--to=tflite"], "to: expected one of ['onnx', 'openvino', 'torch', 'web'], got tflite"),
        (["--to=onnx", "--precision=int4"], "precision: expected one of ['fp32', 'fp16', 'int8'], got int4"),
        (["--to=openvino", "--precision=int8"], "int8' for openvino without calibration; name a folder"),
        (["--to=torch", "--precision=int8"], "export int8 to openvino or onnx"),
        (["--to=onnx", "--calibration=pictures"], "calibration is given with precision 'fp32'"),
        (["--to=onnx", "--opset=11"], "opset: input should be greater than or equal to 18, got 11"),
        (["--to=openvino", "--opset=18"], "expected it with onnx or web alone"),
        (["--to=onnx", "--tokenizer=a"], "tokenizer is given for onnx; expected it with web alone"),
        (["--to=web", "--precision=int8"], "precision is 'int8' for web"),
        (["--to=web", "--batch_size=2"], "batch_size is 2 for web"),
        (["--to=web", "--task=embed"], "task is 'embed' for web"),
        (["--to=web", "--image_size=dynamic"], "image_size is 'dynamic' for web"),
        (["--to=onnx", "--image_size=33"], "33"),
        (
            ["--to=onnx", "--image_size=big"],
            "image_size is 'big'; expected a side or HEIGHTxWIDTH in pixels, such as 384, or dyn",
        ),
        (["--to=onnx", "--batch_size=0"], "batch_size is 0; expected a number from 1"),
        (["--to=onnx", "--task=segment"], "was made to classify; expected that, or embed"),
        (["--to=onnx", "--task=dance"], "task is 'dance'; expected one of auto, classify, segment, embed"),
        (["--to=onnx", "--check=nowhere"], "nowhere cannot be listed"),
    ],
)
def test_bad_options_are_an_error_of_one_line(refused, words, said):
    assert said in refused(*words)


def test_segmentation_of_any_size_is_refused(refused):
    assert "name a size: larger pictures are cut into windows" in refused(
        "--to=onnx", "--image_size=dynamic", model="segment"
    )


def test_a_batch_that_calibration_cannot_fill_is_refused(refused, folders):
    words = ["--to=openvino", "--precision=int8", f"--calibration={folders / 'pictures'}", "--batch_size=7"]
    assert "there are 6 pictures to calibrate with; expected at least a batch, 7" in refused(*words)


def test_what_stands_at_the_output_is_not_touched(refused, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    assert "exists and is not an empty folder" in refused("--to=onnx")
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("library", "words"),
    [
        ("onnxscript", ["--to=onnx"]),
        ("openvino", ["--to=openvino"]),
        ("nncf", ["--to=openvino", "--precision=int8", "--calibration={}"]),
    ],
)
def test_a_missing_library_names_the_extra(refused, folders, monkeypatch, library, words):
    monkeypatch.setitem(sys.modules, library, None)
    said = refused(*(word.format(folders / "pictures") for word in words))
    assert f"'{library}' is not installed; in the checkout of beit run: pip install -e '.[export]'" in said


def test_a_file_that_says_something_else_is_not_kept(refused, folders, monkeypatch):
    trace = job.trace

    def other(subject, options):
        program = trace(subject, options)
        name = next(name for name in program.state_dict if name.endswith("projection.weight"))
        program.state_dict[name] = torch.nn.Parameter(program.state_dict[name] * 1.5, requires_grad=False)
        return program

    monkeypatch.setattr(job, "trace", other)
    said = refused("--to=torch", f"--check={folders / 'pictures'}")
    assert "the outputs of the exported file differ from the model's: largest difference" in said
    assert "nothing was written" in said


def test_numbers_that_are_none_fail_the_check():
    with pytest.raises(CheckpointError, match="nothing was written"):
        check._judge(check.Check(6, "pictures", float("nan"), 1.0, float("nan"), 1.0), "int8")


def test_limits_hold(refused, folders, monkeypatch):
    monkeypatch.setitem(check.LIMITS, "fp32", check.Limits(0.0, 0.9999, 0.99))
    assert "a difference up to 0e+00" in refused("--to=torch", "--batch_size=2", f"--check={folders / 'pictures'}")


def test_a_successful_command_says_what_it_wrote(folders, tmp_path, capsys):
    output = tmp_path / "deep" / "out"
    words = ["--to=torch", f"--output={output}", "--batch_size=2", "--image_size=32x40"]
    assert main(["export", str(folders / "classify"), *words]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["input"] == "pixel_values (2, 3, 32, 40)"
    assert "32 parts of the two photographs that scikit-learn brings" in lines["check"]
    assert lines["task"] == "classify"


def test_an_archive_of_torch_needs_trust(folders, monkeypatch):
    monkeypatch.delenv("BEIT_TRUST_PT2", raising=False)
    with pytest.raises(CheckpointError, match="can run code that is hidden in it"):
        load_exported(folders / "torch")
    monkeypatch.setenv("BEIT_TRUST_PT2", "1")
    assert load_exported(folders / "torch")(pixels_of(1)).shape == (1, 3)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((2, 3, 32, 40), "32 x 40 pixels, the exported model takes 32 x 32"),
        ((2, 1, 32, 32), r"expected \(pictures, 3, height, width\)"),
        ((3, 32, 32), "pixels have shape"),
        ((0, 3, 32, 32), "pixels have shape"),
    ],
)
def test_pixels_of_another_shape_are_refused(folders, shape, said):
    with pytest.raises(ConfigError, match=said):
        load_exported(folders / "onnx")(np.zeros(shape, np.float32))


def test_pixels_of_another_type_are_refused(folders):
    with pytest.raises(ConfigError, match="type uint8; expected float32"):
        load_exported(folders / "onnx")(np.zeros((1, 3, 32, 32), np.uint8))


@pytest.fixture
def copied(folders, tmp_path):
    place = tmp_path / "copied"
    place.mkdir()
    for file in (folders / "onnx").iterdir():
        (place / file.name).write_bytes(file.read_bytes())
    return place


def test_damaged_files_are_named(copied):
    content = bytearray((copied / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (copied / "model.onnx").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.onnx is damaged"):
        load_exported(copied)
    (copied / "model.onnx").unlink()
    with pytest.raises(CheckpointError, match=r"model\.onnx does not exist"):
        load_exported(copied)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("image_height", None),
        ("image_width", "../../x"),
        ("image_height", 0),
        ("batch", {"a": {}}),
        ("batch", 0),
        ("batch", 2**70),
        ("batch", 1.5),
        ("any_size", 1),
        ("precision", "fp8"),
        ("task", []),
        ("sha256", []),
    ],
)
def test_a_description_with_a_value_that_cannot_be(copied, name, value):
    description = json.loads((copied / "export.json").read_text())
    (copied / "export.json").write_text(json.dumps({**description, name: value}))
    with pytest.raises(CheckpointError, match=f"export.json has {name} .*; expected .*: export the model again"):
        load_exported(copied)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"export_version": 2}', '{"export_version": 1, "format": "onnx"}']
)
def test_a_description_that_is_not_understood(copied, content):
    (copied / "export.json").write_text(content)
    with pytest.raises(CheckpointError, match="export the model again"):
        load_exported(copied)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "bf16"}, "precision is 'bf16', but .* was exported in fp32; leave it out, or export"),
        ({"device": "cuda"}, "device is 'cuda', but .* is an exported model, which runs on the CPU"),
    ],
)
def test_what_was_decided_by_the_export_is_not_asked_for_in_vain(folders, options, message):
    with pytest.raises(ConfigError, match=message):
        Predictor.from_pretrained(folders / "onnx", **options)


def test_a_folder_that_is_no_export(folders):
    assert not is_exported(folders / "classify")
    with pytest.raises(CheckpointError, match=r"expected the export\.json of a folder that beit export wrote"):
        load_exported(folders / "classify")


def test_a_file_that_the_library_refuses(copied):
    (copied / "model.onnx").write_bytes(b"no graph")
    description = json.loads((copied / "export.json").read_text())
    description["sha256"]["model.onnx"] = hashlib.sha256(b"no graph").hexdigest()
    (copied / "export.json").write_text(json.dumps(description))
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_exported(copied)


def test_an_export_is_not_exported_again(refused):
    assert "name the model that it was made of" in refused("--to=onnx", model="onnx")


def test_a_broken_picture_stops_the_export(folders, tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "0.png").write_bytes(b"this is text")
    with pytest.raises(DataError, match=r"0.png"):
        job.export(
            ExportJob(str(folders / "classify"), "torch", str(tmp_path / "out"), check=str(tmp_path / "pictures"))
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("said", "threads"), [("2,1", 2), (" 3 ", 3), ("many", 0), ("", 0)])
def test_threads_are_taken_as_openmp_takes_them(folders, monkeypatch, said, threads):
    given = []
    monkeypatch.setitem(ENGINES, "onnx", lambda file, threads, precision: given.append(threads))
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    load_exported(folders / "onnx")
    assert given == [threads]
