"""Ten thousand samples that are no pictures: none is published, each is redrawn, and what stays bad is told with its reason."""

from collections import Counter

import numpy as np
import pytest

from job import settings, trainset
from job.drawing import REDRAWS
from job.errors import DataError
from job.generate import work_unit
from job.generators.fake import Fake
from job.ground import lineage, pixels, shards
from job.ground.cost import Meter
from job.ground.events import Events
from job.ground.starts import Starts
from job.publish import chosen, gather
from job.publish.model import Version
from job.records import Failure, Sample, SampleSpec
from job.river import River
from job.run import NO_POOLS, publish_run
from tests.fault import fitted
from tests.fault.kills import FLAGS, frozen

pytestmark = pytest.mark.fault
BAD, KINDS = 10_000, 10
MOST_ROUNDS = 5
GIVEN = (   # seven in ten draws are bad; batches are small, for one that raises is drawn anew, sample by sample
    "--generator.options.bad_share", "0.7", "--generator.options.seconds_per_image", "0", "--generator.size_px", "16",
    "--generator.images_per_class", "450", "--generator.unit_size", "64", "--generator.batch_size", "4",
    "--generator.failed_share", "0.5", "--filter.max_rounds", str(MOST_ROUNDS),
)


class Injecting(Fake):
    """Remembers what it handed over that is no picture: each draw once, however often it was asked for."""

    def __init__(self, options: Fake.Options) -> None:
        super().__init__(options)
        self.bad: set[tuple[str, int]] = set()

    def _bad(self, spec: SampleSpec) -> Sample | Failure:
        self.bad.add((spec.id, spec.redraw))
        return super()._bad(spec)


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> tuple[River, Version, Injecting]:
    """A whole run, plan to version, by the job's own functions in this process."""
    root = tmp_path_factory.mktemp("root")
    store, planned, split = frozen(root, *GIVEN)
    river = River(store, planned, split, Events("json"), NO_POOLS)
    painter = Injecting(Fake.Options.model_validate_json(planned.generator_options))
    origin = painter.load("", "none", "cpu")
    meter, starts = Meter(store, river.keys, "generate", gpus=0, cpus=1), Starts(store, river.keys)
    for _ in range(MOST_ROUNDS + 1):
        try:
            tallies, _ = river.draw()
            break
        except DataError:   # a walk without a pool stops at the first round that is not drawn
            for unit in gather.rounds(store, river.keys):
                work_unit(store, painter, origin, planned.recipe, planned.classes[unit.label], unit, planned.batch_size,
                          run=planned.run, starts=starts, meter=meter)
    drawn = {words.key: trainset.decode_synthetic(store.url, 0, planned.schedule.size_px, words.label, [
        one for one in river.committed if one.unit.class_key == words.key]) for words in planned.classes}
    fitted.commit(store, planned, fitted.fit_all(planned, split, {alpha: river.mix(tallies, "", alpha) for alpha in planned.alphas}, drawn))
    given = settings.load([*FLAGS, *GIVEN, "--root", str(root)], environ={})
    return river, publish_run(store, given, river.events, planned, split, river.walk()), painter


def test_of_ten_thousand_bad_samples_none_becomes_an_image(walked: tuple[River, Version, Injecting]) -> None:
    river, version, painter = walked
    recipe, words = river.plan.recipe, {one.key: one for one in river.plan.classes}
    clean, made = Fake(painter.options.model_copy(update={"bad_share": 0.0})), 0
    for file in version.of("images"):
        for row in shards.read(river.store.read(file.key, file.sha256)).to_pylist():
            assert (row["id"], row["redraw"]) not in painter.bad
            spec = lineage.spec(recipe, words[row["class_key"]], row["index"], row["redraw"])
            assert (row["id"], row["seed_used"]) == (spec.id, spec.seed)
            (drawn,) = clean.draw([spec])
            assert np.array_equal(pixels.decode(row["image"]["bytes"]), drawn.pixels_HWC)   # that very draw's picture
            made += 1
    kept = [row for piece in chosen.pieces(river.store, version, "kept") for row in chosen.read(river.store, piece).to_pylist()]
    assert len(kept) == version.counts.kept == 4500
    assert not {(row["id"], row["redraw"]) for row in kept} & painter.bad
    assert made == version.counts.planned - version.counts.failed > version.counts.kept
    assert len(painter.bad) >= BAD


def test_a_sample_is_redrawn_as_long_as_it_is_bad_and_fails_with_its_own_reason(walked: tuple[River, Version, Injecting]) -> None:
    river, version, painter = walked
    draws = Counter(name for name, _ in painter.bad)
    assert painter.bad == {(name, redraw) for name, n in draws.items() for redraw in range(n)}
    failed = [reason for one in river.committed for _, reason in one.failed]
    assert len(failed) == version.counts.failed == sum(n == REDRAWS + 1 for n in draws.values())
    assert len(set(failed)) == KINDS   # every kind of damage, each told apart
    assert all(failed)
