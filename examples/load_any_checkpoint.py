"""Load a BEiT of any layout, describe it, and write it as a folder that beit and transformers read.

    python examples/load_any_checkpoint.py beitv2_base_patch16_224.in1k_ft_in22k_in1k copy/

It takes a folder, a file (Hugging Face, timm, Microsoft, Flax), a repository of the hub, or a published name as
`beit models` lists them. No pickle is executed. Needs beit alone.
"""

import sys

from beit import Predictor

name, output = sys.argv[1:]
predictor = Predictor.from_pretrained(name)
model = predictor.runner.model

print(f"{type(model).__name__} of {sum(parameter.numel() for parameter in model.parameters()):,} parameters")
print(f"{model.config.image_hw} pixels in patches of {model.config.patch_hw}, {model.config.num_hidden_layers} layers")
print(f"it can {', '.join(sorted(predictor.tasks))}; classes: {predictor.classes[:5]}")
print(model.load_report)  # what was left out, made new or resized

model.save_pretrained(output)
predictor.preprocessing.save_pretrained(output)
