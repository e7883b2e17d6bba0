"""Decoded once for all trials, and as far as any of them reaches."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from job.records import ClassTake, Mix
from job.runplan import Pool
from job.trainset import Pixels
from tests.unit.made_run import make_run
from tests.unit.publishing import folder

pytestmark = pytest.mark.flow


def test_a_mix_that_reaches_further_than_those_before_it_has_its_images_decoded_too(local_ray: None, tmp_path: Path) -> None:
    """As an arm of the confirmation does where the grid's trials were there already, or a curve of all images that were made."""
    import ray

    made = make_run(folder(tmp_path / "root"), tmp_path / "real", finished=False)
    words = made.planned.classes[0]
    first, *_, last = [one.unit for one in made.committed if one.unit.class_key == words.key]
    takes = [ClassTake(words, hi, np.packbits(np.arange(hi) == hi - 1).tobytes(), 1) for hi in (first.hi, last.hi)]
    short, long = (Mix(0.5, 0.5, (), (take,)) for take in takes)
    floor = SimpleNamespace(store=made.store, pool=Pool(1, 0.5, 0))
    pixels = Pixels(made.planned, made.split, made.committed, floor)   # type: ignore[arg-type]
    pixels.cover([short])
    before = pixels.synthetic[words.key]
    assert ray.get(before)["index"].max() < first.hi
    pixels.cover([short])
    assert pixels.synthetic[words.key] is before   # what is there is not decoded again
    pixels.cover([long])
    assert ray.get(pixels.synthetic[words.key])["index"].max() >= last.lo > first.hi
