"""Writes the two model folders as half-precision safetensors: the numbers shipped, nothing that runs on loading."""

import json
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from transformers import CLIPModel, CLIPProcessor

# Trained on real images only: its samples have depth 1, and it descends from no other model's samples.
LINEAGE = {"licence": "apache-2.0", "depth": 1, "ancestry": []}


def save_pipeline(pipeline: StableDiffusionPipeline, folder: Path) -> None:
    """The folder for ``AutoPipelineForText2Image.from_pretrained``. Leaves the pipeline in half precision."""
    for model in (pipeline.vae, pipeline.unet, pipeline.text_encoder):
        _halve(model)
    pipeline.save_pretrained(folder, safe_serialization=True)
    _say_float32(folder / "text_encoder" / "config.json")
    _finish(folder)


def save_clip(clip: CLIPModel, processor: CLIPProcessor, folder: Path) -> None:
    """The folder for ``CLIPModel`` and ``CLIPProcessor``. Leaves the model in half precision."""
    _halve(clip)
    clip.save_pretrained(folder)
    processor.save_pretrained(folder)
    _say_float32(folder / "config.json")
    _finish(folder)


def _halve(model: torch.nn.Module) -> None:
    """To half precision, tensor by tensor: diffusers warns of ``to`` even where no layer needs float32."""
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point():
            tensor.data = tensor.data.half()


def _finish(folder: Path) -> None:
    for place in (folder, folder.parent):   # once for both models, and in each for whoever is handed only one
        (place / "lineage.json").write_text(json.dumps(LINEAGE, indent=2) + "\n")
    for path in folder.rglob("*.safetensors"):
        path.chmod(0o644)   # written for the owner only, but a container may run as anyone


def _say_float32(path: Path) -> None:
    """Files are halves for their size only: a loader that takes the dtype from the config shall compute in float32."""
    config = json.loads(path.read_text())
    for part in (config, *(part for part in config.values() if isinstance(part, dict))):
        if "dtype" in part:
            part["dtype"] = "float32"
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def sizes(folder: Path) -> dict[str, int]:
    """Bytes of each weights file below the folder, by its relative path."""
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in sorted(folder.rglob("*.safetensors"))}
