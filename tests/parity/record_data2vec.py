"""Records the outputs of transformers' data2vec vision models: `python -m tests.parity.record_data2vec`.

The models are tiny and of random weights. Every parameter is drawn, so that none is a zero or a one that hides what is
done with it, and running statistics too.
"""

import json

import numpy as np
import torch
import transformers

from tests.conftest import GOLDEN

FOLDER = GOLDEN / "data2vec"
TINY = {
    "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 64, "image_size": 32,
    "patch_size": 8, "drop_path_rate": 0.0, "out_indices": [1, 2, 3, 4], "auxiliary_channels": 16,
}  # fmt: skip
CASES = {
    "model": ("Data2VecVisionModel", {"use_shared_relative_position_bias": True, "use_mask_token": True}),
    "model_cls": ("Data2VecVisionModel", {"use_mean_pooling": False, "use_absolute_position_embeddings": True}),
    "classify": ("Data2VecVisionForImageClassification", {"use_relative_position_bias": True, "num_labels": 5}),
    "segment": ("Data2VecVisionForSemanticSegmentation", {"use_relative_position_bias": True, "num_labels": 6}),
}


def record(name, kind, options):
    """Write a folder with the model, its config, and what it gives for two pictures of noise."""
    generator = torch.Generator().manual_seed(len(name))
    config = transformers.Data2VecVisionConfig(**TINY, **options)
    config._attn_implementation = "eager"  # the one that returns attention maps
    model = getattr(transformers, kind)(config).eval()
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(0.2 * torch.randn(tensor.shape, generator=generator))
        for key, tensor in model.state_dict().items():
            if key.endswith("running_var"):
                tensor.abs_().add_(0.5)
    inputs = {"pixel_values": torch.randn(2, 3, 32, 32, generator=generator)}
    if options.get("use_mask_token"):
        inputs["bool_masked_pos"] = torch.rand(2, 16, generator=generator) < 0.4
    if name == "classify":
        inputs["labels"] = torch.tensor([1, 4])
    if name == "segment":
        inputs["labels"] = torch.randint(0, 6, (2, 32, 32), generator=generator)
        inputs["labels"][0, :8] = 255
    with torch.no_grad():
        output = model(**inputs, output_hidden_states=True, output_attentions=True)
    arrays = {key: value.numpy() for key, value in inputs.items()}
    for key, value in output.items():
        for number, one in enumerate(value if isinstance(value, tuple) else (value,)):
            arrays[f"{key}_{number}" if isinstance(value, tuple) else key] = one.numpy()
    model.save_pretrained(FOLDER / name)
    np.savez_compressed(FOLDER / name / "io.npz", **arrays)
    case = {"class": kind, "inputs": list(inputs), "transformers": transformers.__version__}
    (FOLDER / name / "case.json").write_text(json.dumps(case, indent=2) + "\n")


if __name__ == "__main__":
    for name, (kind, options) in CASES.items():
        record(name, kind, options)
