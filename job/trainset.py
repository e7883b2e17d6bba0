"""HOT tool. What trials train on and are judged by: decoded once, into shared uint8 arrays in Ray's object store."""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from job import plugs
from job.fitting import Shares
from job.generate import Committed, read_shard
from job.ground import pixels, shards
from job.ground.store import ReadOnlyFolder, Store
from job.pool import Floor
from job.real import SOURCES
from job.records import Mix, Split
from job.runplan import RunPlan

if TYPE_CHECKING:
    import torch


def decode_real(plan: RunPlan, rows: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Real pixels of these rows of the split: uint8 (N, S, S, 3) and int64 labels (N,), in their order."""
    plug = plugs.find(SOURCES, plan.source, "source")
    source = plug(plugs.options(plug, plan.source_options, "source"), ReadOnlyFolder)
    size = plan.schedule.size_px
    images = [pixels.to_train(image, size) for image in source.load(rows)]
    return np.stack(images), rows["label"].to_numpy().astype(np.int64)


def decode_synthetic(url: str, retry_s: float, size_px: int, label: int, committed: Sequence[Committed]) -> dict[str, np.ndarray]:
    """Synthetic pixels of one class: uint8 ``images`` (M, S, S, 3) with their ``index`` (M,), ascending."""
    store = Store(url, retry_s)
    images: list[np.ndarray] = []
    index: list[int] = []
    for one in committed:
        shard = read_shard(store, one, ["image", "index"])
        images.extend(pixels.to_train(image, size_px) for image in shards.images(shard))
        index.extend(shard["index"].to_pylist())
    empty = np.empty((0, size_px, size_px, 3), np.uint8)
    return {"images": np.stack(images) if images else empty, "index": np.asarray(index, np.int64), "label": np.int64(label)}


class Pixels:
    """References to decoded arrays in Ray's object store: made once, read by every trial.

    Of the synthetic images only those units are decoded that some mix takes from.
    """

    def __init__(self, plan: RunPlan, split: Split, committed: Sequence[Committed], floor: Floor) -> None:
        import ray

        self._plan, self._split, self._committed, self._store = plan, split, committed, floor.store
        there = {"num_cpus": floor.pool.cpus, "resources": floor.pool.custom or None}   # elsewhere they would keep a node that drew
        self._real, self._drawn = ray.remote(**there)(decode_real), ray.remote(**there)(decode_synthetic)
        self._units: dict[str, int] = {}   # of a class, that are decoded
        self.synthetic: dict[str, Any] = {}
        self._parts: dict[str, Any] = {}

    def cover(self, mixes: Sequence[Mix]) -> None:
        """Have the units decoded that these mixes take from, too: arms and curves may reach further than the grid did."""
        ends: dict[str, int] = {}
        for take in (take for mix in mixes for take in mix.synthetic if take.count):
            ends[take.words.key] = max(take.hi, ends.get(take.words.key, 0))
        for key, hi in ends.items():
            units = [one for one in self._committed if one.unit.class_key == key and one.unit.lo < hi]
            if len(units) > self._units.get(key, 0):
                self._units[key] = len(units)
                self.synthetic[key] = self._drawn.remote(
                    self._store.url, self._store.retry_s, self._plan.schedule.size_px, units[0].unit.label, units)

    def part(self, name: str) -> Any:
        """Reference to the pixels of one part of the split; decoded when first asked for.

        Returns once all is decoded: a trial that took the last CPU and waited for these would wait without end.
        """
        import ray

        if name not in self._parts:
            self._parts[name] = self._real.remote(self._plan, self._split.part(name))
        asked = [*self.synthetic.values(), *self._parts.values()]
        ray.wait(asked, num_returns=len(asked), fetch_local=False)
        return self._parts[name]


def training_set(
    mix: Mix, real_ids: Sequence[str], real: tuple[np.ndarray, np.ndarray], synthetic: dict[str, dict[str, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray, Shares | None]:
    """What a mix trains on: real images first, in the order of the split, then what stands beside them.

    That is synthetic images by class and index, or copies in the order of the mix. The shares are those of the mix, if it
    has any.
    """
    taken, row_of = set(mix.real_ids), {name: row for row, name in enumerate(real_ids)}
    rows = [row for row, name in enumerate(real_ids) if name in taken]
    copied = [row_of[name] for name, count in mix.copies for _ in range(count)]
    parts = [(real[0], np.asarray([*rows, *copied], np.int64))]
    targets = [real[1][parts[0][1]]]
    for take in mix.synthetic:
        if take.count:
            part = synthetic[take.words.key]
            parts.append((part["images"], np.searchsorted(part["index"], take.indices())))
            targets.append(np.full(take.count, part["label"], np.int64))
    labels = np.concatenate(targets)
    return _gathered(parts), labels, _shares(mix, labels, len(rows))


def _gathered(parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """The named rows of each array, one after another: copied once, or not at all where they are one whole array."""
    (first, rows), *further = parts
    if not further and np.array_equal(rows, np.arange(len(first))):
        return first
    images = np.empty((sum(len(at) for _, at in parts), *first.shape[1:]), first.dtype)
    end = 0
    for array, at in parts:
        begin, end = end, end + len(at)
        images[begin:end] = array if np.array_equal(at, np.arange(len(array))) else array[at]
    return images


def shared(array: np.ndarray) -> "torch.Tensor":
    """The array as a tensor on the same memory. Nobody writes to it: what comes from Ray's object store is read-only."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)   # of just that
        return torch.from_numpy(array)


def _shares(mix: Mix, labels_N: np.ndarray, n_real: int) -> Shares | None:
    """A group for each share of the mix; the first ``n_real`` rows are the real ones."""
    if not mix.shares:
        return None
    kinds = {(one.label, one.real): at for at, one in enumerate(mix.shares)}
    groups = [kinds[label, row < n_real] for row, label in enumerate(labels_N.tolist())]
    return Shares(np.asarray(groups, np.int64), np.asarray([one.share for one in mix.shares], float), mix.in_loss)
