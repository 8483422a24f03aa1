"""Model card of a run."""

import json

import yaml

from beit.reports.model_card import write_model_card


def test_it_holds_what_whoever_finds_the_model_needs(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["BeitForSemanticSegmentation"]}))
    lines = [{"step": step, "split": "train", "loss": 1 / step} for step in (1, 2, 3)]
    write_model_card(
        tmp_path, "streets: segmentation", "Trained on `camvid`.", "optim: {lr: 0.1}\n", {"accuracy": 0.5},
        lines, {"Nothing": ["absent"], "Loss": ["loss"]},
    )  # fmt: skip
    card = (tmp_path / "README.md").read_text()
    about = yaml.safe_load(card.split("---")[1])
    assert about == {"library_name": "beit", "pipeline_tag": "image-segmentation", "tags": ["beit"]}
    for part in (
        "# streets: segmentation",
        "Trained on `camvid`.",
        "| accuracy | 50.00 % |",
        "optim: {lr: 0.1}",
        "Licence",
    ):
        assert part in card
    assert "![Loss](curves.svg)" in card
    assert "<svg" in (tmp_path / "curves.svg").read_text()


def test_a_run_without_curves_and_a_tokenizer(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["BeitModel"]}))
    write_model_card(tmp_path, "title", "data", "{}\n", {}, [{"step": 1, "loss": 1.0}], {"Loss": ["loss"]})
    assert "svg" not in (tmp_path / "README.md").read_text()
    (tmp_path / "README.md").unlink()
    (tmp_path / "config.json").write_text("{}")
    write_model_card(tmp_path, "title", "data", "{}\n", {})
    assert not (tmp_path / "README.md").exists()
