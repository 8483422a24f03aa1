"""What the parts of an exported folder are called."""

EXPORT_NAME = "export.json"
INPUT = "pixel_values"
OUTPUTS = {"classify": "logits", "segment": "logits", "embed": "embeddings"}
FILES = {"onnx": ("model.onnx",), "openvino": ("model.xml", "model.bin"), "torch": ("model.pt2",)}
EXPORT_VERSION = 1
