"""CLIPScore by image: how well a picture fits its prompt, its class, and its class better than any other.

CLIPScore(I, C) = max(100 · cos(E_I, E_C), 0): Hessel et al., "CLIPScore: A Reference-free Evaluation Metric for Image
Captioning", EMNLP 2021, in the scaling of torchmetrics, whose function computes it here.

The score against the own prompt hardly separates classes (every caption of a dataset is alike); the margin does.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from job.errors import DataError

if TYPE_CHECKING:
    import torch

NOT_IDENTITY = {"identity": False}
PLAIN = "a photo of a {name}"


class ClipScore:
    """Three numbers for each image from one pass of CLIP over it."""

    columns: Mapping[str, str] = {
        "own": "100 × cosine of the image and the sample's own prompt, at least 0: the picture fits its words",
        "plain": "100 × cosine of the image and 'a photo of a <class>', at least 0: the same, whatever the template",
        "margin": "100 × (cosine with its own class − cosine with the best other class): below 0 it looks like another",
    }

    class Options(BaseModel):
        model_config = ConfigDict(extra="forbid", frozen=True)

        # Where the weights lie is no part of a score's identity: their digest is.
        model: Annotated[
            str,
            Field(min_length=1, description="a CLIP: folder, bucket prefix or hub id; package: is shipped with the job",
                  json_schema_extra=NOT_IDENTITY),
        ] = "package:demo/weights/clip"
        revision: Annotated[
            str, Field(description="branch, tag or commit of a hub id", json_schema_extra=NOT_IDENTITY)
        ] = ""
        batch_size: Annotated[
            int, Field(ge=1, le=4096, description="images looked at at once", json_schema_extra=NOT_IDENTITY)
        ] = 64

    def __init__(self, options: BaseModel, class_names: Sequence[str]) -> None:
        self.options = self.Options.model_validate(options)
        self.class_names = tuple(class_names)

    def location(self) -> str:
        return self.options.model

    def revision(self) -> str:
        return self.options.revision

    def load(self, folder: str, device: str) -> None:
        """Load ``CLIPModel`` and ``CLIPProcessor`` in fp32. Raises ``DataError`` for a folder that holds no CLIP."""
        import torch
        import transformers

        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        try:
            model, info = transformers.CLIPModel.from_pretrained(
                folder, dtype=torch.float32, use_safetensors=True, local_files_only=True, output_loading_info=True)
            processor = transformers.CLIPProcessor.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{folder!r} is no CLIP model: {' '.join(str(error).split())[:300]}",
                            "name a folder with CLIPModel and CLIPProcessor, as save_pretrained() writes them") from error
        if info["missing_keys"]:   # transformers would fill them at random and go on
            raise DataError(f"{folder!r} lacks weights of a CLIP model, such as {sorted(info['missing_keys'])[0]}",
                            "name the folder of a whole CLIPModel")
        self._clip = Clip(model.eval().requires_grad_(False).to(device), processor)
        self._classes_CD = self._clip.texts([PLAIN.format(name=name) for name in self.class_names])

    def score(
        self, images: Sequence[np.ndarray], *, prompts: Sequence[str], labels: Sequence[int]
    ) -> Mapping[str, np.ndarray]:
        """``own``, ``plain`` and ``margin`` as float32 (M,), for M uint8 HWC images at full resolution.

        With a single class there is no other to beat: its margin is 100 × its cosine. Raises ``ValueError`` if
        images, prompts and labels differ in number.
        """
        if not len(images) == len(prompts) == len(labels):
            raise ValueError(f"{len(images)} images, {len(prompts)} prompts and {len(labels)} labels")
        size = self.options.batch_size
        rows = [np.zeros((3, 0), np.float32)]
        for at in range(0, len(images), size):
            rows.append(self._batch(images[at : at + size], prompts[at : at + size], labels[at : at + size]))
        return dict(zip(self.columns, np.concatenate(rows, axis=1), strict=True))

    def features(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """CLIP's image embeddings: float32 (M, D), rows of unit length."""
        import torch

        rows = [np.zeros((0, self._classes_CD.shape[1]), np.float32)]
        for at in range(0, len(images), self.options.batch_size):
            images_CHW = [torch.tensor(image).permute(2, 0, 1) for image in images[at : at + self.options.batch_size]]
            pixels_BCHW = self._clip(images=images_CHW, return_tensors="pt")["pixel_values"]
            with torch.inference_mode():
                self._clip.get_image_features(pixels_BCHW.to(self._classes_CD.device))
            rows.append(self._clip.last_images_BD.float().cpu().numpy())
        return np.concatenate(rows)

    def _batch(self, images: Sequence[np.ndarray], prompts: Sequence[str], labels: Sequence[int]) -> np.ndarray:
        """float32 (3, B): one row per column."""
        import torch

        # The public function keeps only the mean; this is what it averages.
        from torchmetrics.functional.multimodal.clip_score import _clip_score_update

        images_CHW = [torch.tensor(image).permute(2, 0, 1) for image in images]
        own_B, _ = _clip_score_update(images_CHW, list(prompts), self._clip, self._clip)
        cosines_BC = 100 * self._clip.last_images_BD @ self._classes_CD.T   # the same pass over the images, looked at again
        mine_B1 = torch.tensor(labels, device=cosines_BC.device)[:, None]
        plain_B = cosines_BC.gather(1, mine_B1)[:, 0]
        margin_B = plain_B
        if len(self.class_names) > 1:
            margin_B = plain_B - cosines_BC.scatter(1, mine_B1, -torch.inf).amax(1)
        return torch.stack([own_B.clamp(min=0), plain_B.clamp(min=0), margin_B]).float().cpu().numpy()


class Clip:
    """Model and processor at once, as torchmetrics 1.9 wants them: its features are tensors.

    transformers 5 returns an object with a ``pooler_output`` instead, on which torchmetrics fails with
    ``AttributeError``. Every distinct text is encoded once, and the last images' features are kept for a second look.
    """

    def __init__(self, model: Any, processor: Any) -> None:
        self.config = model.config
        self._model, self._processor = model, processor
        self._known: dict[tuple[int, ...], torch.Tensor] = {}
        self.last_images_BD: torch.Tensor   # unit length

    def to(self, device: "torch.device") -> "Clip":
        """Stays where it is: torchmetrics would move it to the images, which wait on the CPU for the processor."""
        del device
        return self

    def __call__(self, *, text: list[str] | None = None, images: Any = None, **rest: Any) -> Any:
        """As the processor; a long text is cut *before* its end mark is set, without which CLIP reads the wrong token."""
        if text is not None:
            return self._processor(text=text, truncation=True, **rest)
        rest.pop("padding", None)   # of texts
        return self._processor(images=images, **rest)

    def get_image_features(self, pixels_BCHW: "torch.Tensor") -> "torch.Tensor":
        """(B, D), and kept at unit length in ``last_images_BD``."""
        features_BD = _tensor(self._model.get_image_features(pixels_BCHW.to(self._model.device)))
        self.last_images_BD = features_BD / features_BD.norm(dim=-1, keepdim=True)
        return features_BD

    def get_text_features(self, ids_BT: "torch.Tensor", mask_BT: "torch.Tensor") -> "torch.Tensor":
        """(B, D); texts that were seen before cost nothing."""
        import torch

        keys = [tuple(ids[mask.bool()].tolist()) for ids, mask in zip(ids_BT.cpu(), mask_BT.cpu(), strict=True)]
        new = {key: row for row, key in enumerate(keys) if key not in self._known}
        if new:
            rows, device = list(new.values()), self._model.device
            features = _tensor(self._model.get_text_features(ids_BT[rows].to(device), mask_BT[rows].to(device)))
            self._known.update(zip(new, features, strict=True))
        return torch.stack([self._known[key] for key in keys])

    def texts(self, texts: list[str]) -> "torch.Tensor":
        """(C, D) at unit length."""
        ids = self(text=texts, return_tensors="pt", padding=True)
        features_CD = self.get_text_features(ids["input_ids"], ids["attention_mask"])
        return features_CD / features_CD.norm(dim=-1, keepdim=True)


def _tensor(features: Any) -> "torch.Tensor":
    return getattr(features, "pooler_output", features)
