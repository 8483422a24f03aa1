"""Drawn patch features: in Python, from the command line and over HTTP."""

import base64
import io
import json

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from sklearn.decomposition import PCA

from beit.cli.main import main
from beit.errors import ConfigError, DataError
from beit.inference.predictor import Predictor
from beit.service import create_app
from tests.inference.conftest import classifier, pretrained
from tests.inference.tasks.test_embed import measured, noise

__all__ = ["classifier", "measured", "pretrained"]


def loaded(folder):
    return Predictor.from_pretrained(folder, device="cpu")


def colours_of(rows, shape):
    """The colours of patches by scikit-learn, with the sign of the largest loading."""
    pca = PCA(3, svd_solver="full").fit(rows.astype(np.float64))
    signs = np.sign(pca.components_[range(3), np.abs(pca.components_).argmax(1)])
    scores = pca.transform(rows) * signs / np.sqrt(pca.explained_variance_)
    return (255 * (0.5 + scores / 4).clip(0, 1)).reshape(*shape, 3), pca.explained_variance_ratio_


@pytest.mark.parametrize("size", [None, (24, 56)])
def test_colours_are_the_principal_components_of_a_layer(classifier, size):
    predictor = loaded(classifier)
    (dense,) = predictor.embed(noise(), layer=1, pooling=None, size=size)
    (found,) = predictor.features(noise(), layer=1, size=size)
    expected, shares = colours_of(dense.vector.reshape(-1, 32), dense.vector.shape[:2])
    assert np.abs(found.colours - expected).max() <= 0.51
    assert found.shares == pytest.approx(shares, abs=1e-5)
    assert (found.layer, found.layers, found.patch, found.similarities) == (1, 2, None, None)
    assert found.picture.size == found.colour_image().size == ((32, 32) if size is None else (56, 24))
    with pytest.raises(ConfigError, match="patch is None"):
        found.similarity_image()


def test_the_layer_is_the_best_where_one_was_measured(measured, classifier):
    assert loaded(measured).features(noise())[0].layer == 1
    assert loaded(measured).features(noise(), layer="last")[0].layer == 2
    assert loaded(classifier).features(noise())[0].layer == 2


def test_similarities_are_to_the_patch_that_is_named(classifier):
    predictor = loaded(classifier)
    (dense,) = predictor.embed(noise(), layer=1, pooling=None)
    (found,) = predictor.features(noise(), layer=1, patch=(1, 2))
    unit = dense.vector / np.linalg.norm(dense.vector, axis=-1, keepdims=True)
    assert np.allclose(found.similarities, unit @ unit[1, 2], atol=1e-5)
    assert found.similarity_image().size == (32, 32)


def test_pictures_of_a_folder_share_one_pca(classifier, pictures):
    predictor = loaded(classifier)
    paths = sorted(pictures.rglob("*.png"))
    dense = np.stack([one.vector for one in predictor.embed(paths, layer=1, pooling=None)])
    found = predictor.features(paths, layer=1, among=pictures)
    expected, shares = colours_of(dense.reshape(-1, 32), dense.shape[:3])
    assert np.abs(np.stack([one.colours for one in found]) - expected).max() <= 0.6
    assert found[0].shares == pytest.approx(shares, abs=1e-5)
    assert not np.array_equal(found[0].colours, predictor.features(paths[0], layer=1)[0].colours)


def test_the_background_is_black(classifier):
    (found,) = loaded(classifier).features(noise(), layer=1, foreground=True)
    black = (found.colours == 0).all(axis=-1)
    assert 0 < black.sum() < black.size


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"layer": "1,2"}, ConfigError, "expected one: a picture has one PCA"),
        ({"layer": 3}, ConfigError, "layer is 3; expected 1 to 2"),
        ({"patch": (4, 0)}, ConfigError, r"patch is \(4, 0\); expected a row of 0 to 3 and a column of 0 to 3"),
        ({"patch": (2, 0), "size": (16, 64)}, ConfigError, "expected a row of 0 to 1 and a column of 0 to 7"),
        ({"size": (16, 20)}, ConfigError, "width 20 is not a multiple of patch size 8"),
        ({"among": "absent"}, DataError, "absent is no folder"),
    ],
)
def test_what_is_wrong(classifier, options, error, message):
    with pytest.raises(error, match=message):
        loaded(classifier).features(noise(), **options)


def predict(*arguments):
    return main(["predict", *map(str, arguments), "--task=features", "--device=cpu"])


def test_pictures_and_rows_are_those_of_python(classifier, pictures, tmp_path, capsys):
    cats, drawn = pictures / "cat", tmp_path / "drawn"
    assert predict(classifier, cats, "--layer=1", "--patch=[1, 2]", f"--among={pictures}", f"--output={drawn}") == 0
    paths = sorted(cats.glob("*.png"))
    expected = loaded(classifier).features(paths, layer=1, patch=(1, 2), among=pictures)
    for path, one in zip(paths, expected, strict=True):
        for what, image in (
            ("picture", one.picture),
            ("pca", one.colour_image()),
            ("similarity", one.similarity_image()),
        ):
            assert np.array_equal(np.asarray(Image.open(drawn / f"{path.stem}_{what}.png")), np.asarray(image))
    assert predict(classifier, cats, "--foreground", f"--output={tmp_path / 'a.jsonl'}") == 0
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    plain = loaded(classifier).features(paths, foreground=True)
    assert rows == [{"picture": str(path), **one.to_json()} for path, one in zip(paths, plain, strict=True)]
    assert predict(classifier, cats) == 1
    assert "--output is missing; to draw features, name a folder" in capsys.readouterr().err


def test_the_service_says_what_python_says(measured):
    client = TestClient(create_app({"mim": loaded(measured)}), base_url="http://localhost")
    buffer = io.BytesIO()
    Image.fromarray(noise()).save(buffer, "PNG")

    def ask(**fields):
        return client.post("/v1/features", files={"file": buffer.getvalue()}, data=fields)

    (expected,) = loaded(measured).features(noise(), layer=2, patch=(1, 2), foreground=True)
    answer = ask(layer="2", patch="1,2", foreground="true").json()
    assert answer["similarities"] == pytest.approx(expected.similarities.ravel().tolist())
    assert (answer["rows"], answer["cols"], answer["layer"], answer["layers"], answer["patch"]) == (4, 4, 2, 2, [1, 2])
    for name, image in (("picture", expected.picture), ("colours", Image.fromarray(expected.colours))):
        sent = Image.open(io.BytesIO(base64.b64decode(answer[f"{name}_png"])))
        assert np.array_equal(np.asarray(sent), np.asarray(image))
    plain = ask().json()
    assert (plain["layer"], plain["patch"], plain["similarities"]) == (1, None, None)
    for fields in (
        {"among": "pictures"},
        {"size": "32,32"},
        {"layer": "1,2"},
        {"patch": "9,9"},
        {"foreground": "maybe"},
    ):
        assert ask(**fields).status_code == 422, fields
