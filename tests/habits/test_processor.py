"""Methods of the processor and of its batches."""

import warnings

import numpy as np
import pytest
import torch

import beit
from tests.habits.pairs import transformers

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 255, (40, 36, 3), dtype=np.uint8)
SMALL = {"size": {"height": 32, "width": 32}, "do_center_crop": False}


def both(**options):
    return beit.BeitImageProcessor(**options), transformers.BeitImageProcessorPil(**options)


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("resize", {"size": {"height": 20, "width": 16}, "resample": 3}),
        ("center_crop", {"size": {"height": 20, "width": 16}}),
        ("rescale", {"scale": 1 / 255}), ("normalize", {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.3]}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("first", [True, False])
def test_single_steps(method, arguments, first):
    """Theirs takes arrays with the channels first alone since 5.x."""
    picture = PICTURE.transpose(2, 0, 1) if first else PICTURE
    picture = picture.astype(np.float32) if method == "normalize" else picture
    ours, theirs = both()
    found = getattr(ours, method)(picture, **arguments)
    if first:
        if method in ("resize", "center_crop"):
            from transformers.image_utils import SizeDict

            arguments = arguments | {"size": SizeDict(**arguments["size"])}
        expected = getattr(theirs, method)(picture, **arguments)
        np.testing.assert_allclose(found, np.asarray(expected), rtol=1e-5, atol=1e-5)
    else:
        again = getattr(ours, method)(picture, **arguments, data_format="channels_first")
        np.testing.assert_array_equal(found.transpose(2, 0, 1), again)


def test_options_as_files_and_dicts(tmp_path):
    ours, theirs = both(**SMALL)
    ours.to_json_file(tmp_path / "preprocessor_config.json")
    assert beit.BeitImageProcessor.from_json_file(tmp_path / "preprocessor_config.json").to_dict() == ours.to_dict()
    kind = type(theirs)
    for library in (beit.BeitImageProcessor, kind):
        content, rest = library.get_image_processor_dict(tmp_path, foo=1)
        assert content["size"] == {"height": 32, "width": 32}
        assert rest["foo"] == 1
        processor, unused = library.from_pretrained(tmp_path, return_unused_kwargs=True, foo=1, do_resize=False)
        assert (unused["foo"], processor.do_resize) == (1, False)
        assert library is kind or list(unused) == ["foo"]  # theirs returns what was used too since 5.x


def test_names_of_the_class():
    assert beit.BeitImageProcessorFast is beit.BeitImageProcessorPil is beit.BeitImageProcessor


def test_batches_are_moved_and_converted():
    for processor in both(**SMALL):
        arrays = processor([PICTURE, PICTURE], return_tensors="np")
        assert isinstance(arrays.to("cpu")["pixel_values"], np.ndarray)
        tensors = processor([PICTURE, PICTURE]).convert_to_tensors("pt")
        assert tensors["pixel_values"].shape == (2, 3, 32, 32)
        assert tensors.to("cpu", torch.bfloat16)["pixel_values"].dtype == torch.bfloat16
        assert processor([PICTURE]).convert_to_tensors() is not None
    with pytest.raises(beit.BeitError, match="return_tensors is 'no'"):
        beit.BeitImageProcessor()([PICTURE]).convert_to_tensors("no")


@pytest.mark.parametrize("shape", [(40, 36, 1), (1, 40, 36)])
def test_pictures_of_one_channel(shape):
    grey = PICTURE[..., 0]
    found = beit.BeitImageProcessor(**SMALL)(grey.reshape(shape), return_tensors="np")["pixel_values"]
    np.testing.assert_array_equal(found, beit.BeitImageProcessor(**SMALL)(grey, return_tensors="np")["pixel_values"])
    ours, theirs = (processor(grey.reshape(shape), return_tensors="np") for processor in both(
        **SMALL, image_mean=[0.5], image_std=[0.5]
    ))  # fmt: skip
    np.testing.assert_allclose(ours["pixel_values"], theirs["pixel_values"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("picture", [PICTURE, PICTURE.astype(np.float32), [PICTURE, PICTURE]])
def test_values_that_are_not_rescaled_are_warned_of(picture):
    with pytest.warns(UserWarning, match="pictures with values above 1 are normalised by a mean of values in 0..1"):
        beit.BeitImageProcessor(**SMALL)(picture, do_rescale=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        processor = beit.BeitImageProcessor(**SMALL)
        processor(PICTURE / 255, do_rescale=False)
        processor(PICTURE, do_rescale=False, do_normalize=False)
        processor(PICTURE, do_rescale=False, image_mean=127.5, image_std=127.5)


def test_saving_returns_the_file(tmp_path):
    processor = beit.BeitImageProcessor(**SMALL)
    (ours,), (theirs,) = (library.save_pretrained(tmp_path) for library in both(**SMALL))
    assert ours == theirs == str(tmp_path / "preprocessor_config.json")
    assert beit.BeitImageProcessor.from_dict(processor.to_dict(), size=20, foo=1, return_unused_kwargs=True)[1] == {
        "foo": 1
    }


def test_one_map_is_reduced():
    labels = np.array([[0, 1], [2, 255]], np.uint8)
    assert beit.BeitImageProcessor().reduce_label(labels).tolist() == [[255, 0], [1, 255]]
    assert labels[0, 0] == 0


@pytest.mark.parametrize("call", [lambda kind: kind()("nowhere.png"), lambda kind: kind(do_center_crop=False)([])])
def test_what_cannot_be_processed_is_a_value_error(call):
    with pytest.raises(ValueError, match=r"\w"):
        call(beit.BeitImageProcessor)


def test_sizes_by_attribute():
    ours, theirs = both(size={"height": 20, "width": 24}, crop_size={"height": 16, "width": 18})
    for size, expected in ((ours.size, theirs.size), (ours.crop_size, theirs.crop_size)):
        for name in ("height", "width", "shortest_edge", "longest_edge"):
            assert getattr(size, name) == getattr(expected, name)
    assert beit.BeitImageProcessor(size=theirs.size).size == ours.size == {"height": 20, "width": 24}
    with pytest.raises(AttributeError, match="a size has no 'depth'; it has height"):
        _ = ours.size.depth


@pytest.mark.parametrize("name", ["bicubic", "Lanczos", "nearest"])
def test_filters_by_name(tmp_path, name):
    beit.BeitImageProcessor(**SMALL, resample=name).save_pretrained(tmp_path)
    loaded = transformers.BeitImageProcessorPil.from_pretrained(tmp_path)
    found = beit.BeitImageProcessor(**SMALL)(PICTURE, resample=name, return_tensors="np")["pixel_values"]
    np.testing.assert_array_equal(found, loaded(PICTURE, return_tensors="np")["pixel_values"])
    with pytest.raises(beit.BeitError, match="resample is 'sharpest'; expected one of 0 \\(nearest\\)"):
        beit.BeitImageProcessor(resample="sharpest")


def test_where_tensors_lie():
    processor = beit.BeitImageProcessor(**SMALL)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        batch = processor(PICTURE, PICTURE[..., 0], device="meta", do_convert_rgb=True, return_tensors="pt")
    assert {value.device.type for value in batch.values()} == {"meta"}
    for options in ({"device": "meta", "return_tensors": "np"}, {"disable_grouping": True}, {"do_convert_rgb": False}):
        with pytest.warns(UserWarning, match=f"no argument {next(iter(options))!r}; without effect"):
            found = processor(PICTURE, **options)["pixel_values"]
        np.testing.assert_array_equal(found[0], processor(PICTURE)["pixel_values"][0])


def test_batches_are_made_by_hand():
    values = {"pixel_values": [np.zeros((3, 4, 4), np.float32)] * 2, "labels": [0, 1], "on": torch.zeros(2)}
    for kind in (type(processor(PICTURE)) for processor in both(**SMALL)):
        batch = kind(values, tensor_type="pt")
        assert {name: (tuple(value.shape), value.dtype) for name, value in batch.items()} == {
            "pixel_values": ((2, 3, 4, 4), torch.float32), "labels": ((2,), torch.int64), "on": ((2,), torch.float32)
        }  # fmt: skip
        assert kind({"labels": [0, 1]})["labels"] == [0, 1]
        assert len(kind()) == 0


@pytest.mark.parametrize("sizes", [None, [(20, 31), (8, 12)], torch.tensor([[8, 8], [9, 5]])])
@pytest.mark.parametrize("kind", [torch.from_numpy, np.asarray])
def test_scores_of_every_class(sizes, kind):
    logits = np.random.default_rng(1).normal(size=(2, 5, 8, 8)).astype(np.float32)
    ours, theirs = both(**SMALL)
    found = ours.post_process_semantic_segmentation({"logits": kind(logits)}, sizes, return_segmentation_scores=True)
    output = beit.SemanticSegmenterOutput(logits=torch.from_numpy(logits))
    plain = None if sizes is None else [tuple(int(side) for side in size) for size in sizes]
    expected = theirs.post_process_semantic_segmentation(output, plain, return_segmentation_scores=True)
    for one, other in zip(found, expected, strict=True):
        assert list(one.keys()) == list(other.keys()) == ["segmentation", "segmentation_scores"]
        np.testing.assert_array_equal(one.segmentation, other.segmentation)
        np.testing.assert_allclose(one.segmentation_scores, other.segmentation_scores, rtol=1e-5, atol=1e-5)
    with pytest.raises(beit.BeitError, match="are both True; expected one of them"):
        ours.post_process_semantic_segmentation(output, return_scores=True, return_segmentation_scores=True)
