"""Scene inference of a page: how its browser segments a whole picture, as the predictor does."""

from __future__ import annotations

from typing import Any

from beit.errors import ConfigError
from beit.image.labels import IGNORED
from beit.image.palette import palette
from beit.inference.export.model import ExportModel
from beit.inference.loading import load_scene_inference
from beit.models_torch.scene import SceneInference
from beit.settings.export import ExportJob


def page_scene(model: ExportModel, job: ExportJob) -> SceneInference | None:
    """Return the scene inference of a segmentation model, in windows of its input; None of other models.

    Args:
        model: The model.
        job: How it is exported; in another size than that of its training it takes the published windows.

    Raises:
        ConfigError: If it has more classes than label maps hold, or windows larger than its input.
    """
    hw, view = model.view.image_hw, model.view
    scene = load_scene_inference(job.model, model.runner, view)
    if scene is None:
        return None
    if model.config.num_labels > IGNORED:
        raise ConfigError(
            f"the model has {model.config.num_labels} classes of pixels for web; expected at most {IGNORED}, the limit "
            "of label maps of 8 bits: export it to onnx"
        )
    if model.resized:
        scene = SceneInference.published(hw, mean=view.mean, std=view.std)
    return scene.within(hw)


def described_scene(scene: SceneInference | None, classes: int) -> dict[str, Any] | None:
    """Return what `page.json` says of scene inference, and the colours of the classes."""
    if scene is None or scene.windows is None:
        return None
    (height, width), (down, across) = scene.windows.size_hw, scene.windows.stride_hw
    return {
        "windows": {"height": height, "width": width, "down": down, "across": across},
        "shorter_side": scene.shorter_side,
        "scales": list(scene.scales),
        "flip": scene.flip,
        "mean": list(scene.mean),
        "std": list(scene.std),
        "colours": ["#{:02x}{:02x}{:02x}".format(*colour) for colour in palette(classes).tolist()],
    }
