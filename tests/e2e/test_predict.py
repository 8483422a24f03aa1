"""Predictions of many pictures through the command line: every form of input and output, kills, Ray."""

import csv
import json
import shutil
import signal
import time

import av
import numpy as np
import pyarrow.parquet as parquet
import pytest
import ray
import torch
from PIL import Image

from beit import BeitForImageClassification, BeitForMaskedImageModeling, DiscreteVAE, DiscreteVAEConfig, preset
from beit.cli.main import main
from beit.image import Preprocessing
from beit.inference.jobs import inputs, job, pipeline, state
from beit.inference.predictor import Predictor
from beit.models_torch.masked_patch_decoder import DECODER_NAME
from beit.models_torch.scene import FILE_NAME
from tests.conftest import TINY_MODEL
from tests.e2e.small import start
from tests.shards import write_parquet, write_shards


def saved(model, folder):
    model.save_pretrained(folder)
    Preprocessing((32, 32), (36, 36)).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(0)
    one = BeitForImageClassification(preset("tiny", **TINY_MODEL, id2label={0: "cat", 1: "dog", 2: "eel"}))
    torch.nn.init.normal_(one.classifier.weight)
    return saved(one, tmp_path_factory.mktemp("models") / "classifier")


@pytest.fixture
def chunks_of_five(monkeypatch):
    for module in (job, inputs, pipeline):
        monkeypatch.setattr(module, "CHUNK", 5)


def predict(*arguments):
    return main(["predict", *map(str, arguments), "--device=cpu"])


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_pictures_for_a_model_of_the_hub_are_read_as_it_has_learnt(model, tmp_path, monkeypatch):
    place = shutil.copytree(model, tmp_path / "model")
    Preprocessing((32, 32), (36, 36), value_range=(0, 1000)).save_pretrained(place)
    found = {path.name: path for path in place.iterdir()}
    monkeypatch.setattr("beit.hub.repository._on_the_hub", lambda repository, name, options: found.get(name))
    values = np.random.default_rng(0).integers(0, 1000, (40, 40)).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    assert predict("owner/model", tmp_path / "deep.png", "--output", tmp_path / "a.jsonl") == 0
    (expected,) = Predictor.from_pretrained(place).classify(str(tmp_path / "deep.png"))
    assert rows(tmp_path / "a.jsonl")[0]["predictions"] == expected.to_json()["predictions"]


@pytest.mark.usefixtures("chunks_of_five")
def test_rows_are_what_the_predictor_says_in_every_format(model, pictures, tmp_path):
    """Also of pictures divided into chunks, in the order of their paths."""
    assert predict(model, pictures, "--output", tmp_path / "a.jsonl", "--top_k=2", "--batch_size=4") == 0
    assert predict(model, pictures, "--output", tmp_path / "a.csv", "--top_k=2", "--batch_size=4") == 0
    assert predict(model, pictures, "--output", tmp_path / "a.parquet", "--top_k=2", "--batch_size=4") == 0
    written = rows(tmp_path / "a.jsonl")
    paths = sorted(pictures.rglob("*.png"))
    answers = Predictor.from_pretrained(model, device="cpu").classify(paths, top_k=2)
    assert [row["picture"] for row in written] == [str(path) for path in paths]
    for row, answer in zip(written, answers, strict=True):
        assert [pair["label"] for pair in row["predictions"]] == answer.labels
        assert [pair["probability"] for pair in row["predictions"]] == pytest.approx(answer.probabilities, abs=1e-5)
    table = list(csv.DictReader((tmp_path / "a.csv").open()))
    assert list(table[0]) == ["picture", "label_1", "probability_1", "label_2", "probability_2"]
    assert [line["label_2"] for line in table] == [row["predictions"][1]["label"] for row in written]
    stored = parquet.read_table(tmp_path / "a.parquet").to_pylist()
    assert [row["picture"] for row in stored] == [row["picture"] for row in written]
    assert stored[3]["predictions"][0]["probability"] == pytest.approx(written[3]["predictions"][0]["probability"])


def test_embeddings_of_tar_and_parquet_shards_are_those_of_their_pictures(model, tmp_path):
    write_shards(tmp_path / "tar", pictures=12, shards=2)
    write_parquet(tmp_path / "parquet", pictures=12, shards=2)
    found = {}
    for kind in ("tar", "parquet"):
        output = tmp_path / f"{kind}_embeddings.parquet"
        assert predict(model, tmp_path / kind, "--task=embed", "--output", output) == 0
        found[kind] = parquet.read_table(output)
    assert found["tar"].num_rows == found["parquet"].num_rows == 12
    assert found["tar"]["embedding"].type.value_type == "float"
    tar, rows_of_parquet = (np.stack(found[kind]["embedding"].to_numpy()) for kind in ("tar", "parquet"))
    assert np.array_equal(tar, rows_of_parquet)
    assert found["tar"]["picture"][0].as_py().endswith("train-000.tar/part/000000.png")
    pattern = str(tmp_path / "tar" / "train-{000..001}.tar")
    assert predict(model, pattern, "--task=embed", "--output", tmp_path / "pattern.csv") == 0
    table = list(csv.reader((tmp_path / "pattern.csv").open()))
    assert np.allclose(np.array([line[1:] for line in table[1:]], dtype=np.float32), tar)


def test_real_photographs(model, real_data, tmp_path):
    folder = real_data / "imagenet_samples"
    if not folder.is_dir():
        pytest.skip(f"needs photographs in {folder}")
    assert predict(model, folder, "--output", tmp_path / "real.jsonl") == 0
    assert len(rows(tmp_path / "real.jsonl")) == len(list(folder.iterdir()))


@pytest.mark.usefixtures("chunks_of_five")
def test_broken_pictures_and_shards_are_named_and_the_rest_is_done(model, pictures, tmp_path, capsys):
    (pictures / "cat" / "3.png").write_bytes((pictures / "cat" / "3.png").read_bytes()[:-40])
    (pictures / "dog" / "1.png").write_text("no picture")
    output = tmp_path / "a.jsonl"
    assert predict(model, pictures, "--output", output) == 1
    said = capsys.readouterr()
    assert "cat/3.png is broken" in said.err
    assert "dog/1.png is not a picture" in said.err
    assert "10 pictures in" in said.out
    assert "2 broken" in said.out
    assert len(rows(output)) == 10
    assert predict(model, pictures, "--output", output) == 1, "as before: it is done"
    assert "2 broken" in capsys.readouterr().out
    write_shards(tmp_path / "tar", pictures=12, shards=2)
    (tmp_path / "tar" / "train-001.tar").write_bytes(b"no tar file" * 100)
    assert predict(model, tmp_path / "tar", "--output", tmp_path / "b.jsonl") == 1
    said = capsys.readouterr()
    assert "train-001.tar cannot be read" in said.err
    assert "6 pictures in" in said.out


@pytest.mark.usefixtures("chunks_of_five")
def test_other_pictures_of_equal_names_and_sizes_are_not_continued_with(model, pictures, tmp_path, monkeypatch, capsys):
    for path in pictures.rglob("*.png"):
        Image.new("RGB", (40, 30), "red").save(path.with_suffix(".bmp"))
        path.unlink()
    output = tmp_path / "a.jsonl"
    with monkeypatch.context() as patched:
        after_first_chunk(patched, lambda: pytest.fail("killed"))
        with pytest.raises(pytest.fail.Exception):
            predict(model, pictures, "--output", output)
    for path in pictures.rglob("*.bmp"):
        Image.new("RGB", (40, 30), "blue").save(path)
    assert predict(model, pictures, "--output", output) == 1
    assert "was begun with other pictures" in capsys.readouterr().err


@pytest.mark.usefixtures("chunks_of_five")
def test_pictures_that_go_meanwhile_are_done_when_they_are_back(model, pictures, tmp_path, monkeypatch, capsys):
    whole, output, away = tmp_path / "whole.jsonl", tmp_path / "a.jsonl", tmp_path / "away"
    assert predict(model, pictures, "--output", whole, "--workers=1", "--batch_size=1") == 0
    with monkeypatch.context() as patched:
        after_first_chunk(patched, lambda: pictures.rename(away))
        assert predict(model, pictures, "--output", output, "--workers=1", "--batch_size=1") == 1
    said = capsys.readouterr().err
    assert "does not exist" in said
    assert "have gone while they were read; put them back, and the same command does the rest" in said
    assert 5 <= len(rows(output)) < len(rows(whole))
    away.rename(pictures)
    assert predict(model, pictures, "--output", output, "--workers=1", "--batch_size=1") == 0
    assert output.read_bytes() == whole.read_bytes()
    assert not (tmp_path / ".a.jsonl.predict" / "chunks").exists()


@pytest.mark.usefixtures("chunks_of_five")
@pytest.mark.parametrize(("output", "task", "beside"), [("a.jsonl", "embed", ".a.jsonl.predict"), ("a", "attend", "a")])
def test_a_job_whose_state_is_moved_does_not_end_with_the_rest(
    model, pictures, tmp_path, monkeypatch, capsys, output, task, beside
):
    command = (model, pictures, "--task", task, "--output", tmp_path / output)
    with monkeypatch.context() as patched:
        after_first_chunk(patched, lambda: (tmp_path / beside).rename(tmp_path / "moved"))
        assert predict(*command) == 1
    assert f"{beside} has gone while the job wrote it; remove what has its name now" in capsys.readouterr().err
    assert not (tmp_path / output).exists()
    (tmp_path / "moved").rename(tmp_path / beside)
    for lock in (tmp_path / beside).rglob("lock"):
        lock.unlink()  # whose process would have ended
    assert predict(*command) == 0
    assert "12 pictures in" in capsys.readouterr().out


def after_first_chunk(patched, act):
    """Let something happen once the first chunk of a job is on the disk."""
    keep, kept = state.JobState.keep, []

    def keep_and_act(self, chunk):
        keep(self, chunk)
        kept.append(chunk)
        if len(kept) == 1:
            act()

    patched.setattr(state.JobState, "keep", keep_and_act)


def test_a_killed_job_continues_to_the_same_file(model, tmp_path):
    """Killed twice from outside, wherever it was; no chunk that was done is computed again."""
    write_shards(tmp_path / "tar", pictures=1600, shards=2)
    whole, output = tmp_path / "whole.csv", tmp_path / "killed.csv"
    assert predict(model, tmp_path / "tar", "--output", whole, "--batch_size=8") == 0
    chunks = tmp_path / ".killed.csv.predict" / "chunks"
    command = ["predict", model, tmp_path / "tar", "--output", output, "--batch_size=8", "--device=cpu"]
    kept = {}
    for wanted in (2, 4):
        process = start(*command)
        limit = time.monotonic() + 120
        while time.monotonic() < limit and process.poll() is None and len(found := done(chunks)) < wanted:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        found = done(chunks)
        assert len(found) >= wanted
        assert not output.exists()
        assert {name: found[name] for name in kept} == kept, "what was there is left as it was"
        kept = found
    (chunks / ".00000005-00000000-last.jsonl.1.tmp").write_text("torn")
    assert predict(*command[1:-1]) == 0
    assert output.read_bytes() == whole.read_bytes()
    assert not chunks.exists()
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.endswith(".tmp")) == []


def done(chunks):
    return {path.name: path.stat().st_mtime_ns for path in chunks.glob("*-last.jsonl")} if chunks.is_dir() else {}


def test_a_file_of_weights_is_known_with_what_is_read_beside_it(model, pictures, tmp_path, capsys):
    assert {FILE_NAME, DECODER_NAME} <= {*job._BESIDE}
    weights, output = shutil.copytree(model, tmp_path / "model") / "model.safetensors", tmp_path / "a.jsonl"
    assert predict(weights, pictures, "--output", output) == 0
    assert predict(weights, pictures, "--output", output) == 0
    Preprocessing((32, 32), (64, 64)).save_pretrained(weights.parent)
    assert predict(weights, pictures, "--output", output) == 1
    assert "was begun with another model; expected the same arguments" in capsys.readouterr().err


@pytest.mark.usefixtures("chunks_of_five")
def test_other_arguments_do_not_continue(model, pictures, tmp_path, capsys):
    output = tmp_path / "a.jsonl"
    assert predict(model, pictures, "--output", output) == 0
    before = output.read_bytes()
    assert predict(model, pictures, "--output", output, "--workers=1") == 0, "which change nothing in it"
    for other, message in (("--top_k=1", "begun with top_k 5, now 1"), ("--batch_size=2", "begun with batch_size 32")):
        assert predict(model, pictures, "--output", output, other) == 1
        assert message in (said := capsys.readouterr().err)
        assert f"or remove it and {tmp_path}/.a.jsonl.predict to start afresh" in said
    Image.new("RGB", (20, 20)).save(pictures / "cat" / "new.png")
    assert predict(model, pictures, "--output", output) == 1
    assert "begun with other pictures" in capsys.readouterr().err
    assert output.read_bytes() == before
    (tmp_path / "mine.csv").write_text("something else")
    assert predict(model, pictures, "--output", tmp_path / "mine.csv") == 1
    assert "exists, and no job of predictions made it" in capsys.readouterr().err
    assert (tmp_path / "mine.csv").read_text() == "something else"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output=out.txt"], "ends in .txt; to classify expected .jsonl or .csv or .parquet"),
        (["--output=out"], "ends in nothing; to classify expected .jsonl"),
        (
            ["--output=out.csv", "--task=attend"],
            "of attend cannot be written as csv; expected jsonl or parquet",
        ),
        (["--output=out.csv", "--format=pictures"], "the results of classify cannot be written as pictures"),
        (
            ["--task=segment", "--output=out"],
            "cannot segment: expected one of: classify, embed, neighbours, attend, features",
        ),
        (["--task=attend"], "--output is missing; to attend, name a folder"),
        (["--engine=ray"], "--output is missing; with --engine ray"),
        (["--top_k=0"], "top_k is 0; expected at least 1"),
        (["--batch_size=0"], "batch_size: input should be greater than or equal to 1, got 0"),
        (["--workers=0"], "workers: input should be greater than or equal to 1, got 0"),
        (["--precision=float16"], "precision: expected one of ['auto', 'fp32', 'bf16', 'fp16'], got float16"),
        (["--dtype=bfloat16"], "there is no setting 'dtype'; did you mean precision?"),
        (["--seed=3"], "--seed is an option of reconstruct, and --task is classify; leave it out"),
        (["--share=2", "--task=reconstruct", "--output=out"], "share is 2.0; expected a number above 0, at most 1"),
        (["--patch=[9, 0]", "--task=attend", "--output=out"], "patch is (9, 0); expected a row of 0 to 3"),
    ],
)
def test_wrong_arguments(model, pictures, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert predict(model, pictures, *arguments) == 1
    assert message in capsys.readouterr().err


def test_places_that_hold_nothing_or_too_much(model, pictures, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert predict(model, tmp_path / "empty") == 1
    assert "there are no pictures in" in capsys.readouterr().err
    assert predict(model, tmp_path / "absent") == 1
    assert "absent does not exist" in capsys.readouterr().err
    assert predict(model, pictures / "cat", pictures / "dog") == 0  # rows have the whole path
    places = (pictures / "cat", pictures / "dog", "--task=attend", f"--output={tmp_path}/out", "--patch=[0, 0]")
    assert predict(model, *places) == 1
    assert "two files are called '0.png'" in capsys.readouterr().err
    write_shards(pictures, pictures=4, shards=1)
    Image.new("RGB", (20, 20)).save(pictures / "beside.png")
    assert predict(model, pictures) == 1
    assert "holds shards and pictures; name the shards" in capsys.readouterr().err


@pytest.mark.usefixtures("chunks_of_five")
def test_the_frames_of_a_film_continue_too(model, tmp_path, monkeypatch):
    film = tmp_path / "ride.mp4"
    with av.open(str(film), "w") as out:
        stream = out.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for number in range(13):
            picture = Image.new("RGB", (48, 32), (number * 19, 90, 10))
            out.mux(stream.encode(av.VideoFrame.from_image(picture)))
        out.mux(stream.encode())
    assert predict(model, film, "--output", tmp_path / "whole.jsonl") == 0
    written = rows(tmp_path / "whole.jsonl")
    assert [row["picture"] for row in written] == [f"{film}#{number:06d}" for number in range(13)]

    class StoppedError(Exception):
        pass

    keep = pipeline.Pipeline.__call__

    def stop_after_one(self, todo):
        yield next(keep(self, todo))
        raise StoppedError

    with monkeypatch.context() as stopped:
        stopped.setattr(pipeline.Pipeline, "__call__", stop_after_one)
        with pytest.raises(StoppedError):
            predict(model, film, "--output", tmp_path / "again.jsonl")
    assert not (tmp_path / "again.jsonl").exists()
    assert predict(model, film, "--output", tmp_path / "again.jsonl") == 0
    assert (tmp_path / "again.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_pictures_of_attention_and_of_reconstructions(model, pictures, tmp_path, capsys):
    looked = tmp_path / "looked"
    assert predict(model, pictures / "cat", "--task=attend", "--patch=[1, 2]", "--output", looked, "--json") == 0
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["name"] for row in printed] == [str(number) for number in range(6)]
    assert printed[0] == json.loads((looked / "0.json").read_text())
    assert printed[0]["patch"] == [1, 2]
    assert Image.open(looked / "5_attention.png").size == (32, 32)

    torch.manual_seed(1)
    pretrained = saved(BeitForMaskedImageModeling(preset("tiny", **TINY_MODEL)), tmp_path / "pretrained")
    tokenizer = tmp_path / "tokenizer"
    config = DiscreteVAEConfig(vocab_size=64, hidden_size=8, groups=2, blocks_per_group=1, decoder_input_size=8)
    DiscreteVAE(config).save_pretrained(tokenizer)
    painted = tmp_path / "painted"
    arguments = [pretrained, pictures / "dog", "--task=reconstruct", "--output", painted]
    assert predict(*arguments) == 1
    assert "no tokenizer is given" in capsys.readouterr().err
    assert predict(*arguments, "--tokenizer", tokenizer, "--share=0.5") == 0, "nothing was begun by what could not"
    for what in ("picture", "masked", "reconstruction"):
        assert Image.open(painted / f"3_{what}.png").size == (32, 32)
    DiscreteVAE(config).save_pretrained(tokenizer)
    assert predict(*arguments, "--tokenizer", tokenizer, "--share=0.5") == 1
    assert "was begun with another tokenizer; expected the same arguments" in capsys.readouterr().err
    assert 1 <= len(json.loads((painted / "3.json").read_text())["mask"]) <= 8


def test_pictures_of_long_names_are_drawn_under_shorter_ones(model, pictures, tmp_path, capsys):
    named = tmp_path / "named"
    deep = named.joinpath(*(letter * 60 for letter in "abcde"))
    deep.mkdir(parents=True)
    places = [deep / "0.png", deep / "1.png", named / f"{'n' * 251}.png"]
    for place, picture in zip(places, sorted((pictures / "cat").iterdir()), strict=False):
        place.write_bytes(picture.read_bytes())
    assert predict(model, named, "--task=attend", "--output", tmp_path / "looked", "--json") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["picture"] for row in rows] == [str(place) for place in places]
    assert len({row["name"] for row in rows}) == 3, "the two whose names begin alike do not share one"
    assert predict(model, named, "--task=attend", "--output", named / "looked") == 1
    assert "looked lies inside" in capsys.readouterr().err
    for row in rows:
        assert Image.open(tmp_path / "looked" / f"{row['name']}_attention.png").size == (32, 32)


def test_rows_that_an_earlier_command_printed_are_counted(model, pictures, tmp_path, capsys):
    arguments = [model, pictures / "cat", "--output", tmp_path / "a.jsonl", "--json"]
    assert predict(*arguments) == 0
    shown = capsys.readouterr()
    assert (len(shown.out.splitlines()), shown.err) == (6, "")
    assert predict(*arguments) == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "6 pictures done before by this command, printed then; " in shown.err


def test_frames_do_not_take_the_place_of_pictures_that_were_made_of_them(model, pictures, tmp_path, capsys):
    picture = sorted((pictures / "cat").iterdir())[0].read_bytes()
    for name in ("ride_000001.png", "ride_later.png", "other_000001.png"):
        (tmp_path / name).write_bytes(picture)
    (tmp_path / "ride.mp4").write_bytes(b"a film")
    places = [tmp_path / name for name in ("ride.mp4", "ride_later.png", "ride_000001.png", "other_000001.png")]
    assert predict(model, *places, "--task=attend", "--output", tmp_path / "looked") == 1
    said = capsys.readouterr().err
    assert "'ride_000001' is called like a frame of 'ride'; the results of one would replace the other's" in said
    assert not (tmp_path / "looked").exists()


def test_a_ray_cluster_writes_the_same_file(model, tmp_path, capsys):
    """A local cluster of two workers; one shard has a broken picture."""
    write_shards(tmp_path / "tar", pictures=600, shards=2)
    local, spread = tmp_path / "local.jsonl", tmp_path / "spread.jsonl"
    shard = tmp_path / "tar" / "train-000.tar"
    shard.write_bytes(shard.read_bytes().replace(b"PNG", b"GNP", 1))
    assert predict(model, tmp_path / "tar", "--output", local) == 1
    assert predict(model, tmp_path / "tar", "--output", spread, "--engine=ray", "--workers=2") == 1
    assert "1 broken" in capsys.readouterr().out
    assert not ray.is_initialized(), "the cluster that it began is gone"
    assert spread.read_bytes() == local.read_bytes()


def test_without_ray_its_extra_is_named(model, pictures, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    assert predict(model, pictures, "--output", tmp_path / "a.jsonl", "--engine=ray") == 1
    assert "pip install -e '.[ray]'" in capsys.readouterr().err


def test_without_a_model_those_of_the_package_are_asked(pictures, tmp_path, capsys, caplog):
    few = tmp_path / "few"  # a scene is looked at in many windows
    few.mkdir()
    for path in sorted(pictures.rglob("*.png"))[:2]:
        shutil.copy(path, few)
    assert predict(few, "--output", tmp_path / "classes.jsonl") == 0
    rows = [json.loads(line) for line in (tmp_path / "classes.jsonl").read_text().splitlines()]
    asked = Predictor.from_pretrained(device="cpu").classify(few)
    assert [row["predictions"][0]["label"] for row in rows] == [one.label for one in asked]
    assert caplog.text.count("no model is named: taking beit/nano-cifar10-classifier") == 2
    assert predict(few, "--task=embed", "--layer=best", "--output", tmp_path / "vectors.npy") == 0
    found = Predictor.from_pretrained("beit/nano-cifar10", device="cpu").embed(few, layer="best")
    np.testing.assert_allclose(np.load(tmp_path / "vectors.npy"), [one.vector for one in found], atol=1e-5)
    assert predict(few, "--task=segment", "--output", tmp_path / "maps") == 0
    maps, kinds = [path.name for path in (tmp_path / "maps").glob("**/*.png")], 3  # numbers, colours, overlay
    assert len(maps) == kinds * len(found)
