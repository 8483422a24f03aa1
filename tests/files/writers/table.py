"""The table of all writers, with the small models that some of them need."""

from beit import BeitConfig
from beit.tokenizer import DiscreteVAEConfig

SMALL = {"image_size": 32, "patch_size": 8, "hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2,
         "intermediate_size": 32, "vocab_size": 32, "num_labels": 2, "use_relative_position_bias": True}  # fmt: skip
CONFIG = BeitConfig(**SMALL, out_indices=[1, 2, 3, 4])
CODEBOOK = DiscreteVAEConfig(vocab_size=16, hidden_size=4, blocks_per_group=1, groups=2, decoder_input_size=4)

WRITERS = {}


def writer(*files):
    """Take up a function that makes a writer: given a folder for what it needs, it returns what writes into another."""

    def add(make):
        WRITERS[make.__name__] = (make, files)
        return make

    return add
