"""Folders of models and tokenizers."""

from beit import BeitForImageClassification, BeitImageProcessor, FlaxBeitForImageClassification
from beit.image import Preprocessing
from beit.models_torch.conversion import convert
from beit.models_torch.scene import SceneInference
from beit.tokenizer import VQKD, DiscreteVAE, KMeansConfig, KMeansTokenizer, VQKDConfig
from tests.files.writers.table import CODEBOOK, CONFIG, writer


@writer("hub/saved_options.py")
def config(_):
    return lambda place: CONFIG.save_pretrained(place)


@writer("config/json_form.py")
def config_file(_):
    return lambda place: CONFIG.to_json_file(place / "a.json")


@writer("hub/saved_options.py")
def processor(_):
    return lambda place: BeitImageProcessor().save_pretrained(place)


@writer("hub/saved_options.py")
def processor_file(_):
    return lambda place: BeitImageProcessor().to_json_file(place / "a.json")


@writer("image/processor.py")
def view(_):
    return lambda place: Preprocessing((32, 32), 37).save_pretrained(place)


@writer("models_torch/saving.py")
def torch_model(_):
    return BeitForImageClassification(CONFIG).save_pretrained


@writer("models_flax/loading.py")
def flax_model(_):
    return FlaxBeitForImageClassification(CONFIG).save_pretrained


@writer("models_flax/loading.py")
def flax_model_as_safetensors(_):
    model = FlaxBeitForImageClassification(CONFIG)
    return lambda place: model.save_pretrained(place, safe_serialization=True)


def converted(to, name):
    def make(folder):
        BeitForImageClassification(CONFIG).save_pretrained(folder)
        return lambda place: convert(folder, place / name, to)

    make.__name__ = f"converted_to_{to}"
    return make


for layout, name in (("hf", ""), ("timm", ""), ("flax", ""), ("unilm", "model.pth")):
    writer("models_torch/conversion.py")(converted(layout, name))


@writer("models_torch/scene.py")
def scene_inference(_):
    return SceneInference().save_pretrained


@writer("tokenizer/base.py")
def discrete_vae(_):
    return DiscreteVAE(CODEBOOK).save_pretrained


@writer("tokenizer/base.py")
def vq_kd(_):
    small = {"vocab_size": 16, "code_size": 4, "image_size": 16, "patch_size": 8, "hidden_size": 64}
    layers = {"num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 64, "decoder_layers": 1}
    return VQKD(VQKDConfig(**small, **layers, teacher_size=8)).save_pretrained


@writer("tokenizer/base.py")
def kmeans(_):
    return KMeansTokenizer(KMeansConfig(vocab_size=16, patch_size=8, window=8, image_size=16)).save_pretrained
