"""Content ids: what a recipe, a class, a sample, a trial and a run are called, and why.

Every id is a hash of what the thing *is*; no clock, host, process or position in a queue stands in it.
Hashes are SHA-256 over canonical JSON (sorted keys, no spaces), cut to 16 hex digits (64 bits).
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from job.records import SYNTHETIC_PREFIX, ClassWords, Mix, Recipe, SampleSpec, Unit

DIGITS = 16


def canonical(value: Any) -> str:
    """JSON of plain values with one spelling only. Raises ``TypeError`` on anything else, ``ValueError`` on NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def content_id(*parts: Any) -> str:
    """16 hex digits that name these plain values."""
    return hashlib.sha256(canonical(parts).encode()).hexdigest()[:DIGITS]


def sha256(data: bytes) -> str:
    """64 hex digits of these bytes."""
    return hashlib.sha256(data).hexdigest()


def class_words(label: int, name: str, description: str = "") -> ClassWords:
    """Name a class by slug and short hash of its own prompt words, so that adding a class renames no other."""
    slug = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:40] or "class"
    return ClassWords(label, name, description, f"{slug}-{content_id(name, description)[:12]}")


def make_recipe(
    *, generator: str, options: str, weights: str, templates: Sequence[str], size_px: int, encoding: str, seed: int
) -> Recipe:
    """A recipe whose id is the hash of all its fields."""
    fields = (generator, options, weights, tuple(templates), size_px, encoding, seed)
    return Recipe(content_id("recipe", *fields), *fields)


def sample_id(recipe_id: str, class_key: str, index: int, condition: str = "") -> str:
    """Id of one sample: recipe, class, condition digest (empty for text to image) and index."""
    return SYNTHETIC_PREFIX + content_id(recipe_id, class_key, condition, index)


def seed_of(identity: str, redraw: int = 0) -> int:
    """Seed in [0, 2^63) that belongs to an id and its redraw; never to a batch, worker or clock."""
    return int.from_bytes(hashlib.sha256(f"{identity}/{redraw}".encode()).digest()[:8], "big") >> 1


def prompt_of(template: str, words: ClassWords) -> str:
    """The template with ``{name}`` replaced by the class's words."""
    return template.replace("{name}", words.words)


def spec(recipe: Recipe, words: ClassWords, index: int, redraw: int = 0) -> SampleSpec:
    """The ``index``-th sample of a class: template ``index % T``, seed from its id."""
    name = sample_id(recipe.id, words.key, index)
    prompt = prompt_of(recipe.templates[index % len(recipe.templates)], words)
    return SampleSpec(name, words, prompt, index, redraw, seed_of(name, redraw), recipe.size_px)


def specs(recipe: Recipe, words: ClassWords, unit: Unit) -> Iterator[SampleSpec]:
    """All specs of one unit, ascending. Computed where they are needed, never shipped."""
    return (spec(recipe, words, index) for index in range(unit.lo, unit.hi))


def test_id(digests: Iterable[str]) -> str:
    """Id of a locked test by the pixel digests of its images: under it every look at them is counted."""
    return content_id("test", sorted(digests))


def mix_id(mix: Mix, recipe_id: str) -> str:
    """Id of a training set: the real ids, per class the taken indices of one recipe, and what is not simply drawn alike."""
    takes = [(take.words.key, take.hi, sha256(take.bitmap)) for take in mix.synthetic if take.count]
    further = [[list(one) for one in mix.copies], [[one.label, one.real, one.share] for one in mix.shares], mix.in_loss]
    return content_id("mix", mix.real_ids, recipe_id if takes else "", takes, *([further] if mix.copies or mix.shares else []))
