"""A hub on this machine that has a small checkpoint under every published name."""

import json
import shutil
from contextlib import contextmanager
from dataclasses import replace

from beit import BeitImageProcessor, catalog
from tests.conftest import GOLDEN
from tests.fake_hub import FakeHub

FILES = "microsoft/files"  # where the fake hub keeps what was published elsewhere
RELEASE = "BEIT_DOCS_RELEASE"  # environment variable: the address of those files


def _stand_in(task):
    """Return the recorded case for a task: of Hugging Face, timm, Microsoft's BEiT and BEiT v2."""
    if task.startswith("visual tokens"):
        return "hf_v4/mim", None, "unilm/pretrain", "unilm/beit2_pretrain"
    if "segmentation" in task:
        return "hf_v4/segment", None, "unilm/segment", "unilm/segment"
    return "hf_v4/classify_single", "timm/beit", "unilm/finetune", "unilm/beit2_finetune"


def _related(known, folder):
    """Return the recorded case for a checkpoint of another method, with the processor that those on the hub have."""
    if known.hub.startswith("facebook"):
        case = "data2vec/classify" if known.classes else "data2vec/model"
    else:
        case = "hf_v4/classify_single" if "rvlcdip" in known.hub else "hf_v4/mim"
    place = folder / "related" / case
    if not place.exists():
        shutil.copytree(GOLDEN / case, place)
        BeitImageProcessor(size=32, do_center_crop=False).save_pretrained(place)
    return place


@contextmanager
def published_stand_ins(folder):
    """Yield the hub and the variables that point another process to it and to Microsoft's and OpenAI's files."""
    files = folder / "files"
    files.mkdir(parents=True)
    with FakeHub() as hub:
        for known in catalog.PUBLIC_CHECKPOINTS:
            hugging_face, timm, original, original_v2 = _stand_in(known.task)
            if known.hub is not None:
                hub.add(known.hub, _segmenter(folder) if "segment" in hugging_face else GOLDEN / hugging_face)
            if known.timm is not None:
                hub.add(f"timm/{known.timm}", GOLDEN / ("timm/beitv2" if "v2" in known.original else timm))
            case = original_v2 if "v2" in known.original else original
            shutil.copy(GOLDEN / case / "checkpoint.pth", files / f"{known.original}.pth")
        for related in catalog.RELATED_CHECKPOINTS:
            hub.add(related.hub, _related(related, folder))
        for name in ("encoder.pkl", "decoder.pkl"):
            shutil.copy(GOLDEN / "dalle" / name, files / name)
        hub.add(FILES, files)
        address = hub.address(FILES, "encoder.pkl").rsplit("/", 1)[0]
        yield hub, {**hub.environment(folder / "home"), RELEASE: address}


def _segmenter(folder):
    """Return the recorded segmentation model as if it read the layers that the published ones read."""
    segmenter = folder / "segmenter"
    if not segmenter.exists():
        shutil.copytree(GOLDEN / "hf_v4/segment", segmenter)
        config = json.loads((segmenter / "config.json").read_text())
        config |= {"out_indices": [1, 2, 3, 5], "out_features": ["stage1", "stage2", "stage3", "stage5"]}
        (segmenter / "config.json").write_text(json.dumps(config))
    return segmenter


def use_release(address):
    """Make this process fetch what Microsoft and OpenAI published from `address`."""
    from beit.weights import dalle

    catalog.PublicCheckpoint.url = property(lambda self: f"{address}/{self.original}.pth")
    names = ("encoder.pkl", "decoder.pkl")
    dalle.DALLE_TOKENIZER = replace(catalog.DALLE_TOKENIZER, urls=tuple(f"{address}/{name}" for name in names))
