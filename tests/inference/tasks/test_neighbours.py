"""Nearest pictures of a folder, beside scikit-learn's search; by blocks, by faiss, and from the command line."""

import csv
import json
import os
import sys
from types import ModuleType

import numpy as np
import pyarrow.parquet as parquet
import pytest
from PIL import Image
from sklearn.neighbors import NearestNeighbors

from beit.cli.main import main
from beit.errors import ConfigError, DataError
from beit.inference.predictor import Predictor
from beit.inference.tasks import nearest
from beit.inference.tasks.nearest import Nearest
from tests.inference.conftest import classifier, pretrained

__all__ = ["classifier", "pretrained"]


def loaded(folder):
    return Predictor.from_pretrained(folder, device="cpu")


class FaissIndex:
    """The part of faiss's exact index that is used; its order of equal ones is another."""

    def __init__(self, width):
        self.vectors = np.zeros((0, width), np.float32)

    def add(self, vectors):
        self.vectors = np.concatenate([self.vectors, vectors])

    def search(self, queries, k):
        similar = queries @ self.vectors.T
        found = np.argsort(-similar[:, ::-1], axis=1, kind="stable")[:, :k]
        places = similar.shape[1] - 1 - found
        return np.take_along_axis(similar, places, axis=1), places


@pytest.fixture(params=["blocks", "small blocks", "faiss"])
def way(request, monkeypatch):
    if request.param == "small blocks":
        monkeypatch.setattr(nearest, "_BLOCK", 7)
    if request.param == "faiss":
        module = ModuleType("faiss")
        module.IndexFlatIP = FaissIndex
        monkeypatch.setitem(sys.modules, "faiss", module)
    monkeypatch.setattr(nearest, "find_spec", lambda _: request.param == "faiss" or None)


@pytest.mark.usefixtures("way")
def test_the_search_is_exact():
    rng = np.random.default_rng(0)
    vectors, queries = rng.normal(size=(60, 16)).astype(np.float32), rng.normal(size=(9, 16)).astype(np.float32)
    distances, places = NearestNeighbors(n_neighbors=8, metric="cosine").fit(vectors).kneighbors(queries)
    found, similar = Nearest(vectors)(queries, 8)
    assert np.array_equal(found, places)
    assert np.allclose(similar, 1 - distances, atol=1e-6)
    assert Nearest(vectors)(queries, 99)[0].shape == (9, 60), "all of them"
    alone, _ = Nearest(vectors)(queries[:1], 8)
    assert np.array_equal(alone, found[:1])


@pytest.mark.usefixtures("way")
def test_of_equally_similar_ones_the_first_are_found():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(300, 32)).astype(np.float32)
    alike = np.sort(rng.choice(300, 40, replace=False))
    vectors[alike] = vectors[alike[0]]
    found, similar = Nearest(vectors)(vectors[[alike[0], alike[0]]], 5)
    assert found.tolist() == [alike[:5].tolist()] * 2
    assert similar == pytest.approx(np.ones((2, 5)), abs=1e-6)
    assert Nearest(vectors)(vectors[alike[:1]], 60)[0][0, :40].tolist() == alike.tolist()


def test_vectors_of_zeros_are_like_none():
    found, similar = Nearest(np.array([[0, 0], [3, 4], [-1, 0]], np.float32))(np.array([[6, 8]], np.float32), 3)
    assert found.tolist() == [[1, 0, 2]]
    assert similar[0] == pytest.approx([1, 0, -0.6], abs=1e-6)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("options", [{}, {"layer": 1}, {"layer": 1, "pooling": "attentive", "size": (16, 40)}])
def test_neighbours_are_those_of_the_embeddings(classifier, pictures, options):
    predictor = loaded(classifier)
    paths = sorted(pictures.rglob("*.png"))
    vectors = np.stack([one.vector for one in predictor.embed(paths, **options)])
    search = NearestNeighbors(n_neighbors=4, metric="cosine").fit(vectors)
    distances, places = search.kneighbors()  # without a picture itself
    found = predictor.neighbours(paths, pictures, k=4, **options)
    assert [one.paths for one in found] == [[str(paths[place]) for place in row] for row in places]
    assert np.allclose([one.similarities for one in found], 1 - distances, atol=1e-5)


def test_a_file_of_the_folder_is_not_its_own_neighbour(classifier, pictures, tmp_path):
    predictor = loaded(classifier)
    paths = sorted(pictures.rglob("*.png"))
    (tmp_path / "link.png").symlink_to(paths[0])
    (tmp_path / "copy.png").write_bytes(paths[0].read_bytes())
    for own in (paths[0], os.path.relpath(paths[0]), tmp_path / "link.png"):
        (found,) = predictor.neighbours(own, pictures, k=99)
        assert sorted(found.paths) == [str(path) for path in paths[1:]]
    for other in (tmp_path / "copy.png", Image.open(paths[0]), paths[0].read_bytes()):
        (found,) = predictor.neighbours(other, pictures, k=1)
        assert found.paths == [str(paths[0])]
        assert found.similarities == pytest.approx([1], abs=1e-6)


def test_the_folder_is_read_once(classifier, pictures, monkeypatch):
    from beit.inference.tasks import folder

    read = []
    monkeypatch.setattr(
        folder, "read_picture", lambda path, bands: read.append(path) or Image.open(path).convert("RGB")
    )
    predictor, paths = loaded(classifier), sorted(pictures.rglob("*.png"))
    for k in (1, 3):
        predictor.neighbours(paths, pictures, k=k, batch_size=2)
    assert read == paths


def test_broken_pictures_of_the_folder_are_named(classifier, pictures, caplog):
    (pictures / "cat" / "0.png").write_text("no picture")
    (found,) = loaded(classifier).neighbours(pictures / "cat" / "1.png", pictures, k=99)
    assert len(found.paths) == 10
    assert "left out of --among" in caplog.text
    assert "0.png is not a picture" in caplog.text


def test_what_is_wrong(classifier, pictures, tmp_path):
    predictor = loaded(classifier)
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.png").write_text("no picture")
    picture = pictures / "cat" / "0.png"
    for folder, message in (
        ("absent", "absent is no folder; expected one of pictures"),
        ("empty", "there are no pictures in"),
        ("broken", "no picture in .*broken can be read"),
    ):
        with pytest.raises(DataError, match=message):
            predictor.neighbours(picture, tmp_path / folder)
    for options, message in (
        ({"k": 0}, "k is 0; expected at least 1"),
        ({"layer": "1,2"}, "expected one layer and pooling"),
        ({"pooling": None}, "expected one layer and pooling"),
        ({"layer": 3}, "layer is 3; expected 1 to 2"),
    ):
        with pytest.raises(ConfigError, match=message):
            predictor.neighbours(picture, pictures, **options)
    with pytest.raises(ConfigError, match="among is missing; expected the folder of pictures to search"):
        predictor.ask("neighbours", picture)


def predict(*arguments):
    return main(["predict", *map(str, arguments), "--task=neighbours", "--device=cpu"])


def test_files_have_a_row_per_neighbour(classifier, pictures, tmp_path, capsys):
    among = f"--among={pictures}"
    for ending in ("jsonl", "csv", "parquet"):
        assert predict(classifier, pictures, among, "--k=3", "--layer=1", f"--output={tmp_path / f'a.{ending}'}") == 0
    paths = sorted(pictures.rglob("*.png"))
    expected = loaded(classifier).neighbours(paths, pictures, k=3, layer=1)
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert lines == [{"picture": str(path), **one.to_json()} for path, one in zip(paths, expected, strict=True)]
    flat = [
        {"picture": str(path), **neighbour}
        for path, one in zip(paths, expected, strict=True)
        for neighbour in one.to_json()["neighbours"]
    ]
    assert parquet.read_table(tmp_path / "a.parquet").to_pylist() == flat
    table = list(csv.DictReader((tmp_path / "a.csv").open()))
    assert list(table[0]) == ["picture", "rank", "neighbour", "similarity"]
    assert table == [{name: str(value) for name, value in row.items()} for row in flat]
    capsys.readouterr()
    assert predict(classifier, paths[0], among, "--k=1") == 0
    (best,) = loaded(classifier).neighbours(paths[0], pictures, k=1)
    assert capsys.readouterr().out == f"{paths[0]}  {best.paths[0]} {best.similarities[0]:.3f}\n"
    assert predict(classifier, paths[0]) == 1
    assert "among is missing" in capsys.readouterr().err


def test_a_job_does_not_continue_with_other_pictures_to_search(classifier, pictures, tmp_path, capsys):
    output = tmp_path / "a.csv"
    arguments = (classifier, pictures / "cat", f"--among={pictures / 'dog'}", f"--output={output}")
    assert predict(*arguments) == 0
    Image.new("RGB", (20, 20)).save(pictures / "dog" / "new.png")
    assert predict(*arguments) == 1
    assert "begun with other pictures" in capsys.readouterr().err


def test_no_client_of_a_service_names_folders(classifier):
    from fastapi.testclient import TestClient

    from beit.service import create_app

    client = TestClient(create_app({"pets": loaded(classifier)}), base_url="http://localhost")
    assert "neighbours" not in client.get("/v1/models").json()["models"][0]["tasks"]
    assert "neighbours" not in [task["name"] for task in client.get("/v1/tasks").json()["tasks"]]
    assert client.post("/v1/neighbours", files={"file": b"a"}).status_code == 404
