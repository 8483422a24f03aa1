"""Random options of models, drawn by Hypothesis."""

from hypothesis import strategies as st

from tests.interop.formula import ACTIVATIONS

POSITIONS = (
    "use_absolute_position_embeddings",
    "use_relative_position_bias",
    "use_shared_relative_position_bias",
)
flags = st.booleans()


@st.composite
def cases(draw, sound=True, whole_patch=False, depth=(1, 4), least=1, pooling=flags):
    """Draw (options, input size); `sound` keeps to what transformers 5.23 computes right."""
    patch = draw(st.sampled_from([4, 8] if sound and whole_patch else [4, 8, 4, [4, 8]]))
    patch_hw = (patch, patch) if isinstance(patch, int) else tuple(patch)
    knows_patch = isinstance(patch, int) or not sound  # of a pair it only knows the patches themselves
    positions = {name: draw(flags) and (knows_patch or name == POSITIONS[0]) for name in POSITIONS}
    image = own_size(draw, patch_hw, least, square=sound and any(positions.values()))
    heads = draw(st.integers(1, 4))
    options = {
        "hidden_size": heads * draw(st.sampled_from([4, 6, 8])),
        "num_attention_heads": heads,
        "num_hidden_layers": draw(st.integers(*depth)),
        "intermediate_size": draw(st.integers(4, 40)),
        "hidden_act": draw(st.sampled_from(["gelu", "relu", "gelu_new"] if sound else list(ACTIVATIONS))),
        "layer_norm_eps": draw(st.sampled_from([1e-12, 1e-6, 1e-2])),
        "layer_scale_init_value": draw(st.sampled_from([0.1, 0.1, 0.0])),
        "num_channels": draw(st.integers(1, 4)),
        "image_size": image[0] if image[0] == image[1] else list(image),
        "patch_size": patch,
        "vocab_size": 11,
        "use_mask_token": draw(flags),
        "use_mean_pooling": draw(pooling),
        **positions,
    }
    if draw(st.sampled_from(["resized", "own size"])) == "own size" or not knows_patch:
        return options, image
    counts = [
        draw(st.sampled_from([count for count in range(least, 6) if count * length != own]))
        for own, length in zip(image, patch_hw, strict=True)
    ]
    return options, (counts[0] * patch_hw[0], counts[1] * patch_hw[1])


def own_size(draw, patch_hw, least, square):
    """Draw a picture size; transformers 5.23 takes every table of positions for that of a square."""
    height, width = (draw(st.integers(least, 4)) * length for length in patch_hw)
    return (width, width) if square else (height, width)


@st.composite
def segmentations(draw):
    """Draw (options, input size) of a segmentation model."""
    options, size = draw(cases(whole_patch=True, depth=(4, 6), least=2))
    layers = range(1, options["num_hidden_layers"] + 1)
    convs = draw(st.integers(0, 2))
    options |= {
        "drop_path_rate": 0.0,  # random in training
        "num_labels": draw(st.integers(2, 5)),
        "out_indices": sorted(draw(st.sets(st.sampled_from(layers), min_size=4, max_size=4))),
        "pool_scales": draw(st.lists(st.integers(1, 6), min_size=1, max_size=3)),
        "use_auxiliary_head": draw(flags),
        "auxiliary_num_convs": convs,
        "auxiliary_channels": draw(st.integers(2, 9)) if convs else options["hidden_size"],
        "auxiliary_concat_input": draw(flags),
        "auxiliary_loss_weight": draw(st.sampled_from([0.0, 0.4, 1.5])),
        "semantic_loss_ignore_index": draw(st.sampled_from([255, -1, 0])),
    }
    return options, size


@st.composite
def backbones(draw):
    """Draw (options, input size) of a backbone."""
    pyramid = draw(flags)
    kept = {"use_mask_token": False, "use_mean_pooling": True}
    options, size = draw(cases(whole_patch=True, depth=(4, 6) if pyramid else (1, 4), least=2))
    stages = range(options["num_hidden_layers"] + 1)
    chosen = st.sets(st.sampled_from(stages), min_size=4 if pyramid else 1, max_size=4)
    options |= kept | {"add_fpn": pyramid, "reshape_hidden_states": pyramid or draw(flags)}
    indices = sorted(draw(chosen))
    names = ["stem", *(f"stage{layer}" for layer in stages[1:])]
    by_name = draw(flags) and not pyramid  # it checks the indices of a pyramid before it knows them from names
    return options | ({"out_features": [names[i] for i in indices]} if by_name else {"out_indices": indices}), size
