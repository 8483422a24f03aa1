"""Shards on an object store and on a web server are those on the disk: pictures, labels, hash and batches."""

import os
import pickle
from contextlib import contextmanager

import numpy as np
import pytest

from beit.data import Augmentation, BatchOrder, Collate, ViewDataset, Views, fingerprint, open_source, training_batches
from beit.errors import ConnectionLostError, DataError, GoneError
from beit.hub import persistence
from beit.image import Preprocessing
from tests.e2e.small import CODEBOOK, MODEL, beit
from tests.shards import write_parquet, write_shards
from tests.web_server import web_server

boto3 = pytest.importorskip("boto3")
PICTURES, SHARDS = 24, 3
RUN = [
    *MODEL, *(f"--tokenizer.codebook.{option}" for option in CODEBOOK), "--tokenizer.train.max_steps=2",
    "--tokenizer.train.batch_size=8", "--tokenizer.optim.warmup_steps=0", "--mask.count=7", "--mask.min_block=2",
    "--data.workers=1", "--data.shuffle_window=12", "--augment.flip=0", "--train.max_steps=12", "--train.batch_size=8",
    "--optim.warmup_steps=2", "--run.device=cpu", "--run.save_every=4", "--run.log_every=1", "--run.report=false",
    "--monitor.every=0",
]  # fmt: skip
VIEWS = Views(Preprocessing((16, 16), (18, 18)), Augmentation(color_jitter=0.4))


@contextmanager
def object_store(folder):
    """Serve the files of a folder as a bucket."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    try:
        client = boto3.client(
            "s3",
            endpoint_url=address,
            region_name="us-east-1",
            aws_access_key_id="a",
            aws_secret_access_key="b",  # noqa: S106
        )
        client.create_bucket(Bucket="pictures")
        for path in folder.rglob("*"):
            if path.is_file():
                client.upload_file(str(path), "pictures", path.relative_to(folder).as_posix())
        yield address
    finally:
        server.stop()


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    write_shards(folder / "tar", PICTURES, SHARDS, label=lambda number: number % 3)
    write_parquet(folder / "parquet", PICTURES, SHARDS)
    return folder


@pytest.fixture(scope="module")
def store(shards):
    with object_store(shards) as address:
        yield address


@pytest.fixture(scope="module")
def site(shards):
    with web_server(shards) as running:
        yield running


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, tmp_path, store):
    monkeypatch.setattr(persistence, "_WAITS", (0.01,))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name, value in {
        "AWS_ENDPOINT_URL": store, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "eu-1",
        "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)


def batches(source, workers):
    dataset = ViewDataset(source, VIEWS, 0, replace_broken=False)
    order = BatchOrder(len(source), 8, 6, 0, 0, 0, 1, 12, source.shard_sizes, 1)
    return [
        (batch.indices, {name: tensor.numpy() for name, tensor in batch.tensors.items()})
        for batch in training_batches(dataset, order, Collate(0), workers)
    ]


@pytest.mark.e2e
@pytest.mark.parametrize("kind", ["tar", "parquet"])
@pytest.mark.parametrize("where", ["folder", "pattern", "braces", "web"])
def test_everything_is_as_on_the_disk(shards, site, kind, where):
    local = open_source(str(shards / kind))
    name = "train-{000..002}.tar" if kind == "tar" else "train-{00000..00002}-of-00003.parquet"
    address = {
        "folder": f"s3://pictures/{kind}", "pattern": f"s3://pictures/{kind}/train-*.{kind}",
        "braces": f"s3://pictures/{kind}/{name}", "web": f"{site.url}/{kind}/{name}",
    }[where]  # fmt: skip
    remote = open_source(address)
    assert len(remote) == PICTURES
    assert remote.classes == local.classes
    assert np.array_equal(remote.labels, local.labels)
    assert list(remote.contents()) == list(local.contents())
    assert fingerprint(remote) == fingerprint(local)
    assert remote.name(5).rpartition("/")[2] == local.name(5).rpartition("/")[2]
    for (indices, tensors), (expected, wanted) in zip(batches(remote, 1), batches(local, 0), strict=True):
        assert indices == expected
        assert tensors.keys() == wanted.keys()
        assert all(np.array_equal(tensors[part], wanted[part]) for part in wanted)


def test_the_headers_are_read_once(site):
    address = f"{site.url}/tar/train-{{000..002}}.tar"
    open_source(address)
    site.requests.clear()
    assert len(open_source(address)) == PICTURES
    assert site.fetched() <= SHARDS, "only whether ranges are given is asked for"


def test_one_that_is_missing_is_named_and_left_out(site):
    source = open_source(f"{site.url}/tar/train-{{000..003}}.tar")
    assert len(source) == PICTURES
    assert [(shard.name, shard.reason) for shard in source.broken_shards] == [
        (f"{site.url}/tar/train-003.tar", f"{site.url}/tar/train-003.tar cannot be read: there is no such file")
    ]


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("s3://nowhere/*.tar", "no such bucket|no tar or parquet file"),
        ("s3://nowhere/a.tar", "there is no such"),
        ("s3://pictures/other", "no tar or parquet file matches data path 's3://pictures/other'"),
        ("https://example.org/a.zip", "is a zip file; expected a folder or a .tar"),
        ("https://example.org/a.tar.gz", "is compressed"),
    ],
)
def test_what_is_not_there(address, words):
    with pytest.raises(DataError, match=words):
        open_source(address)


def test_without_credentials(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    import fsspec

    fsspec.filesystem("s3").clear_instance_cache()
    with pytest.raises(DataError, match="there are no credentials for it; set AWS_PROFILE"):
        open_source("s3://pictures/tar/*.tar")
    fsspec.filesystem("s3").clear_instance_cache()


def test_a_lost_network_is_no_broken_picture(site, shards):
    source = open_source(f"{site.url}/tar/train-000.tar")
    source.open(0)
    site.busy = 10**6
    try:
        with pytest.raises(ConnectionLostError, match="the same command continues"):
            ViewDataset(source, VIEWS, 0, replace_broken=True)[0, 1]
    finally:
        site.busy = 0


@pytest.mark.parametrize("name", ["tar/train-000.tar", "parquet/train-{00000..00002}-of-00003.parquet"])
def test_what_changes_or_goes_there_is_no_broken_picture(site, name):
    source = open_source(f"{site.url}/{name}")
    pickled = pickle.dumps(source)
    path = min((site.folder / name.split("/")[0]).iterdir())
    content = path.read_bytes()
    try:
        for change in (lambda: path.write_bytes(content[::-1]), path.unlink):
            change()
            with pytest.raises(GoneError, match=r"has changed since it was listed|there is no such file"):
                pickle.loads(pickled).load(0)  # noqa: S301  # as a worker process that is not forked gets it
    finally:
        path.write_bytes(content)


def test_a_copy_of_a_parquet_file_is_fetched_when_it_is_needed(site, tmp_path):
    source = open_source(f"{site.url}/parquet/train-{{00000..00002}}-of-00003.parquet")
    assert not list((tmp_path / "cache").rglob("*.parquet"))
    source.fetch([0], [])
    assert len(list((tmp_path / "cache").rglob("*.parquet"))) == 1
    assert os.listdir(tmp_path / "cache/beit")


@pytest.mark.e2e
def test_a_run_is_that_of_the_same_files_on_a_disk(site, shards, tmp_path):
    """Also when it is killed and continues."""
    local = [f"--data.path={shards}/tar/train-{{000..002}}.tar", *RUN]
    remote = [f"--data.path={site.url}/tar/train-{{000..002}}.tar", *RUN]
    ended = beit("pretrain", *local, f"--run.output={tmp_path}/whole")
    assert not any(ended.statuses), ended.errors
    tokenizer = f"--tokenizer.path={tmp_path}/whole/tokenizer/model"
    run = tmp_path / "run"
    killed = beit("pretrain", *remote, tokenizer, f"--run.output={run}", kill_after=run / "checkpoints/step_00000004")
    assert killed.statuses == [-9], killed.errors
    ended = beit("pretrain", *remote, tokenizer, f"--run.output={run}")
    assert not any(ended.statuses), ended.errors
    assert "continuing" in ended.stdout
    weights = [(folder / "model/model.safetensors").read_bytes() for folder in (run, tmp_path / "whole")]
    assert weights[0] == weights[1]
