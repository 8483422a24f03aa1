"""Named sizes of BEiT, and the published checkpoints and tokenizers."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from typing import Any

from beit.config import BeitConfig
from beit.errors import ConfigError

# base and large: arXiv 2106.08254, section 2.5; tiny and small: the widths of DeiT (arXiv 2012.12877, table 1).
# Layer scale: 0.1 for base, 1e-5 for large (section 3.1).
SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"hidden_size": 192, "num_hidden_layers": 12, "num_attention_heads": 3, "intermediate_size": 768},
    "small": {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6, "intermediate_size": 1536},
    "base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
    "large": {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
        "layer_scale_init_value": 1e-5,
    },
}

# What the published pre-training runs use, where the documented defaults of BeitConfig differ: a shared relative
# position bias (the defaults have no position information), a mask token, and the original epsilon.
PRETRAINING: dict[str, Any] = {
    "use_mask_token": True,
    "use_shared_relative_position_bias": True,
    "layer_norm_eps": 1e-6,
}


def preset(size: str, **overrides: Any) -> BeitConfig:
    """Return the config of a named size, set up for pre-training.

    Args:
        size: "tiny", "small", "base" or "large".
        **overrides: Any option of `BeitConfig`, which wins over the preset.

    Raises:
        ConfigError: If there is no such size.
    """
    if size not in SIZES:
        raise ConfigError(f"there is no model size {size!r}; expected one of {list(SIZES)}")
    return BeitConfig(**{**SIZES[size], **PRETRAINING, **overrides})


_RELEASES = "https://github.com/addf400/files/releases/download"  # where microsoft/unilm keeps its files


@dataclass(frozen=True)
class PublicCheckpoint:
    """Published checkpoint.

    Attributes:
        original: Name of Microsoft's file, without ".pth".
        size: "base" or "large".
        image_size: Height and width of the input in pixels.
        task: What the model was trained for last.
        classes: Visual tokens or classes of its head.
        result: Result of its authors; "" where they give no result.
        hub: Its repository on the Hugging Face hub, if it has one there.
        timm: Its name in timm, if it has one there.
    """

    original: str
    size: str
    image_size: int
    task: str
    classes: int
    result: str = ""
    hub: str | None = None
    timm: str | None = None

    @property
    def url(self) -> str:
        """Address of Microsoft's own file."""
        release = "BEiT-v2" if self.original.startswith("beitv2") else "v1.0"
        return f"{_RELEASES}/{release}/{self.original}.pth"

    @property
    def spellings(self) -> tuple[str, ...]:
        """All its names; the owner before a hub name and ".pth" may be left out."""
        names = [self.original, f"{self.original}.pth"]
        if self.timm is not None:
            names += [self.timm, f"timm/{self.timm}"]
        if self.hub is not None:
            names += [self.hub, self.hub.removeprefix("microsoft/")]
        return tuple(names)


_PRETRAINED = "visual tokens (pre-trained)"
_IMAGENET_1K, _IMAGENET_22K = "ImageNet-1K classes", "ImageNet-22K classes"
_ADE20K = "ADE20K segmentation"


def _published(size: str, top_1: dict[str, str]) -> list[PublicCheckpoint]:
    """Return the checkpoints of BEiT in one size; `top_1` are the published results by what sets them apart."""
    file, hub, timm = f"beit_{size}_patch16", f"microsoft/beit-{size}-patch16", f"beit_{size}_patch16"
    rows = [
        PublicCheckpoint(f"{file}_224_pt22k", size, 224, _PRETRAINED, 8192, hub=f"{hub}-224-pt22k"),
        PublicCheckpoint(
            f"{file}_224_pt22k_ft22k", size, 224, _IMAGENET_22K, 21841,
            hub=f"{hub}-224-pt22k-ft22k", timm=f"{timm}_224.in22k_ft_in22k",
        ),
        PublicCheckpoint(f"{file}_224_pt22k_ft1k", size, 224, _IMAGENET_1K, 1000, top_1["ft1k"]),
    ]  # fmt: skip
    rows += [
        PublicCheckpoint(
            f"{file}_{pixels}_pt22k_ft22kto1k", size, int(pixels), _IMAGENET_1K, 1000, result,
            hub=f"{hub}-{pixels}", timm=f"{timm}_{pixels}.in22k_ft_in22k_in1k",
        )
        for pixels, result in top_1.items()
        if pixels.isdigit() and pixels != "640"
    ]  # fmt: skip
    ade = f"{file}_640_pt22k_ft22ktoade20k"
    return [*rows, PublicCheckpoint(ade, size, 640, _ADE20K, 150, top_1["640"],
                                    hub=f"microsoft/beit-{size}-finetuned-ade-640-640")]  # fmt: skip


def _published_v2(size: str, top_1: str) -> list[PublicCheckpoint]:
    """Return the checkpoints of BEiT v2 in one size."""
    file = f"beitv2_{size}_patch16_224"
    return [
        PublicCheckpoint(f"{file}_pt1k", size, 224, _PRETRAINED, 8192),
        PublicCheckpoint(f"{file}_pt1k_ft1k", size, 224, _IMAGENET_1K, 1000, top_1, timm=f"{file}.in1k_ft_in1k"),
        PublicCheckpoint(f"{file}_pt1k_ft21k", size, 224, _IMAGENET_22K, 21841, timm=f"{file}.in1k_ft_in22k"),
        PublicCheckpoint(f"{file}_pt1k_ft21kto1k", size, 224, _IMAGENET_1K, 1000, timm=f"{file}.in1k_ft_in22k_in1k"),
        PublicCheckpoint(f"{file}_pt1k_ftade20k", size, 512, _ADE20K, 150),
        PublicCheckpoint(f"{file}_pt1k_ft21ktoade20k", size, 512, _ADE20K, 150),
    ]


# Results: the README files of microsoft/unilm (beit, beit2) and the model cards; top-1 / top-5 in per cent on the
# ImageNet-1K validation set, mIoU on ADE20K for one scale (several scales and flips).
PUBLIC_CHECKPOINTS: tuple[PublicCheckpoint, ...] = (
    *_published(
        "base", {"ft1k": "83.7 / 96.6", "224": "85.2 / 97.6", "384": "86.820 / 98.124", "640": "53.61 (54.26) mIoU"}
    ),
    *_published(
        "large",
        {
            "ft1k": "86.0 / 97.6",
            "224": "87.396 / 98.282",
            "384": "88.408 / 98.602",
            "512": "88.600 / 98.658",
            "640": "56.7 (57.0) mIoU",
        },
    ),
    *_published_v2("base", "85.5"),
    *_published_v2("large", "87.3"),
)


@dataclass(frozen=True)
class RelatedCheckpoint:
    """Published checkpoint of another method with BEiT's architecture; everything that is not its name is on the hub.

    Attributes:
        hub: Its repository on the Hugging Face hub.
        size: "base" or "large".
        image_size: Height and width of the input in pixels.
        task: What the model was trained for last.
        classes: Visual tokens or classes of its head; 0 if it has none.
        result: Result of its authors; "" where they give none.
    """

    hub: str
    size: str
    image_size: int
    task: str
    classes: int
    result: str = ""


# DiT, BEiT on documents: arXiv 2203.02378 (accuracy in per cent on the test documents of RVL-CDIP); data2vec on
# pictures: arXiv 2202.03555 (top-1 in per cent on the ImageNet-1K validation set).
RELATED_CHECKPOINTS = (
    RelatedCheckpoint("microsoft/dit-base", "base", 224, "documents' visual tokens", 8192),
    RelatedCheckpoint("microsoft/dit-base-finetuned-rvlcdip", "base", 224, "RVL-CDIP documents", 16, "92.11"),
    RelatedCheckpoint("microsoft/dit-large", "large", 224, "documents' visual tokens", 8192),
    RelatedCheckpoint("microsoft/dit-large-finetuned-rvlcdip", "large", 224, "RVL-CDIP documents", 16, "92.69"),
    RelatedCheckpoint("facebook/data2vec-vision-base", "base", 224, "features of a teacher (pre-trained)", 0),
    RelatedCheckpoint("facebook/data2vec-vision-base-ft1k", "base", 224, _IMAGENET_1K, 1000, "84.2"),
    RelatedCheckpoint("facebook/data2vec-vision-large", "large", 224, "features of a teacher (pre-trained)", 0),
    RelatedCheckpoint("facebook/data2vec-vision-large-ft1k", "large", 224, _IMAGENET_1K, 1000, "86.6"),
)


@dataclass(frozen=True)
class PublicTokenizer:
    """Published tokenizer.

    Attributes:
        name: What it is loaded by.
        urls: Where its files are.
        image_size: Height and width in pixels of what it sees where the model sees 224.
        task: What it does.
        tokens: Size of its codebook.
    """

    name: str
    urls: tuple[str, ...]
    image_size: int
    task: str
    tokens: int

    @property
    def files(self) -> tuple[str, ...]:
        """The names of its files."""
        return tuple(url.rsplit("/", 1)[1] for url in self.urls)


# The discrete VAE whose tokens BEiT predicts ...
DALLE_TOKENIZER = PublicTokenizer(
    "openai/DALL-E",
    ("https://cdn.openai.com/dall-e/encoder.pkl", "https://cdn.openai.com/dall-e/decoder.pkl"),
    112,
    "image -> visual tokens -> image",
    8192,
)
# ... and those of BEiT v2, which distil CLIP or DINO (beit2/TOKENIZER.md of microsoft/unilm); their names carry the
# beginning of the SHA-256 of the file.
VQKD_TOKENIZERS = tuple(
    PublicTokenizer(file.split("-")[0], (f"{_RELEASES}/BEiT-v2/{file}.pth",), 224, "image -> visual tokens", 8192)
    for file in (
        "vqkd_encoder_base_decoder_1x768x12_clip-d93179da",
        "vqkd_encoder_base_decoder_3x768x12_clip-d5036aa7",
        "vqkd_encoder_base_decoder_1x768x12_dino-663c55d7",
    )
)
PUBLIC_TOKENIZERS = (DALLE_TOKENIZER, *VQKD_TOKENIZERS)


@dataclass(frozen=True)
class IncludedModel:
    """Model or tokenizer that the package brings.

    Attributes:
        name: What it is loaded by.
        task: What it does.
        image_size: Height and width in pixels of the pictures it was trained on.
        result: What it reaches; its card, README.md in its folder, says how that was measured.
        tokenizer: Name of the packaged tokenizer whose tokens it predicts.
    """

    name: str
    task: str
    image_size: int
    result: str
    tokenizer: str | None = None


PACKAGED_TOKENIZER = IncludedModel("beit/nano-cifar10-tokens", "image -> visual tokens -> image, 512", 32, "-")
PACKAGED_ENCODER = IncludedModel(
    "beit/nano-cifar10",
    "pre-trained on CIFAR-10, 512",
    32,
    "kNN 44.1 with 10 % of the labels",
    PACKAGED_TOKENIZER.name,
)
PACKAGED_CLASSIFIER = IncludedModel("beit/nano-cifar10-classifier", "classes of CIFAR-10, 10", 32, "accuracy 79.5")
PACKAGED_SEGMENTER = IncludedModel("beit/nano-camvid-segmenter", "classes of CamVid's pixels, 11", 80, "mean IoU 59.9")
INCLUDED_MODELS = (PACKAGED_SEGMENTER, PACKAGED_ENCODER, PACKAGED_CLASSIFIER, PACKAGED_TOKENIZER)

_BY_SPELLING = {name: checkpoint for checkpoint in PUBLIC_CHECKPOINTS for name in checkpoint.spellings}


def packaged_tokenizer(name: str) -> str | None:
    """Return the name of the packaged tokenizer whose tokens a packaged model predicts, None of any other model."""
    return next((known.tokenizer for known in INCLUDED_MODELS if known.name == name), None)


def published_names() -> list[str]:
    """Return one name of every model and tokenizer that is packaged or published: that on the hub, where it has one."""
    checkpoints = [one.hub or one.timm or one.original for one in PUBLIC_CHECKPOINTS]
    packaged = [one.name for one in (*INCLUDED_MODELS, *PUBLIC_TOKENIZERS)]
    return [*packaged, *checkpoints, *(one.hub for one in RELATED_CHECKPOINTS)]


def nearest_published(name: str) -> str:
    """Return "; did you mean X?" for the published or packaged model or tokenizer that is spelled most like a name."""
    others = [one.name for one in (*INCLUDED_MODELS, *PUBLIC_TOKENIZERS)] + [one.hub for one in RELATED_CHECKPOINTS]
    found = difflib.get_close_matches(name, [*_BY_SPELLING, *others], n=1, cutoff=0.8)
    return f"; did you mean {found[0]}?" if found and found[0] != name else ""


def public_checkpoint(name: str) -> PublicCheckpoint | None:
    """Return the published checkpoint of this name in any of its spellings, None if there is none.

    Asked for by its timm name, or if it is nowhere else on the hub, its `hub` is timm's repository.
    """
    found = _BY_SPELLING.get(name)
    if found is None or found.timm is None:
        return found
    by_timm_name = name in (found.timm, f"timm/{found.timm}")
    return replace(found, hub=f"timm/{found.timm}") if by_timm_name or found.hub is None else found
