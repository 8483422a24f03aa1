"""Models with what lies beside them (decoders, adapters, scenes, scores), and options and headers of requests."""

import asyncio
import io
import json
import shutil
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import httpx
import torch
from fastapi import FastAPI
from PIL import Image

from beit import BeitConfig, BeitForImageClassification, BeitForMaskedImageModeling
from beit.evaluation.features.kept_features import read_attentive, write_attentive
from beit.hub.repository import included_folder
from beit.inference.predictor import Predictor
from beit.models_torch import MaskedPatchDecoder
from beit.models_torch.masked_patch_decoder import DECODER_NAME
from beit.service import ServiceSettings, create_app
from tests.campaigns.target import Target

SMALL = {"image_size": 32, "patch_size": 16, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
         "intermediate_size": 8, "vocab_size": 8}  # fmt: skip
PROBE = {"seed": 0}


def model_targets(place: Path) -> dict[str, Target]:
    """Return the targets; `place` is for what libraries write by name."""
    return {
        "decoder": decoder(place / "decoder"),
        **adapters(place / "adapters"),
        **segmenter(),
        "attentive scores": scores(place),
        "options": Target("request", requests(), answered),
        "headers": Target("request", heads(), answered),
    }


def decoder(place: Path) -> Target:
    """Return the decoder of masked patches beside a model."""
    options = {"use_absolute_position_embeddings": True, "use_mask_token": True}
    model = BeitForMaskedImageModeling(BeitConfig(**SMALL, **options))
    place.mkdir()
    MaskedPatchDecoder(model).save_file(place / DECODER_NAME)
    content = (place / DECODER_NAME).read_bytes()
    return Target(DECODER_NAME, [content], lambda path: MaskedPatchDecoder.from_file(model, path))


def adapters(place: Path) -> dict[str, Target]:
    """Return the files of an adapter as peft writes it, loaded as a model and into one."""
    from peft import LoraConfig, get_peft_model  # which imports transformers: seconds of every process of the tests

    BeitForImageClassification(BeitConfig(**SMALL)).save_pretrained(place / "base")
    base = BeitForImageClassification.from_pretrained(place / "base")
    kind = LoraConfig(r=2, target_modules=["query", "value"], modules_to_save=["classifier"])
    get_peft_model(base, kind).save_pretrained(str(place / "adapter"))
    names = ("adapter_config.json", "adapter_model.safetensors")
    config, weights = ((place / "adapter" / name).read_bytes() for name in names)

    def load(path: Path) -> object:  # an adapter may name a model of the hub, and nothing else may be asked for
        return BeitForImageClassification.from_pretrained(path.parent, local_files_only=True)

    def add(path: Path) -> object:
        model = BeitForImageClassification.from_pretrained(place / "base")
        model.load_adapter(str(path.parent))
        return model

    return {
        "peft weights": Target(names[1], [weights], load, {names[0]: config}),
        "added adapter": Target(names[1], [weights], add, {names[0]: config}),
        "added adapter config": Target(names[0], [config], add, {names[1]: weights}),
    }


def segmenter() -> dict[str, Target]:
    """Return the small files of the packaged segmenter, each beside the other sound ones."""
    folder = Path(included_folder("beit/nano-camvid-segmenter") or "")
    files = {path.name: path.read_bytes() for path in folder.iterdir()}

    def load(path: Path) -> object:
        return Predictor.from_pretrained(str(path.parent), device="cpu")

    def part(name: str) -> Target:
        return Target(name, [files[name]], load, {other: files[other] for other in files if other != name})

    names = ("scene_inference.json", "preprocessor_config.json", "config.json")
    return {f"segmenter {name.partition('.')[0]}": part(name) for name in names}


def scores(place: Path) -> Target:
    """Return the kept scores of an attentive probe."""
    from beit.evaluation.features.attentive import AttentiveScores

    write_attentive(place / "a.attentive.json", PROBE, AttentiveScores(0.5, 1, 2, 0.4, 10))
    content = (place / "a.attentive.json").read_bytes()
    return Target("a.attentive.json", [content], lambda path: read_attentive(path, PROBE))


SCENES = "nano-camvid-segmenter"
MODELS = {"classify": "nano-cifar10-classifier", "segment": SCENES}
FIELDS: dict[str, dict[str, str]] = {
    "classify": {"top_k": "2"},
    "embed": {"layer": "1,2", "pooling": "mean"},
    "reconstruct": {"mask": "[[0, 1], [2, 3]]", "share": "0.4", "seed": "7"},
    "features": {"patch": "0,1", "layer": "2"},
    "attend": {"patch": "0,1", "layer": "1"},
    "segment": {},
}
PLAIN = "content-type: multipart/form-data; boundary=b\nhost: 127.0.0.1\n"


def body(fields: dict[str, str]) -> bytes:
    """Return a form with a picture."""
    buffer = io.BytesIO()
    Image.new("RGB", (24, 20), "red").save(buffer, "PNG")
    parts = [f'name="{name}"\r\n\r\n{value}'.encode() for name, value in fields.items()]
    parts += [b'name="file"; filename="a.png"\r\n\r\n' + buffer.getvalue()]
    return b"".join(b"--b\r\nContent-Disposition: form-data; " + part + b"\r\n" for part in parts) + b"--b--\r\n"


def requests() -> list[bytes]:
    """Return requests with the options of every task: path, headers, an empty line, and the body."""
    return [f"/v1/{task}\n{PLAIN}\n".encode() + body(fields) for task, fields in FIELDS.items()]


def heads() -> list[bytes]:
    """Return requests with many headers."""
    more = "accept: text/*;q=0.5\nauthorization: Bearer abc\norigin: http://127.0.0.1\nexpect: 100-continue\n"
    coding = "content-encoding: gzip\ntransfer-encoding: chunked\nrange: bytes=0-9\nx-forwarded-for: ::1\n"
    form = 'content-type: multipart/form-data; boundary="b"; charset=utf-16\n'
    kinds = [PLAIN + more, PLAIN + coding, form + "host: localhost:80\n" + more]
    return [f"/v1/classify\n{kind}\n".encode() + body({}) for kind in kinds]


def small_scenes() -> Predictor:
    """Return the packaged segmenter with one window for a square scene: those of a street take it eight seconds."""
    with TemporaryDirectory() as place:
        shutil.copytree(included_folder(f"beit/{SCENES}") or "", place, dirs_exist_ok=True)
        file = Path(place, "scene_inference.json")
        file.write_text(json.dumps(json.loads(file.read_text()) | {"shorter_side": 80, "scales": [1.0]}))
        return Predictor.from_pretrained(place, device="cpu")


@cache
def service() -> tuple[asyncio.AbstractEventLoop, FastAPI]:
    """Return a service of small models of every task, and the loop that it runs in."""
    torch.set_num_threads(1)
    names = ("nano-cifar10", "nano-cifar10-classifier")
    models = {name: Predictor.from_pretrained(f"beit/{name}", device="cpu") for name in names}
    models[SCENES] = small_scenes()
    return asyncio.new_event_loop(), create_app(models, ServiceSettings(max_upload_mb=1, max_pixels=10_000))


def answered(path: Path) -> int:
    """Send a request to a service, whose answer is none of a failure and says nothing of the inside."""
    top, _, content = path.read_bytes().partition(b"\n\n")
    target, *lines = top.split(b"\n")
    headers = [
        (name.strip().lower()[:99], value.strip()[:9999]) for name, _, value in (x.partition(b":") for x in lines)
    ]
    task = target.decode("latin-1").rpartition("/")[2]
    if b'name="model"' not in content:
        named = (
            b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\n' + MODELS.get(task, "nano-cifar10").encode()
        )
        content = named + b"\r\n" + content
    loop, app = service()

    address = httpx.URL("http://127.0.0.1/" + quote(target[:999].lstrip(b"/"), safe="/?&=%"))
    status, said = loop.run_until_complete(answer_of(app, address, headers, content))
    if status >= 500 and status != 503:
        raise AssertionError(f"the service answers {status}: {said[:500]}")
    if status >= 400 and not json.loads(said)["error"]["message"].isprintable():
        raise AssertionError(f"the service answers {said[:500]}")
    return status


async def answer_of(
    app: FastAPI, address: httpx.URL, headers: list[tuple[bytes, bytes]], content: bytes
) -> tuple[int, str]:
    """Send a request as a server hands it over, with whatever bytes as headers; clients refuse to send most of them."""
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": address.path, "raw_path": address.raw_path.partition(b"?")[0], "query_string": address.query,
        "root_path": "", "headers": headers, "client": ("127.0.0.1", 9), "server": ("127.0.0.1", 80),
    }  # fmt: skip
    sent, read, said = list[dict[str, Any]](), False, asyncio.Event()

    async def receive() -> dict[str, object]:
        nonlocal read
        if read:  # what follows the request is that the client has gone, after the answer
            await said.wait()
            return {"type": "http.disconnect"}
        read = True
        return {"type": "http.request", "body": content, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            said.set()

    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent).decode("utf-8", "replace")
