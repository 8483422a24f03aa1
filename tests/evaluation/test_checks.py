"""What `beit evaluate` refuses before it loads a model."""

import pytest

from beit.errors import ConfigError
from beit.evaluation.classification.evaluate import evaluate
from beit.evaluation.segmentation.evaluate import evaluate_scenes
from beit.settings.evaluate import EvaluateJob
from beit.settings.groups import PictureSettings
from beit.settings.segment import LabelMapSettings, SceneUseSettings

MAPS, DATA = LabelMapSettings(path="masks"), PictureSettings("pictures")


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"label_maps": LabelMapSettings(reduce=True)}, "label_maps"),
        ({"scene": SceneUseSettings(window=64)}, "scene"),
        (
            {"label_maps": LabelMapSettings(classes="c.txt"), "scene": SceneUseSettings(mode="whole")},
            "label_maps and scene",
        ),
    ],
)
def test_settings_of_scenes_need_label_maps(settings, named):
    with pytest.raises(ConfigError, match=f"settings of {named} without label_maps.path; name a folder of label maps"):
        evaluate(EvaluateJob(**{"model": "nowhere", "data": DATA, **settings}))


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"data": PictureSettings("pictures", labels="labels.csv")}, "data.labels"),
        ({"match": "order", "crop_share": 0.875}, "match and crop_share"),
    ],
)
def test_settings_of_whole_pictures_do_not_go_with_label_maps(settings, named):
    with pytest.raises(ConfigError, match=f"settings of {named} together with label_maps.path"):
        evaluate_scenes(EvaluateJob(**{"model": "nowhere", "data": DATA, "label_maps": MAPS, **settings}))


@pytest.mark.parametrize(("measure", "maps"), [(evaluate, LabelMapSettings()), (evaluate_scenes, MAPS)])
def test_files_that_could_not_be_written_in_the_end_are_refused_at_the_beginning(measure, maps, tmp_path):
    with pytest.raises(ConfigError, match=r"report is .*, a folder; expected the name of a file in it"):
        measure(EvaluateJob("nowhere", DATA, label_maps=maps, report=str(tmp_path)))
    with pytest.raises(ConfigError, match="which another file is to have"):
        measure(EvaluateJob("nowhere", DATA, label_maps=maps, output="same.json", predictions="same.json"))
