"""Ten thousand samples that are no pictures: none is published, each is redrawn, and what stays bad is told with its reason."""

import json
import uuid
from collections import Counter

import pytest

from job.drawing import REDRAWS
from job.generate import read_commit, read_shard, work_unit
from job.generators.fake import Fake
from job.ground import layout, lineage, pixels
from job.ground.cost import Meter
from job.ground.starts import Starts
from job.ground.store import Store
from job.records import Failure, Origin, Unit

pytestmark = pytest.mark.fault
WORDS = lineage.class_words(0, "cat")
RECIPE = lineage.make_recipe(generator="fake", options="{}", weights="none", templates=("a {name}",), size_px=16, encoding="png", seed=0)
RUN = layout.Run("dataset", "run")


class Counting(Fake):
    """Counts what it hands over that is no picture, by kind."""

    handed = 0
    kinds: Counter[str]

    def _bad(self, spec):   # type: ignore[no-untyped-def]
        self.handed += 1
        try:
            result = super()._bad(spec)
        except RuntimeError:
            self.kinds["exception"] += 1
            raise
        if isinstance(result, Failure):
            self.kinds["failure"] += 1
        elif result.pixels_HWC is None:
            self.kinds["nothing"] += 1
        else:
            self.kinds[f"{result.pixels_HWC.dtype} {result.pixels_HWC.shape} {result.pixels_HWC.max()}"] += 1
        return result


def test_of_ten_thousand_bad_samples_none_becomes_an_image() -> None:
    store = Store(f"memory://{uuid.uuid4().hex}", retry_s=0)
    painter = Counting(Fake.Options(bad_share=0.7))
    painter.kinds = Counter()
    meter, asked, made, failed, lo = Meter(store, RUN, "generate", gpus=0, cpus=1), 0, 0, Counter(), 0
    while painter.handed < 10_000:
        unit = Unit(WORDS.key, 0, lo, lo + 256)
        work_unit(store, painter, Origin("fake", "", "CC0-1.0", 1, ()), RECIPE, WORDS, unit, 32, run="run", starts=Starts(store, RUN),
                  meter=meter)
        done = read_commit(store, RECIPE, unit)
        assert done
        for row in read_shard(store, done).to_pylist():
            assert not pixels.fault(pixels.decode(row["image"]["bytes"]))
            assert row["redraw"] <= REDRAWS
            spec = lineage.spec(RECIPE, WORDS, row["index"], row["redraw"])
            assert (row["id"], row["seed_used"]) == (spec.id, spec.seed)
            made += 1
        record = json.loads(store.read(layout.commit(RECIPE.id, unit)))
        assert record["made"] + len(record["failed"]) == 256
        failed.update(reason for _, _, reason in record["failed"])
        asked, lo = asked + 256, lo + 256
    assert asked == made + sum(failed.values())
    assert made > 0
    assert len(painter.kinds) == 9   # each kind of damage came up, and
    assert len(failed) >= 8          # each is told apart; a black picture and a blanked one may share a word
    assert all(failed)
