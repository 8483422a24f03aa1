"""Label maps of the processor."""

import numpy as np
import torch
from PIL import Image

from beit.image.processor import BeitImageProcessor
from tests.image.noise import PLAIN, SMALL, file_bytes, noise


def test_reducing_labels():
    labels = np.array([[0, 1, 2], [254, 255, 300]], dtype=np.int32)
    batch = BeitImageProcessor(**PLAIN, do_reduce_labels=True)(noise(2, 3), labels)
    assert batch.labels[0].tolist() == [[255, 0, 1], [253, 255, 299]]
    assert BeitImageProcessor(**PLAIN)(noise(2, 3), labels, do_reduce_labels=True).labels[0][0, 0] == 255
    assert BeitImageProcessor(**PLAIN, reduce_labels=True).do_reduce_labels is True
    assert BeitImageProcessor(**PLAIN)(noise(2, 3), labels, reduce_labels=True).labels[0][0, 0] == 255


def test_reducing_labels_leaves_pictures_alone():
    image = Image.fromarray(noise(50, 60) // 64)
    labels = np.zeros((50, 60), np.uint8)
    plain, reduced = (BeitImageProcessor(**SMALL, do_reduce_labels=reduce)(image, labels) for reduce in (False, True))
    np.testing.assert_array_equal(plain.pixel_values[0], reduced.pixel_values[0])


def test_all_forms_of_maps(tmp_path):
    labels = noise(20, 30, 1)[..., 0] % 7
    image = Image.fromarray(labels)
    palette = image.convert("P")
    palette.putdata(labels.ravel())
    image.save(tmp_path / "m.png")
    processor, picture = BeitImageProcessor(**SMALL), noise(20, 30)
    expected = processor(picture, labels).labels[0]
    assert expected.shape == (32, 40)
    forms = {
        "pil": image,
        "palette": palette,
        "sixteen": Image.fromarray(labels.astype(np.uint16)),
        "path": tmp_path / "m.png",
        "bytes": file_bytes(image),
        "tensor": torch.from_numpy(labels),
        "float": torch.from_numpy(labels).float(),
        "list": [labels],
        "stacked": labels[None],
        "channel": labels[..., None],
        "channels": [labels[None]],
        "batch": labels[None, None],
        "batch_last": labels[None, ..., None],
    }
    for name, form in forms.items():
        np.testing.assert_array_equal(processor(picture, form).labels, [expected], err_msg=name)
    both = processor([picture] * 2, np.stack([labels] * 2)[..., None], return_tensors="pt")
    assert both.labels.shape == (2, 32, 40)
    assert both.labels.dtype == torch.int64
    mask = Image.fromarray(labels > 3)
    assert set(np.unique(processor(picture, mask).labels[0])) == {0, 1}


def test_maps_are_aligned_with_their_pictures():
    labels = noise(37, 53, 1)[..., 0]
    batch = BeitImageProcessor(size=41, crop_size=50, resample=0, do_rescale=False, do_normalize=False)(labels, labels)
    np.testing.assert_array_equal(batch.pixel_values[0][0], batch.labels[0])
