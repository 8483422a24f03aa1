"""Where a class is seen in a picture, by Grad-CAM and by integrated gradients of captum."""

import torch
from captum.attr import IntegratedGradients, LayerGradCam, LayerIntegratedGradients, NoiseTunnel, Saliency
from PIL import Image

from beit import AutoImageProcessor, BeitForImageClassification

processor = AutoImageProcessor.from_pretrained("pretrained")
model = BeitForImageClassification.from_pretrained("pretrained").eval()
image = Image.open("pictures/bright/0.png").convert("RGB")
pixel_values = processor(image, return_tensors="pt").pixel_values


def forward(pixel_values):
    return model(pixel_values=pixel_values).logits


target = forward(pixel_values).argmax(-1).item()
cam = LayerGradCam(forward, model.beit.encoder.layer[-1].layernorm_before).attribute(pixel_values, target=target)
heat = cam[:, 0, 1:].relu()

attributions, delta = IntegratedGradients(forward).attribute(
    pixel_values, baselines=torch.zeros_like(pixel_values), target=target, n_steps=20, return_convergence_delta=True
)
saliency = Saliency(forward).attribute(pixel_values, target=target)
torch.manual_seed(0)
smooth = NoiseTunnel(Saliency(forward)).attribute(pixel_values, nt_samples=4, stdevs=0.1, target=target)
of_patches = LayerIntegratedGradients(forward, model.beit.embeddings.patch_embeddings.projection).attribute(
    pixel_values, target=target, n_steps=8
)

found = {
    "label": model.config.id2label[target],
    "heat": heat.tolist(),
    "attributions": attributions.sum(1).tolist(),
    "delta": delta.tolist(),
    "saliency": saliency.tolist(),
    "smooth": smooth.tolist(),
    "of_patches": of_patches.tolist(),
}
