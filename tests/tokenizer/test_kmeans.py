"""The k-means tokenizer: equal to scikit-learn, reproducible, saved and loaded, and what it refuses."""

import builtins

import numpy as np
import pytest
import torch
from sklearn.cluster import MiniBatchKMeans
from torch.nn import functional

from beit.data import open_source
from beit.errors import CheckpointError, ConfigError, DataError, MissingExtraError
from beit.image import to_unit_array
from beit.tokenizer import (
    KMeansConfig,
    KMeansTokenizer,
    TokenEncoder,
    VisualTokenizer,
    fit_kmeans,
    load_tokenizer,
    picture_windows,
    tokenizer_fingerprint,
)
from beit.tokenizer.kmeans import normalised
from beit.tokenizer.kmeans_fit import zca_whitening

CONFIG = KMeansConfig(vocab_size=24, patch_size=4, window=8, image_size=16)


@pytest.fixture(scope="module")
def pixels():
    """Digits at 16 x 16 pixels, in colour."""
    source = open_source("digits:train")
    pictures = np.stack([to_unit_array(source.load(index)) for index in range(64)])
    return functional.interpolate(torch.from_numpy(pictures), size=(16, 16), mode="bilinear")


@pytest.fixture(scope="module")
def windows(pixels):
    return picture_windows(pixels, CONFIG).flatten(0, 1)


@pytest.fixture(scope="module")
def tokenizer(windows):
    return fit_kmeans(windows, CONFIG, batch_size=128)


def test_a_single_step_is_enough(windows):
    """As of one pass over few windows: scikit-learn ends in a TypeError where it has no mean error of steps yet."""
    tokenizer = fit_kmeans(windows, CONFIG, epochs=1, batch_size=4096)
    assert tokenizer.centroids.isfinite().all()


def test_windows_are_centred_on_their_patches(pixels):
    windows_BNF = picture_windows(pixels, CONFIG)
    assert windows_BNF.shape == (64, 16, 3 * 8 * 8)
    middle = windows_BNF.unflatten(2, (3, 8, 8))[:, :, :, 2:6, 2:6]
    expected = functional.unfold(pixels * 255, 4, stride=4).transpose(1, 2).unflatten(2, (3, 4, 4))
    torch.testing.assert_close(middle, expected)
    inside = windows_BNF[:, 5].unflatten(1, (3, 8, 8))  # the patch in row 1, column 1
    torch.testing.assert_close(inside, pixels[:, :, 2:10, 2:10] * 255)
    corner = windows_BNF[:, 0].unflatten(1, (3, 8, 8))
    torch.testing.assert_close(corner[:, :, 0, 2:], pixels[:, :, 2, :6] * 255)  # reflected


def test_brightness_and_contrast_are_taken_from_every_window(windows):
    values, brightness, contrast = normalised(windows)
    torch.testing.assert_close(values.mean(1), torch.zeros(len(values)), atol=1e-5, rtol=0)
    torch.testing.assert_close(values * contrast + brightness, windows, atol=1e-3, rtol=1e-5)
    torch.testing.assert_close(contrast[:, 0], (windows.var(1, correction=0) + 10).sqrt())
    assert not normalised(torch.full((1, 12), 128.0)).values.any()


def test_whitening_makes_values_uncorrelated():
    torch.manual_seed(0)
    values = torch.randn(4000, 6) @ torch.randn(6, 6) + 3
    mean, forward, backward = zca_whitening(values, eps=1e-6)
    white = (values - mean) @ forward
    torch.testing.assert_close(torch.cov(white.T, correction=0), torch.eye(6), atol=1e-3, rtol=0)
    torch.testing.assert_close(white @ backward + mean, values, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(forward, forward.T)


def test_tokens_are_those_of_scikit_learn(pixels, windows):
    """On the same windows, whitened here in float64, and beside a fit that is scikit-learn's alone."""
    raw = windows.double().numpy()
    centred = raw - raw.mean(1, keepdims=True)
    values = centred / np.sqrt((centred**2).mean(1, keepdims=True) + 10)
    variances, axes = np.linalg.eigh(np.cov(values.T, bias=True))
    white = (values - values.mean(0)) @ (axes / np.sqrt(variances.clip(0) + 0.1)) @ axes.T
    tokenizer = fit_kmeans(windows, CONFIG, eps=0.1, epochs=7, batch_size=128, seed=3)
    np.testing.assert_allclose(tokenizer.whitened(windows).numpy(), white, atol=2e-3)
    own = tokenizer.whitened(windows).numpy()
    clusters = MiniBatchKMeans(24, max_iter=7, batch_size=128, random_state=3, compute_labels=False).fit(own)
    np.testing.assert_array_equal(tokenizer.centroids.numpy(), clusters.cluster_centers_)
    tokens = tokenizer.encode(pixels)
    assert (tokens.shape, tokens.dtype) == ((64, 4, 4), torch.int64)
    np.testing.assert_array_equal(tokens.flatten().numpy(), clusters.predict(own))
    assert len(tokens.unique()) > 12


def test_many_windows_are_encoded_in_parts(tokenizer, pixels, monkeypatch):
    whole = tokenizer.encode(pixels)
    monkeypatch.setattr("beit.tokenizer.kmeans._AT_ONCE", 100)
    assert torch.equal(tokenizer.encode(pixels), whole)


def test_equal_seeds_give_equal_bits(tokenizer, windows):
    again = fit_kmeans(windows, CONFIG, batch_size=128)
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in tokenizer.state_dict().items())
    assert tokenizer_fingerprint(again) == tokenizer_fingerprint(tokenizer)
    other = fit_kmeans(windows, CONFIG, batch_size=128, seed=1)
    assert tokenizer_fingerprint(other) != tokenizer_fingerprint(tokenizer)


def test_saved_and_loaded(tokenizer, pixels, tmp_path):
    encoder = TokenEncoder(tokenizer)  # which changes the memory format
    encoder.tokenizer.save_pretrained(tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert isinstance(loaded, KMeansTokenizer)
    assert isinstance(loaded, VisualTokenizer)
    assert loaded.config == CONFIG
    assert tokenizer_fingerprint(loaded) == tokenizer_fingerprint(tokenizer)
    assert torch.equal(loaded.encode(pixels), encoder(pixels))
    assert '"model_type": "beit-kmeans"' in (tmp_path / "config.json").read_text()
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError):
        load_tokenizer(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": [1, "a"]}')
    with pytest.raises(ConfigError, match="model of type"):
        load_tokenizer(tmp_path)


def test_pictures_of_other_sizes(tokenizer):
    pixels = torch.rand(2, 3, 20, 32)
    tokens = tokenizer.encode(pixels)
    assert tokens.shape == (2, 5, 8)
    inner = tokenizer.encode(pixels[:, :, 4:16, 4:28])  # the same windows, but at the edges of the cut
    assert torch.equal(inner[:, 1:-1, 1:-1], tokens[:, 2:3, 2:6])
    assert tokenizer.decode(tokens).shape == pixels.shape


def test_decoding_lays_the_patches_of_the_codes_side_by_side(tokenizer, pixels):
    tokens = tokenizer.encode(pixels)
    decoded = tokenizer.decode(tokens)
    assert decoded.shape == pixels.shape
    assert 0 <= decoded.min() <= decoded.max() <= 1
    assert torch.equal(decoded[5, :, 8:12, 4:8], tokenizer.patches[tokens[5, 2, 1]])
    flat = pixels.mean((1, 2, 3), keepdim=True).expand_as(pixels)
    assert (decoded - pixels).square().mean() < (flat - pixels).square().mean(), "the pictures are recognised"


def test_a_tokenizer_that_was_cast_computes_in_float32(tokenizer, pixels):
    half = KMeansTokenizer(CONFIG)
    half.load_state_dict(tokenizer.state_dict())
    assert (half.bfloat16().encode(pixels) == tokenizer.encode(pixels)).float().mean() > 0.9


def test_half_precision_around_it_changes_no_token(tokenizer, pixels):
    with torch.autocast("cpu", torch.bfloat16):
        mixed = tokenizer.encode(pixels)
    assert torch.equal(mixed, tokenizer.encode(pixels))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 2}, r"window is 2 and patch_size 4; expected a window that is not smaller.*such as 4 or 12"),
        ({"window": 7}, "window is 7 and patch_size 4; expected .* equal margins"),
        ({"window": 60}, "window is 60 and reaches 28 pixels beyond a patch; expected fewer than the image_size 16"),
        ({"image_size": 18}, "image_size 18 is not a multiple of the 4 pixels of a token; use 16 or 20"),
        ({"vocab_size": 1}, "vocab_size is 1; expected a whole number of at least 2"),
        ({"window": 10**9}, "expected a whole number of at least 1 and at most 256"),
    ],
)
def test_sizes_that_cannot_be(options, message):
    with pytest.raises(ConfigError, match=message):
        KMeansConfig(**{"vocab_size": 24, "patch_size": 4, "window": 8, "image_size": 16, **options})


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 1, 16, 16), r"shape \(1, 1, 16, 16\); expected \(batch, 3, height, width\)"),
        ((1, 3, 18, 16), "multiples of 4: resize them"),
        ((1, 3, 4, 16), None),
    ],
)
def test_pixels_that_do_not_fit(tokenizer, shape, message):
    if message is None:
        assert tokenizer.encode(torch.rand(shape)).shape == (1, 1, 4)
        return
    with pytest.raises(ConfigError, match=message):
        tokenizer.encode(torch.rand(shape))


def test_pictures_that_are_too_short_for_a_window():
    tokenizer = KMeansTokenizer(KMeansConfig(vocab_size=2, patch_size=4, window=12, image_size=16))
    with pytest.raises(ConfigError, match="windows of 12 pixels reach 4 beyond a patch, and expected are sides above"):
        tokenizer.encode(torch.rand(1, 3, 4, 16))


def test_too_few_windows_differ(windows):
    with pytest.raises(DataError, match=r"20 windows have 20 different patterns .* at least as many as the 24 codes"):
        fit_kmeans(windows[:20].double().add(torch.rand(20, 192)).float(), CONFIG)
    greys = torch.arange(50.0)[:, None].expand(50, 192) * 3.3
    with pytest.raises(DataError, match=r"50 windows have 1 different patterns of light and dark; .*richer pictures"):
        fit_kmeans(greys, CONFIG)


def test_windows_of_another_size(windows):
    with pytest.raises(ConfigError, match=r"windows have shape \(64, 16, 192\); expected \(windows, 192\): use"):
        fit_kmeans(windows.unflatten(0, (64, 16)), CONFIG)


def test_tokens_of_another_tokenizer(tokenizer):
    with pytest.raises(ConfigError, match="expected 0 to 23"):
        tokenizer.decode(torch.full((1, 2, 2), 24))


def test_without_scikit_learn(windows, monkeypatch):
    real = builtins.__import__

    def absent(name, *arguments, **options):
        if name.startswith("sklearn"):
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(MissingExtraError, match=r"scikit-learn.*pip install -e '\.\[train\]'"):
        fit_kmeans(windows, CONFIG)
