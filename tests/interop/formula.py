"""The encoder written out from arXiv 2106.08254, in double precision: right where transformers is not."""

import torch
from safetensors.torch import load_file
from torch.nn import functional

ACTIVATIONS = {
    "gelu": functional.gelu,
    "relu": functional.relu,
    "gelu_new": lambda x: functional.gelu(x, approximate="tanh"),
    "selu": functional.selu,
}


def formula(folder, config, pixels, mask=None):
    """Return all hidden states, attention maps and pooled features of a saved BeitModel, for any picture size."""
    tensors = {name: tensor.double() for name, tensor in load_file(f"{folder}/model.safetensors").items()}
    heads, eps = config.num_attention_heads, config.layer_norm_eps
    rows, columns = (image // patch for image, patch in zip(config.image_hw, config.patch_hw, strict=True))

    def linear(name, x):
        return x @ tensors[f"{name}.weight"].T + tensors.get(f"{name}.bias", torch.zeros(()))

    def norm(name, x):
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + eps).sqrt()
        return scaled * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]

    def bias(name):
        table = tensors[f"{name}relative_position_bias.relative_position_bias_table"]
        own = table[:-3].T.reshape(1, heads, 2 * rows - 1, 2 * columns - 1)
        size = (2 * height - 1, 2 * width - 1)
        offsets = functional.interpolate(own, size=size, mode="bilinear", align_corners=False)[0]
        y, x = torch.arange(height * width) // width, torch.arange(height * width) % width
        whole = table[-1][:, None, None].expand(-1, 1 + len(y), 1 + len(y)).clone()
        whole[:, 0, 1:], whole[:, 1:, 0] = table[-3][:, None], table[-2][:, None]
        whole[:, 1:, 1:] = offsets[:, y[:, None] - y + height - 1, x[:, None] - x + width - 1]
        return whole

    projection = "embeddings.patch_embeddings.projection"
    patches = functional.conv2d(
        pixels.double(), tensors[f"{projection}.weight"], tensors[f"{projection}.bias"], stride=config.patch_hw
    )
    height, width = patches.shape[2:]
    tokens = patches.flatten(2).transpose(1, 2)
    if mask is not None:
        tokens = torch.where(mask[..., None], tensors["embeddings.mask_token"], tokens)
    tokens = torch.cat((tensors["embeddings.cls_token"].expand(len(tokens), -1, -1), tokens), dim=1)
    if config.use_absolute_position_embeddings:
        positions = tensors["embeddings.position_embeddings"][0]
        own = positions[1:].T.reshape(1, -1, rows, columns)
        resized = functional.interpolate(own, size=(height, width), mode="bicubic", align_corners=False)
        tokens = tokens + torch.cat((positions[:1], resized.flatten(2)[0].T))
    hidden, maps = [tokens], []
    for index in range(config.num_hidden_layers):
        layer = f"encoder.layer.{index}"
        normed = norm(f"{layer}.layernorm_before", tokens)
        query, key, value = (
            linear(f"{layer}.attention.attention.{part}", normed).unflatten(-1, (heads, -1)).transpose(1, 2)
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        if config.use_relative_position_bias:
            scores = scores + bias(f"{layer}.attention.attention.")
        if config.use_shared_relative_position_bias:
            scores = scores + bias("encoder.")
        maps.append(scores.softmax(-1))
        attended = linear(f"{layer}.attention.output.dense", (maps[-1] @ value).transpose(1, 2).flatten(2))
        tokens = tokens + tensors.get(f"{layer}.lambda_1", 1.0) * attended
        inner = ACTIVATIONS[config.hidden_act](
            linear(f"{layer}.intermediate.dense", norm(f"{layer}.layernorm_after", tokens))
        )
        tokens = tokens + tensors.get(f"{layer}.lambda_2", 1.0) * linear(f"{layer}.output.dense", inner)
        hidden.append(tokens)
    if config.use_mean_pooling:
        return hidden, maps, norm("pooler.layernorm", tokens[:, 1:].mean(1))
    return hidden, maps, norm("layernorm", tokens)[:, 0]
