"""Files of an evaluation of scenes whose numbers are not all there."""

import json

import torch

from beit.evaluation.result import Speed, write_predictions, write_result
from beit.evaluation.segmentation.evaluate import SceneEvaluation
from beit.evaluation.segmentation.measure import MeasuredScenes, SceneScore
from beit.evaluation.segmentation.scores import SegmentationScores
from beit.settings.evaluate import EvaluateJob
from beit.settings.groups import PictureSettings


def test_numbers_that_are_not_there_are_null(tmp_path):
    """One class over a whole picture has no outline, so no F1 of it; JSON knows no nan."""
    scores = SegmentationScores(2)
    scores.add(torch.zeros(4, 4), torch.zeros(4, 4))
    measured = MeasuredScenes(scores, [SceneScore("a,b.png", 1.0, 1.0)], Speed(2.0, 1.0), [])
    evaluation = SceneEvaluation(measured, ["sky", "sea"], parameters=5)
    write_result(tmp_path / "r.json", evaluation, {"name": "m"}, EvaluateJob("m", PictureSettings("pictures")))
    content = json.loads((tmp_path / "r.json").read_text(), parse_constant=lambda name: name)
    assert content["numbers"]["mean_iou"] == 1.0
    assert content["numbers"]["boundary_f1"] is None
    assert content["speed"] == {"model": 2.0, "whole": 1.0}
    assert content["settings"]["data"]["path"] == "pictures"
    assert content["per_class"][1] == {
        "index": 1, "name": "sea", "pixels": 0, "iou": None, "accuracy": None, "outline_f1": None
    }  # fmt: skip
    write_predictions(tmp_path / "p.csv", evaluation)
    assert (tmp_path / "p.csv").read_text().splitlines() == [
        "picture,mean_iou,pixel_accuracy", '"a,b.png",1.000000,1.000000'
    ]  # fmt: skip
