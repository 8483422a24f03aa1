"""From pictures to predictions through the command line, on real handwritten digits."""

import json

import numpy as np
import pytest
import yaml
from PIL import Image
from safetensors.numpy import load_file

from beit.cli.main import main
from beit.data import open_source
from tests.e2e.small import FINETUNE, PICTURES, PRETRAIN, TOKENIZER, UNWATCHED, beit, losses


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("job")


@pytest.fixture(scope="module")
def tokenizer(place):
    run = place / "tokenizer"
    options = [
        "--train.max_steps=60",
        "--train.batch_size=32",
        "--loss.reconstruction=l2",
        "--loss.kl_weight=[0.0, 0.01]",
    ]
    assert main(["tokenizer", "train", f"--run.output={run}", *PICTURES, *TOKENIZER, *options]) == 0
    return run


@pytest.fixture(scope="module")
def pretrained(place, tokenizer):
    run = place / "pretrain"
    options = ["--train.max_steps=60", f"--tokenizer.path={tokenizer / 'model'}"]
    assert main(["pretrain", f"--run.output={run}", *PRETRAIN, *options]) == 0
    return run


@pytest.fixture(scope="module")
def finetuned(place, pretrained):
    run = place / "finetune"
    options = ["--train.max_steps=240", "--train.batch_size=64", "--validation.every=80"]
    options.append(f"--checkpoint={pretrained / 'model'}")
    assert main(["finetune", f"--run.output={run}", "--data.val_path=digits:test", *FINETUNE, *options]) == 0
    return run


def result(run):
    return json.loads((run / "result.json").read_text())


def test_tokenizer_learns_and_reports(tokenizer):
    loss = losses(tokenizer)
    assert list(loss) == [10, 20, 30, 40, 50, 60]
    assert loss[60] < loss[10]
    measured = result(tokenizer)
    assert 0 < measured["l1"] < 0.35
    assert 1 < measured["perplexity"] <= measured["used_codes"] <= 32


def test_tokenizer_encodes_and_reconstructs(tokenizer, place, capsys):
    common = [f"--tokenizer={tokenizer / 'model'}", "--image_size=8", "--data.path=digits:test", "--data.workers=0"]
    assert main(["tokenizer", "encode", *common, f"--output={place / 'tokens'}"]) == 0
    tokens = np.load(place / "tokens/tokens.npy", mmap_mode="r")
    assert tokens.shape == (500, 1, 4, 4)
    assert tokens.dtype == np.uint16
    assert tokens.max() < 32
    assert (place / "tokens/names.txt").read_text().split("\n")[3] == "digits:test, picture 3"
    assert np.array_equal(np.load(place / "tokens/labels.npy"), open_source("digits:test").labels)
    assert "500 pictures as 4 x 4 tokens" in capsys.readouterr().out
    assert main(["tokenizer", "reconstruct", *common, f"--output={place / 'sheet.png'}", "--count=10"]) == 0
    assert Image.open(place / "sheet.png").size == (8 * 10 + 2, 2 * (2 * 8 + 6))
    assert "mean absolute error" in capsys.readouterr().out


def test_pretraining_leaves_a_run_folder(pretrained, tokenizer):
    loss = losses(pretrained)
    assert loss[60] < loss[10]
    recipe = yaml.safe_load((pretrained / "recipe.yaml").read_text())
    assert recipe["train"]["max_steps"] == 60
    assert recipe["tokenizer"]["path"] == str(tokenizer / "model")
    assert sorted(path.name for path in pretrained.iterdir()) == [
        "checkpoints", "metrics.jsonl", "model", "monitor.json", "pictures", "recipe.yaml", "report.html",
        "result.json", "tensorboard",
    ]  # fmt: skip
    assert sorted(path.name for path in (pretrained / "model").iterdir()) == [
        "README.md", "config.json", "curves.svg", "features.json", "model.safetensors", "preprocessor_config.json",
    ]  # fmt: skip
    measured = {"loss", "frequency_loss", "accuracy", "frequency_accuracy", "pictures"}
    names = ("knn", "ridge", "rankme", "position_spread")
    features = {f"{floor}{name}" for floor in ("", "start_") for name in names} | {"pixels_knn", "pixels_ridge"}
    layers = {f"{name}_layer" for name in names[:3]}
    assert result(pretrained).keys() == measured | features | layers


def test_the_report_is_self_contained_and_holds_pictures(pretrained, finetuned):
    for run, words in ((pretrained, "what the model saw"), (finetuned, "Confusion matrix")):
        page = (run / "report.html").read_text()
        assert words in page
        assert page.count("data:image/png;base64") >= 8
        assert page.count("data:image/svg+xml;base64") >= 3
        assert "http://" not in page
        assert "https://" not in page


def test_the_cards_say_what_was_measured_on(pretrained, finetuned):
    """The share that is held out may be another than the setting, and of a path with splits it is none."""
    cards = [(run / "model/README.md").read_text() for run in (pretrained, finetuned)]
    assert "Trained on 1,232 pictures of `digits:train`, measured on 65 others of it." in cards[0]
    assert "Trained on 1,297 pictures of `digits:train`, measured on 500 of `digits:test`." in cards[1]


def test_finetuning_beats_chance(finetuned):
    assert result(finetuned)["accuracy"] > 0.3
    assert losses(finetuned)[240] < losses(finetuned)[10]


def test_evaluate_gives_the_same_numbers(finetuned, place, capsys):
    report = place / "evaluation.html"
    options = [f"--model={finetuned / 'model'}", "--data.path=digits:test", "--data.workers=0", f"--report={report}"]
    assert main(["evaluate", *options]) == 0
    assert f"accuracy            {100 * result(finetuned)['accuracy']:.2f} %" in capsys.readouterr().out
    assert "Wrong predictions" in report.read_text()


def test_predict(finetuned, place, capsys):
    source = open_source("digits:test")
    paths = []
    for index in range(3):
        paths.append(place / f"digit_{index}.png")
        source.load(index).save(paths[-1])
    assert main(["predict", str(finetuned / "model"), *map(str, paths), "--top_k=2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [str(path) for path in paths]
    (place / "broken.png").write_text("no picture")
    assert main(["predict", str(finetuned / "model"), str(place / "broken.png"), str(paths[0]), "--json"]) == 1
    output = capsys.readouterr()
    assert "broken.png is not a picture" in output.err
    assert json.loads(output.out)["picture"] == str(paths[0])


def test_a_finished_run_is_not_repeated(pretrained, tokenizer, capsys):
    before = (pretrained / "metrics.jsonl").read_text()
    options = ["--train.max_steps=60", f"--tokenizer.path={tokenizer / 'model'}", f"--run.output={pretrained}"]
    assert main(["pretrain", *PRETRAIN, *options]) == 0
    assert (pretrained / "metrics.jsonl").read_text() == before
    assert f"loss {result(pretrained)['loss']:.4f}" in capsys.readouterr().out


def test_another_recipe_does_not_continue_a_run(pretrained, tokenizer, capsys):
    options = ["--train.max_steps=70", f"--tokenizer.path={tokenizer / 'model'}", f"--run.output={pretrained}"]
    assert main(["pretrain", *PRETRAIN, *options]) == 1
    assert "train.max_steps was 60 and is now 70" in capsys.readouterr().err


def test_the_recipe_of_a_run_is_a_recipe(pretrained, place):
    output = place / "again"
    options = [f"--run.output={output}", "--train.max_steps=6", "--run.report=false", *UNWATCHED]
    assert main(["pretrain", str(pretrained / "recipe.yaml"), *options]) == 0
    assert yaml.safe_load((output / "recipe.yaml").read_text())["mask"]["count"] == 7


def test_real_colour_pictures_from_a_folder(real_data, place, capsys):
    run = place / "samples"
    options = ["--train.max_steps=6", f"--data.path={real_data / 'imagenet_samples'}", f"--run.output={run}"]
    assert main(["pretrain", *PRETRAIN, *options]) == 0
    assert "always predicting the token frequencies" in capsys.readouterr().out


def test_pretraining_beats_the_token_frequencies(tokenizer, place):
    """Of stored tokens, so that most of the time goes into learning."""
    run, tokens, found = place / "longer", place / "views", f"--tokenizer.path={tokenizer / 'model'}"
    encode = ["tokenizer", "encode", f"--tokenizer={tokenizer / 'model'}", *PICTURES, f"--output={tokens}"]
    assert main([*encode, "--image_size=8", "--views=2"]) == 0
    options = ["--train.max_steps=300", "--train.batch_size=64", "--optim.lr=3e-3", "--run.report=false", *UNWATCHED]
    stored = [found, f"--tokenizer.tokens={tokens}", "--fixed_views=2"]
    assert main(["pretrain", *PRETRAIN, *options, *stored, f"--run.output={run}"]) == 0
    assert result(run)["loss"] < result(run)["frequency_loss"]
    assert result(run)["accuracy"] > result(run)["frequency_accuracy"]


def test_the_choices_of_the_papers_ablations(tokenizer, place, capsys):
    """Single patches masked, absolute positions and no layer scale, in pre-training and in what starts from it."""
    run, tuned = place / "ablated", place / "ablated_finetune"
    options = ["--mask.kind=random", "--model.positions=absolute", "--model.layer_scale_init_value=0"]
    length = ["--train.max_steps=6", "--run.report=false"]
    found = [f"--tokenizer.path={tokenizer / 'model'}", f"--run.output={run}"]
    assert main(["pretrain", *PRETRAIN, *options, *length, *found, *UNWATCHED]) == 0
    tensors = load_file(run / "model" / "model.safetensors")
    assert any("position_embeddings" in name for name in tensors)
    assert not any("lambda_1" in name or "relative_position" in name for name in tensors)
    start = [*FINETUNE, *length, f"--checkpoint={run / 'model'}", f"--run.output={tuned}"]
    assert main(["finetune", *start, "--model.positions=relative"]) == 1
    assert "model.positions is relative, the checkpoint has absolute" in capsys.readouterr().err
    assert main(["finetune", *start, *options[1:]]) == 0
    assert load_file(tuned / "model" / "model.safetensors").keys() - tensors.keys() >= {"classifier.weight"}


def test_bf16(tokenizer, place):
    run = place / "bf16"
    options = ["--train.max_steps=6", "--run.log_every=1", "--run.precision=bf16", "--run.device=cpu"]
    options += ["--run.report=false", "--data.per_class=8", *UNWATCHED]
    done = beit("pretrain", *PRETRAIN, *options, f"--tokenizer.path={tokenizer / 'model'}", f"--run.output={run}")
    assert done.returncode == 0, done.stderr
    exact = place / "fp32"
    options[2] = "--run.precision=fp32"
    assert (
        main(["pretrain", *PRETRAIN, *options, f"--tokenizer.path={tokenizer / 'model'}", f"--run.output={exact}"]) == 0
    )
    assert list(losses(run).values()) == pytest.approx(list(losses(exact).values()), rel=0.02)
    assert losses(run) != losses(exact)
