"""The model card: what was measured, in words. No number here is written by hand."""

import platform
from dataclasses import dataclass
from importlib.metadata import version

from job.demo import agreement, data, fit, measure
from job.demo.measure import Drawing
from job.real.digits import NAMES, PER_CLASS


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One training run and what its shipped files can do. Shares are fractions; times seconds; distances, spreads: grey levels."""

    quick: bool
    vae_steps: int
    unet_steps: int
    clip_steps: int
    judge_steps: int
    vae_loss: float
    rebuilt_grey: float
    scaling_factor: float
    unet_loss: float
    clip_loss: float
    best: Drawing                    # with the recommended options
    others: tuple[Drawing, ...]
    world_agreement: float
    zero_shot: float
    zero_shot_drawn: float
    unseen: int
    spread_world: float
    nearest_world: float
    parameters: dict[str, int]
    vocabulary: int
    sizes: dict[str, int]
    seed: int
    cpus: int
    threads: int
    trained_s: float
    trained_cpu_s: float             # of all threads: much less than threads × trained_s where other work ran beside it


def text(m: Measured) -> str:
    """The card as Markdown."""
    classes = ", ".join(f"{name} {share:.1%}" for name, share in zip(NAMES, m.best.by_class, strict=True))
    warning = "**A quick trial run: these weights are useless.**\n\n" if m.quick else ""
    world, train = PER_CLASS["world"] * len(NAMES), PER_CLASS["train"] * len(NAMES)
    return f"""# The embedded default's models

{warning}Two tiny, genuine models, trained from random weights by

    python -m job.demo.train{" --quick" if m.quick else ""}

which also measured everything below, on the shipped files, and wrote this page. Licence: Apache-2.0.

| folder | what | parameters |
|---|---|---|
| `weights/pipeline` | `StableDiffusionPipeline`: draws a 32×32 RGB digit from a prompt | {_pipeline(m)} |
| `weights/clip` | `CLIPModel` and `CLIPProcessor`: compares a 32×32 picture with words | {m.parameters["CLIPModel"]:,} |

All weights are half-precision safetensors, to be loaded as float32; the vocabulary has {m.vocabulary} tokens.
Together they take {sum(m.sizes.values()) / 1e6:.2f} MB:

{chr(10).join(f"- `{path}`: {size:,} bytes" for path, size in m.sizes.items())}

## Intended use, and limits

They let the job run its whole path offline, on a CPU, in minutes, with the classes that a full-size run uses. They draw
and know the ten digits and nothing else: any other prompt gives some digit or a blot. They show how the job works; they
say nothing about the quality of large models. Do not read handwriting with them. This CLIP learnt from digits that the
generator learnt from too, so it finds little fault with what the generator draws: it is no independent judge of it.

## Data

The handwritten digits that ship inside scikit-learn (E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten
Digits", UCI, 1998; licence CC BY 4.0), drawn at 32×32. The generator learnt from the `world` part: {world} digits,
{PER_CLASS["world"]} per class. CLIP learnt from {world - m.unseen} of these; the other {m.unseen} measure it. The job
itself (its train, val and test parts) shares no digit with `world`, and no choice here looked at val or test.
Captions are {len(data.TEMPLATES)} templates such as "a photo of a zero"; {data.EMPTY_SHARE:.0%} of the generator's
captions are empty, for classifier-free guidance, and {data.STRANGE_SHARE:.0%} hold a meaningless word.

## Training

Batches of {fit.BATCH}, AdamW, seed {m.seed}. Losses are means over the last tenth of the steps.

| model | steps | loss |
|---|---|---|
| `AutoencoderKL` | {m.vae_steps:,} | {m.vae_loss:.5f} (squared error on [-1, 1], and {fit.KL_WEIGHT:g} × KL per latent number) |
| `UNet2DConditionModel` with `CLIPTextModel` | {m.unet_steps:,} | {m.unet_loss:.4f} (squared error of the noise); \
shipped as a running mean, {fit.EMA_DECAY} |
| `CLIPModel` | {m.clip_steps:,} | {m.clip_loss:.4f} (contrastive, above its least; same digit in the batch counts as right) |

Latents are 8×8×4; the scaling factor, 1/std of the latents, is {m.scaling_factor}.

## Measured

| what | value |
|---|---|
| the autoencoder's error on the world's digits (root mean square) | {m.rebuilt_grey:.2f} of 255 grey levels |
| CLIP, zero-shot, on world digits it was not trained on | **{m.zero_shot:.1%}** of {m.unseen} |
| CLIP, zero-shot, on the drawn images | {m.zero_shot_drawn:.1%} of {m.best.images} |
| an independent judge's accuracy on the real world digits: the yardstick for the next table | {m.world_agreement:.1%} of {world} |

Drawn digits, {m.best.images} for each line; the first line has the recommended options:

| steps | guidance | label confirmed by the judge | spread in a class | distance to the nearest | near copies | seconds |
|---|---|---|---|---|---|---|
{chr(10).join(_line(one) for one in (m.best, *m.others))}
| the real world digits | | {m.world_agreement:.1%} | {m.spread_world:.1f} | {m.nearest_world:.1f} | 1.0% | |

Drawn with the DDIM scheduler as saved ("trailing" steps) in batches of {measure.BATCH}, seed {m.seed}, templates in rotation,
{m.best.images // len(NAMES)} per class; seconds are one thread's processor time for all {m.best.images}. Spread is the mean standard
deviation of a pixel, distance the median root mean square to the nearest (other) world digit, both in grey levels of 255.
A near copy is nearer to a world digit than 99 of 100 world digits are to another.

The judge is the mean vote of {agreement.JUDGES} small convolutional networks at {agreement.SEE_PX} px, {m.judge_steps} steps each,
trained on the job's {train} real train digits with small turns and moves: never on world, val or test digits. By class, for
the first line: {classes}.

## Hardware and time

{m.cpus} CPUs ({platform.machine()}), {m.threads} threads, no GPU; Python {platform.python_version()}, torch {version("torch")},
diffusers {version("diffusers")}, transformers {version("transformers")}. Training took {m.trained_s:.0f} s on the clock,
and {m.trained_cpu_s:.0f} s of processor time; much more clock than half of that means that other work ran beside it.
The same kind of machine, versions and threads give the same weights.
"""


def _pipeline(m: Measured) -> str:
    parts = [f"{name} {number:,}" for name, number in m.parameters.items() if name != "CLIPModel"]
    return ", ".join(parts)


def _line(one: Drawing) -> str:
    return (f"| {one.steps} | {one.guidance} | {one.agreement:.1%} | {one.spread:.1f} | {one.nearest:.1f} | {one.copies:.1%} "
            f"| {one.cpu_s:.0f} |")
