"""Settings that `--help` shows: what is required, and the handful that people set. `--help-all` shows every one.

A command that is not listed has so few that its `--help` shows them all.
"""

from __future__ import annotations

_RUN = "run.output run.device train.batch_size train.epochs optim.lr"
_PICTURES = "data.path data.workers device batch_size"
COMMON = {
    command: frozenset(names.split())
    for command, names in {
        "beit pretrain": f"data.path tokenizer.path checkpoint model.size model.image_size {_RUN}",
        "beit finetune": f"data.path data.labels data.val_path checkpoint freeze model.image_size lora.rank {_RUN}",
        "beit distill": (
            "teacher.path teacher.logits teacher.features teacher.attention data.path data.val_path checkpoint "
            f"model.size model.image_size {_RUN}"
        ),
        "beit segment": (
            "data.path data.val_path label_maps.path label_maps.classes label_maps.ignored label_maps.val_path "
            f"checkpoint model.image_size {_RUN}"
        ),
        "beit tokenizer train": f"data.path image_size codebook.vocab_size {_RUN}",
        "beit tokenizer distill": f"data.path teacher image_size model.vocab_size {_RUN}",
        "beit tokenizer cluster": "data.path image_size model.vocab_size clustering.windows run.output",
        "beit tokenizer encode": f"tokenizer image_size output views {_PICTURES}",
        "beit tokenizer reconstruct": f"tokenizer image_size output count {_PICTURES}",
        "beit tokenizer evaluate": f"tokenizer image_size teacher output report {_PICTURES}",
        "beit evaluate": f"model data.labels label_maps.path output predictions report {_PICTURES}",
        "beit benchmark": "models data.path data.val_path label_maps.path shots device batch_size output",
        "beit statistics": "data.path data.channels data.value_range pictures output",
        "beit predict": "pictures model task output top_k device batch_size tokenizer",
        "beit serve": "models host port device tokenizer token",
    }.items()
}
