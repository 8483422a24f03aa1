import json

import pytest
import torch
from PIL import Image

from beit import BeitForImageClassification
from beit.cli.main import main
from beit.config import BeitConfig
from beit.data import open_source, with_labels
from beit.errors import ConfigError, DataError
from beit.inference.predictor import Predictor
from beit.settings.finetune import FinetuneJob
from beit.settings.groups import DataSettings
from beit.settings.inputs import Sources
from beit.tasks.finetune.checks import check_labels
from beit.tasks.finetune.model import start_at_mean
from tests.e2e.small import MODEL

SMALL = [*MODEL, "--data.workers=0", "--train.max_steps=2", "--optim.warmup_steps=0", "--optim.layer_decay=1.0",
         "--train.batch_size=4", "--augment.crop_scale=[0.9, 1.0]"]  # fmt: skip


@pytest.fixture
def failing(pictures, tmp_path, capsys):
    """Fine-tune on a folder of two classes, expecting one line of error before anything is written."""

    def fail(*options, data=pictures):
        run = tmp_path / "run"
        assert main(["finetune", f"--data.path={data}", f"--run.output={run}", *SMALL, *options]) == 1
        assert not run.exists()
        [line] = capsys.readouterr().err.strip().splitlines()
        return line

    return fail


def test_one_class(failing, pictures):
    for path in (pictures / "dog").iterdir():
        path.unlink()
    (pictures / "dog").rmdir()
    assert "are 'cat'; expected at least 2 classes: add folders of others" in failing()


def test_pictures_without_classes(failing, pictures):
    assert "has no labels; put every picture into the folder of its class" in failing(data=pictures / "cat")


def test_other_classes_to_validate_on(failing, pictures, tmp_path):
    other = tmp_path / "val" / "fish"
    other.mkdir(parents=True)
    Image.new("RGB", (20, 20)).save(other / "1.png")
    assert "differ in ['fish'], of which no picture to train on is" in failing(f"--data.val_path={tmp_path / 'val'}")


def test_batches_without_pairs(failing):
    assert "batch_size 5 is not a multiple of 2" in failing("--mixing.mixup=0.8", "--train.batch_size=5")


def test_two_changes_of_colour(failing):
    assert "set augment.color_jitter to 0" in failing("--rand_augment.operations=2")


def test_weights_for_other_classes(failing):
    assert "class_weights has 3 numbers" in failing("--class_weights=[1, 2, 3]")


def test_a_picture_size_that_does_not_divide(failing):
    assert "not a multiple of patch size 4" in failing("--model.image_size=18")


def test_parts_without_a_checkpoint(failing):
    assert "without a checkpoint; name a pre-trained model" in failing("--freeze=encoder")
    assert "without a checkpoint" in failing("--lora.rank=2")


def test_a_checkpoint_that_is_none(failing, tmp_path):
    assert "nothing" in failing(f"--checkpoint={tmp_path / 'nothing'}", "--model.size=null")


def test_numbers_have_no_classes_to_mix(failing, pictures, tmp_path):
    (tmp_path / "values.csv").write_text("file_name,value\n" + "".join(f"cat/{n}.png,{n}\n" for n in range(6)))
    option = f"--data.labels={tmp_path / 'values.csv'}"
    assert "the data has numbers, not classes" in failing(option, "--mixing.mixup=1")
    (tmp_path / "values.csv").write_text("file_name,labels\n" + "".join(f"cat/{n}.png,a\n" for n in range(6)))
    assert "pictures have several labels" in failing(option, "--stop_on=accuracy")


def rows(kind, cell):
    pictures = [(name, number) for name in ("cat", "dog") for number in range(6)]
    return "\n".join([f"file_name,{kind}", *(f"{name}/{number}.png,{cell(name, number)}" for name, number in pictures)])


def finetuned(pictures, run, file, *options):
    arguments = [f"--data.path={pictures}", f"--data.labels={file}", f"--run.output={run}", "--data.val_share=0.3"]
    assert main(["finetune", *SMALL, *arguments, *options]) == 0
    return json.loads((run / "result.json").read_text()), BeitConfig.from_pretrained(run / "model")


def test_several_labels_from_a_file(pictures, tmp_path, capsys):
    file = tmp_path / "labels.csv"
    file.write_text(rows("labels", lambda name, n: name + ";odd" * (n % 2)))
    options = ["--mixing.mixup=0.8", "--class_weights=[1, 1, 2]", "--train.ema_decay=0.5"]
    result, config = finetuned(pictures, tmp_path / "run", file, *options)
    assert {"loss", "mean_average_precision", "f1", "mean_label_f1", "pictures"} < result.keys()
    assert "average_mean_average_precision" in result
    assert config.class_names == ["cat", "dog", "odd"]
    assert config.problem_type == "multi_label_classification"
    assert "mean average precision" in capsys.readouterr().out
    last = json.loads((tmp_path / "run/metrics.jsonl").read_text().splitlines()[-1])
    assert last["mean_average_precision"] == result["mean_average_precision"]


@pytest.mark.e2e
def test_numbers_from_a_file(pictures, tmp_path):
    file = tmp_path / "values.csv"
    file.write_text(rows("value", lambda name, n: 100 + (name == "dog")))
    result, config = finetuned(pictures, tmp_path / "run", file)
    assert config.problem_type == "regression"
    assert config.num_labels == 1
    assert result["mean_absolute_error"] < 2, "it starts at the mean, not at 0"
    assert result["loss"] == result["mean_squared_error"]
    learnt = BeitForImageClassification.from_pretrained(tmp_path / "run/model")
    before = learnt.classifier.bias.clone()
    start_at_mean(learnt, with_labels(open_source(str(pictures)), str(pictures), str(file)))
    assert torch.equal(learnt.classifier.bias, before), "a head that goes on is left as it is"
    with pytest.raises(ConfigError, match="gives numbers, not classes"):
        Predictor.from_pretrained(tmp_path / "run/model", device="cpu").classify(pictures)


def test_other_labels_do_not_continue_a_run(pictures, tmp_path, capsys):
    file = tmp_path / "values.csv"
    file.write_text(rows("value", lambda name, n: n))
    finetuned(pictures, tmp_path / "run", file)
    (tmp_path / "run/result.json").unlink()
    file.write_text(rows("value", lambda name, n: n + 1))
    arguments = [f"--data.path={pictures}", f"--data.labels={file}", f"--run.output={tmp_path / 'run'}"]
    assert main(["finetune", *SMALL, *arguments, "--data.val_share=0.3"]) == 1
    assert "labels" in capsys.readouterr().err


def test_labels_out_of_range_are_named(pictures):
    """Test splits of public data sets often have -1 for labels that are not published."""
    source = open_source(str(pictures))
    job = FinetuneJob(data=DataSettings(path=str(pictures)))
    assert check_labels(Sources(source, source), job) == (["cat", "dog"], "single_label_classification")
    for wrong in (-1, 2):
        broken = open_source(str(pictures))
        broken.labels[4] = wrong
        with pytest.raises(DataError, match=rf"cat/4.png has the label {wrong}; expected 0 to 1, one of the 2 classes"):
            check_labels(Sources(source, broken), job)


def test_labels_of_another_kind_to_validate_on(pictures, tmp_path):
    (tmp_path / "values.csv").write_text("file_name,value\ncat/1.png,3\n")
    numbers = with_labels(open_source(str(pictures)), str(pictures), str(tmp_path / "values.csv"))
    with pytest.raises(DataError, match=r"has one class per picture and .* value; name files of the same kind"):
        check_labels(Sources(open_source(str(pictures)), numbers), FinetuneJob(data=DataSettings(path="here")))
