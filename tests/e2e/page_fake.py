"""A service that answers the HTTP API with plausible data, at once and without a model."""

import base64
import io
import json
import threading
import time
from contextlib import contextmanager

import numpy as np
import uvicorn
from fastapi import FastAPI, Form, Request, UploadFile
from fastapi.responses import JSONResponse
from PIL import Image

from beit.image.palette import palette
from beit.inference.page import mount_page

ROWS = COLS = 8
SIDE = 64
MODELS = [
    {"name": "pets", "tasks": ["classify", "embed", "attend"], "classes": ["<b>cat</b>", "dog", "magpie"]},
    {"name": "streets", "tasks": ["segment", "attend"], "classes": ["sky", "building", "road", "car"]},
    {"name": "pretrained", "tasks": ["attend", "reconstruct"], "classes": []},
]


def fake_app(models=MODELS, token=None, refusal=None):
    """token: what the API asks for; refusal: (status, message) that every task answers."""
    app = FastAPI()
    mount_page(app)

    @app.middleware("http")
    async def guard(request: Request, call_next):
        path = request.url.path
        if path.startswith("/v1") and token and request.headers.get("authorization") != f"Bearer {token}":
            return JSONResponse({"error": {"message": "a bearer token is needed"}}, 401)
        if refusal and path.startswith("/v1") and request.method == "POST":
            return JSONResponse({"error": {"message": refusal[1]}}, refusal[0])
        return await call_next(request)

    @app.get("/v1/models")
    def list_models():
        size = {"image_height": SIDE, "image_width": SIDE, "patch_size": SIDE // ROWS, "rows": ROWS, "cols": COLS}
        return {"models": [{**model, **size} for model in models]}

    @app.post("/v1/classify")
    def classify(file: UploadFile, model: str = Form()):
        names = next(known["classes"] for known in models if known["name"] == model)
        shares = [0.9, 0.08, 0.02]
        return {
            "model": model,
            "predictions": [{"label": name, "probability": share} for name, share in zip(names, shares, strict=False)],
        }

    @app.post("/v1/segment")
    def segment(file: UploadFile, model: str = Form()):
        width, height = Image.open(file.file).size
        labels = np.zeros((height, width), np.uint8)
        labels[height // 2 :] = 2
        colours = palette(4)
        rgba = np.concatenate([colours[labels], np.full((height, width, 1), 255, np.uint8)], -1)
        return {
            "model": model,
            "height": height,
            "width": width,
            "classes": [
                {"name": name, "colour": f"#{bytes(colours[index]).hex()}", "share": float((labels == index).mean())}
                for index, name in enumerate(MODELS[1]["classes"])
            ],
            "labels_png": png(Image.fromarray(labels)),
            "overlay_rgba_png": png(Image.fromarray(rgba)),
        }

    @app.post("/v1/attend")
    def attend(file: UploadFile, model: str = Form(), patch: str | None = Form(None)):
        at = [int(number) for number in patch.split(",")] if patch else None
        maps = np.random.default_rng(0).dirichlet(np.ones(ROWS * COLS), 3)
        picture = png(seen(file))
        return {"model": model, "rows": ROWS, "cols": COLS, "picture_png": picture, "maps": maps.tolist(), "patch": at}

    @app.post("/v1/reconstruct")
    def reconstruct(
        file: UploadFile,
        model: str = Form(),
        mask: str | None = Form(None),
        share: float = Form(0.4),
        seed: int = Form(0),
    ):
        hidden = (
            json.loads(mask) if mask else [[row, col] for row in range(2, 2 + round(share * ROWS)) for col in range(8)]
        )
        picture = seen(file)
        masked = picture.copy()
        for row, col in hidden:
            masked.paste("grey", (col * 8, row * 8, col * 8 + 8, row * 8 + 8))
        pngs = {"picture_png": png(picture), "masked_png": png(masked), "reconstruction_png": png(picture.convert("L"))}
        return {"model": model, "rows": ROWS, "cols": COLS, "mask": hidden, **pngs}

    return app


def seen(file):
    return Image.open(file.file).convert("RGB").resize((SIDE, SIDE))


def png(picture):
    buffer = io.BytesIO()
    picture.save(buffer, "png")
    return base64.b64encode(buffer.getvalue()).decode()


@contextmanager
def served(app):
    """The address of a server for the app, on a port that the system chooses."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()
