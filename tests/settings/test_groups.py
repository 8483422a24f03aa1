"""Groups of settings, checked when they are made."""

import pytest
from pydantic import ValidationError

from beit.settings.groups import AugmentSettings, OptimSettings


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
