"""What `beit evaluate` refuses before it loads a model."""

import pytest

from beit.errors import ConfigError
from beit.evaluation.classification.evaluate import evaluate
from beit.evaluation.segmentation.evaluate import evaluate_scenes
from beit.settings.evaluate import EvaluateJob
from beit.settings.groups import PictureSettings
from beit.settings.segment import LabelMapSettings, SceneUseSettings

MASKS = LabelMapSettings(path="masks")


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"masks": LabelMapSettings(reduce=True)}, "masks"),
        ({"scene": SceneUseSettings(window=64)}, "scene"),
        ({"masks": LabelMapSettings(classes="c.txt"), "scene": SceneUseSettings(mode="whole")}, "masks and scene"),
    ],
)
def test_settings_of_scenes_need_masks(settings, named):
    with pytest.raises(ConfigError, match=f"settings of {named} without masks.path; name a folder of masks"):
        evaluate(EvaluateJob(model="nowhere", **settings))


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"data": PictureSettings(labels="labels.csv")}, "data.labels"),
        ({"match": "order", "crop_share": 0.875}, "match and crop_share"),
    ],
)
def test_settings_of_whole_pictures_do_not_go_with_masks(settings, named):
    with pytest.raises(ConfigError, match=f"settings of {named} together with masks.path"):
        evaluate_scenes(EvaluateJob(model="nowhere", masks=MASKS, **settings))


@pytest.mark.parametrize(("measure", "masks"), [(evaluate, LabelMapSettings()), (evaluate_scenes, MASKS)])
def test_files_that_could_not_be_written_in_the_end_are_refused_at_the_beginning(measure, masks, tmp_path):
    with pytest.raises(ConfigError, match=r"report is .*, a folder; expected the name of a file in it"):
        measure(EvaluateJob(model="nowhere", masks=masks, report=str(tmp_path)))
    with pytest.raises(ConfigError, match="which another file is to have"):
        measure(EvaluateJob(model="nowhere", masks=masks, output="same.json", predictions="same.json"))
