"""DiscreteVAEConfig: the size of a tokenizer."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from beit.config import CONFIG_NAME
from beit.errors import ConfigError

MODEL_TYPE = "beit-dvae"


@dataclass(frozen=True)
class DiscreteVAEConfig:
    """Size of a discrete VAE; the defaults are OpenAI's.

    Attributes:
        vocab_size: Codebook size V.
        hidden_size: Channels of the first group; group g has 2 ** g times as many.
        blocks_per_group: Residual blocks in each group.
        groups: Groups of blocks; each but the last halves height and width.
        decoder_input_size: Channels between the one-hot tokens and the first decoder group.
        channels: Colour channels.

    Source: openai/DALL-E `dall_e/encoder.py`, `dall_e/decoder.py` (arXiv 2102.12092, appendix A).
    """

    vocab_size: int = 8192
    hidden_size: int = 256
    blocks_per_group: int = 2
    groups: int = 4
    decoder_input_size: int = 128
    channels: int = 3

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be built."""
        for field in fields(self):
            value = getattr(self, field.name)
            least = 4 if field.name == "hidden_size" else 2 if field.name == "vocab_size" else 1
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConfigError(f"tokenizer {field.name} is {value!r}; expected a whole number of at least {least}")

    @property
    def patch_size(self) -> int:
        """Pixels per visual token, along each side."""
        return int(2 ** (self.groups - 1))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json` into an existing folder."""
        text = json.dumps({"model_type": MODEL_TYPE, **asdict(self)}, indent=2)
        (Path(folder) / CONFIG_NAME).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Read `config.json` of a tokenizer folder.

        Raises:
            ConfigError: If it is missing or describes something else.
        """
        path = Path(folder) / CONFIG_NAME
        try:
            options: Any = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise ConfigError(f"{path} does not exist; a tokenizer folder holds a {CONFIG_NAME}") from None
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ConfigError(
                f"{path} is not readable JSON ({error}); expected the {CONFIG_NAME} of a tokenizer"
            ) from None
        model_type = options.pop("model_type", None) if isinstance(options, dict) else None
        if model_type != MODEL_TYPE:
            raise ConfigError(f"{path} describes a model of type {model_type!r}; expected a tokenizer ({MODEL_TYPE!r})")
        unknown = options.keys() - {field.name for field in fields(cls)}
        if unknown:
            raise ConfigError(f"{path} has unknown keys {sorted(unknown)}; expected {[f.name for f in fields(cls)]}")
        return cls(**options)
