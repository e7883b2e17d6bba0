"""Makes the tiny models of the embedded default again: ``python -m job.demo.train``.

Reads top to bottom: the words, the autoencoder, the generator, CLIP, then everything measured on the shipped files.
Seeded and deterministic: the same machine kind, versions and thread count give the same weights.
"""

import argparse
import os
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from diffusers.utils.logging import disable_progress_bar
from PIL import Image
from transformers import CLIPModel, CLIPProcessor
from transformers.utils import logging

from job.demo import card, data, fit, measure, models, ship
from job.demo.agreement import judged, train_judges
from job.demo.words import build_tokenizer

SEED = 20240501
FULL = 600, 2500, 800, 300, 80   # steps of the autoencoder, UNet, CLIP and each judge; drawn images per class
QUICK = 4, 4, 4, 4, 2
THREADS = 2   # fixed, for sums in another order are other sums


def main() -> None:
    """Train, ship, measure, write the card."""
    options = arguments()
    vae_steps, unet_steps, clip_steps, judge_steps, per_class = QUICK if options.quick else FULL
    torch.set_num_threads(THREADS)
    torch.use_deterministic_algorithms(True)
    logging.disable_progress_bar()
    disable_progress_bar()
    began, began_cpu = time.perf_counter(), time.process_time()
    torch.manual_seed(SEED)
    images, labels = data.world()

    # The generator: an autoencoder, then a UNet and its text encoder in the latents.
    tokenizer = build_tokenizer()
    vae, unet, scheduler = models.build_vae(), models.build_unet(), models.build_scheduler()
    text_encoder, clip = models.build_text_encoder(tokenizer), models.build_clip(tokenizer)
    vae_loss = fit.fit_vae(vae, images, steps=vae_steps, seed=SEED)
    unet_loss = fit.fit_unet(unet, text_encoder, vae=vae, scheduler=scheduler, tokenizer=tokenizer, images_NCHW=images,
                             labels_N=labels, steps=unet_steps, seed=SEED)
    ship.save_pipeline(
        models.build_pipeline(vae=vae, unet=unet, text_encoder=text_encoder, tokenizer=build_tokenizer(),
                              scheduler=scheduler),
        options.out / "weights" / "pipeline")

    # CLIP, which never sees a tenth of the world, so that there is something to measure it on.
    unseen = data.held_out(labels, np.random.default_rng(SEED))
    clip_loss = fit.fit_clip(clip, tokenizer=tokenizer, images_NCHW=images[~unseen], labels_N=labels[~unseen],
                             steps=clip_steps, seed=SEED)
    ship.save_clip(clip, models.build_processor(build_tokenizer()), options.out / "weights" / "clip")
    trained_s, trained_cpu_s = time.perf_counter() - began, time.process_time() - began_cpu

    # Measured on the files as shipped, loaded as anyone would load them.
    pipeline = StableDiffusionPipeline.from_pretrained(options.out / "weights" / "pipeline", dtype=torch.float32,
                                                       use_safetensors=True)
    clip = CLIPModel.from_pretrained(options.out / "weights" / "clip", dtype=torch.float32)
    processor = CLIPProcessor.from_pretrained(options.out / "weights" / "clip")
    real = ((images + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    judges = train_judges(steps=judge_steps, seed=SEED)
    draw = partial(measure.drawing, pipeline, judges=judges, real_NHWC=real, per_class=per_class, seed=SEED)
    best, drawn, wanted = draw()
    others = [draw(steps=steps, guidance=guidance)[0] for steps, guidance in measure.OTHERS]
    with torch.no_grad():
        rebuilt = pipeline.vae(images).sample
    measured = card.Measured(
        quick=options.quick,
        vae_steps=vae_steps,
        unet_steps=unet_steps,
        clip_steps=clip_steps,
        judge_steps=judge_steps,
        vae_loss=vae_loss,
        rebuilt_grey=float((rebuilt.clamp(-1, 1) - images).square().mean().sqrt()) * 127.5,
        scaling_factor=pipeline.vae.config.scaling_factor,
        unet_loss=unet_loss,
        clip_loss=clip_loss,
        best=best,
        others=tuple(others),
        world_agreement=float((judged(judges, real) == labels.numpy()).mean()),
        zero_shot=float((measure.zero_shot(clip, processor, real[unseen.numpy()]) == labels[unseen].numpy()).mean()),
        zero_shot_drawn=float((measure.zero_shot(clip, processor, drawn) == wanted).mean()),
        unseen=int(unseen.sum()),
        spread_world=measure.spread(real, labels.numpy()),
        nearest_world=float(np.median(measure.nearest(real, real, itself=True))),
        parameters={
            "AutoencoderKL": count(pipeline.vae),
            "UNet2DConditionModel": count(pipeline.unet),
            "CLIPTextModel": count(pipeline.text_encoder),
            "CLIPModel": count(clip),
        },
        vocabulary=len(tokenizer),
        sizes=ship.sizes(options.out / "weights"),
        seed=SEED,
        cpus=os.cpu_count() or 1,
        threads=THREADS,
        trained_s=trained_s,
        trained_cpu_s=trained_cpu_s,
    )
    (options.out / "MODEL_CARD.md").write_text(card.text(measured))
    if options.sheet:
        contact_sheet(drawn, per_class).save(options.sheet)
    print(card.text(measured))


def arguments() -> argparse.Namespace:
    """The command line; the defaults are the shipped models'."""
    parser = argparse.ArgumentParser(prog="python -m job.demo.train", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder for weights/ and MODEL_CARD.md")
    parser.add_argument("--quick", action="store_true", help="a few steps only, to try the command; needs --out")
    parser.add_argument("--sheet", type=Path, help="also save a contact sheet of drawn digits as this PNG")
    options = parser.parse_args()
    if options.quick and options.out == parser.get_default("out"):
        parser.error("--quick makes useless weights: name another folder with --out")
    return options


def count(model: torch.nn.Module) -> int:
    """Trained numbers in a model."""
    return sum(parameter.numel() for parameter in model.parameters())


def contact_sheet(drawn_NHWC: np.ndarray, per_class: int) -> Image.Image:
    """One row per digit, up to 20 pictures each, twice as large."""
    rows = [np.concatenate(list(drawn_NHWC[one * per_class:][:min(per_class, 20)]), axis=1) for one in range(10)]
    sheet = Image.fromarray(np.concatenate(rows, axis=0))
    return sheet.resize((sheet.width * 2, sheet.height * 2), Image.Resampling.NEAREST)


if __name__ == "__main__":
    main()
