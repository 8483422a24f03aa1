"""Fine-tune a model on your own classes with Trainer of transformers.

    python examples/transformers_trainer.py microsoft/beit-base-patch16-224-pt22k classes/train classes/test mine/

A folder has one folder of pictures per class. Needs beit and `pip install 'transformers>=5' accelerate`.
"""

import sys

import torch
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments

from beit import BeitForImageClassification, BeitImageProcessor
from beit.data import open_source, with_classes


class Pictures(Dataset):
    def __init__(self, source):
        self.source = source

    def __len__(self):
        return len(self.source)

    def __getitem__(self, index):
        return self.source.load(index), int(self.source.labels[index])


def collate(examples):
    images, labels = zip(*examples, strict=True)
    return {**processor(list(images), return_tensors="pt"), "labels": torch.tensor(labels)}


def accuracy(predicted):
    return {"accuracy": (predicted.predictions.argmax(-1) == predicted.label_ids).mean()}


checkpoint, train, test, output = sys.argv[1:]
pictures = Pictures(open_source(train))
held_out = with_classes(open_source(test), pictures.source.classes)  # numbered alike, also where it lacks some
processor = BeitImageProcessor.from_pretrained(checkpoint)
model = BeitForImageClassification.from_pretrained(checkpoint, id2label=dict(enumerate(pictures.source.classes)))
arguments = TrainingArguments(
    output,
    num_train_epochs=5,
    per_device_train_batch_size=32,
    learning_rate=5e-5,
    weight_decay=0.05,
    remove_unused_columns=False,  # it would take the pictures away
    report_to=[],
)
trainer = Trainer(
    model,
    arguments,
    data_collator=collate,
    train_dataset=pictures,
    eval_dataset=Pictures(held_out),
    compute_metrics=accuracy,
    processing_class=processor,
)
trainer.train()
print(f"accuracy on {test}: {trainer.evaluate()['eval_accuracy']:.3f}")
model.save_pretrained(output)
processor.save_pretrained(output)
