"""Groups of settings, checked when they are made."""

import pytest
from pydantic import ValidationError

from beit.settings.groups import AugmentSettings, DataSettings, OptimSettings, PictureSettings
from beit.settings.tokenizer import EncodeJob


@pytest.mark.parametrize(
    "build",
    [
        lambda: OptimSettings(lr=-1),
        lambda: AugmentSettings(crop_scale=(0.9, 0.1)),
        lambda: AugmentSettings(rotation=-5),
        lambda: OptimSettings(lrr=1),
    ],
)
def test_settings_are_checked(build):
    with pytest.raises(ValidationError):
        build()


def test_labels_to_validate_with_need_their_pictures():
    with pytest.raises(ValidationError, match=r"val_labels is 'held_out.csv' without val_path, .* name their folder"):
        DataSettings("pictures", labels="learnt.csv", val_labels="held_out.csv")
    assert DataSettings("pictures", labels="learnt.csv", val_path="pictures", val_labels="held_out.csv").val_labels


@pytest.mark.parametrize("random", [{"seed": 1}, {"augment": AugmentSettings(flip=0.0)}])
def test_what_is_random_in_stored_tokens_needs_random_views(random):
    data = PictureSettings("pictures")
    with pytest.raises(ValidationError, match=f"{next(iter(random))} is set without views"):
        EncodeJob("tokenizer", data, **random)
    assert EncodeJob("tokenizer", data, views=2, **random).views == 2
