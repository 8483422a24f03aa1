"""What a user's file does with the package, for their type checker: `test_wheel.py` runs mypy and pyright on it.

Every line under `# refused` has to be found by both.
"""

from typing import assert_type

from beit import BeitConfig, BeitForImageClassification, BeitImageProcessor, Predictor, load_tokenizer, preset

config = preset("tiny", num_labels=3)
assert_type(config, BeitConfig)
assert_type(config.num_labels, int)
assert_type(config.class_names, list[str])
model = BeitForImageClassification.from_pretrained("model")
assert_type(model, BeitForImageClassification)
assert_type(model.config, BeitConfig)
predictor = Predictor.from_pretrained("model")
assert_type(predictor.classify("picture.jpg")[0].label, str)
assert_type(load_tokenizer("tokenizer").vocab_size, int)
processor = BeitImageProcessor.from_pretrained("model")
# refused
predictor.clasify("picture.jpg")
preset(3)
predictor.classify("picture.jpg", top_k="five")
