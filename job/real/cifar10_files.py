"""The published files of CIFAR-10: where they lie, and how a batch is read in the binary and in the python layout.

A python batch is a pickle, and a pickle can name any function to be called. Here it can name only the stand-ins
below, which build plain integer arrays and nothing else: neither numpy's own reconstruction nor foreign code runs.
"""

import io
import pickle
from dataclasses import dataclass
from typing import Any

import numpy as np

from job.errors import DataError
from job.real import Folder

NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SIZE_PX = 32
PLANES_BYTES = 3 * SIZE_PX * SIZE_PX   # a red, a green and a blue plane
RECORD_BYTES = 1 + PLANES_BYTES        # the label before them
TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST = "test_batch"
AGAIN = "fetch the published file again"


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the files of one published form lie."""

    folder: str
    suffix: str
    meta: str      # the file that lists the class names
    pickled: bool

    def batch(self, name: str) -> str:
        return f"{self.folder}{name}{self.suffix}"

    @property
    def names(self) -> str:
        return f"{self.folder}{self.meta}"


LAYOUTS = (   # the binary ones first: they need no pickle
    Layout("", ".bin", "batches.meta.txt", False),
    Layout("cifar-10-batches-bin/", ".bin", "batches.meta.txt", False),
    Layout("", "", "batches.meta", True),
    Layout("cifar-10-batches-py/", "", "batches.meta", True),
)


class ForeignCode(DataError):
    """A pickle asks for code that no CIFAR-10 batch needs: not a damaged file but a dangerous one."""


def find(folder: Folder) -> tuple[Layout, set[str]]:
    """The layout that has most batches, and all paths of the folder. Raises ``DataError`` without a test batch."""
    present = {path for path, _ in folder.list()}
    layout = max(LAYOUTS, key=lambda one: sum(one.batch(name) in present for name in (*TRAIN, TEST)))
    if layout.batch(TEST) not in present:
        raise DataError("the CIFAR-10 test batch is missing, and it is the locked test",
                        f"put test_batch.bin, or test_batch of the python layout, beside {TRAIN[0]} to {TRAIN[-1]} below `url`")
    return layout, present


def read_names(folder: Folder, layout: Layout) -> tuple[str, ...]:
    """The class names in the order of their labels. Raises ``DataError``, and whatever ``Folder.read`` raises."""
    data = folder.read(layout.names)
    if layout.pickled:
        names = _unpickle(data, layout.names).get(b"label_names")
        if not isinstance(names, list) or not all(isinstance(name, bytes | str) for name in names):
            raise DataError(f"{layout.names} has no list `label_names`", AGAIN)
    else:
        names = data.split()
    return tuple(name if isinstance(name, str) else name.decode("ascii", "replace") for name in names)


def read_batch(folder: Folder, layout: Layout, name: str) -> tuple[np.ndarray, np.ndarray, str]:
    """Images uint8 (N, 32, 32, 3), labels int64 (N,) as they stand in the file, and how the file is damaged, if it is.

    Raises ``DataError`` if nothing in it can be used (``ForeignCode`` if its pickle names foreign code), and whatever
    ``Folder.read`` raises.
    """
    path = layout.batch(name)
    data = folder.read(path)
    planes_NP, labels_N, damage = _from_pickle(data, path) if layout.pickled else _from_records(data)
    if not len(planes_NP):
        raise DataError(f"{path} holds no whole image ({len(data)} bytes)", AGAIN)
    images_NHWC = planes_NP.reshape(-1, 3, SIZE_PX, SIZE_PX).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images_NHWC), labels_N, damage


def _from_records(data: bytes) -> tuple[np.ndarray, np.ndarray, str]:
    count, over = divmod(len(data), RECORD_BYTES)
    records = np.frombuffer(data, dtype=np.uint8, count=count * RECORD_BYTES).reshape(count, RECORD_BYTES)
    damage = f"truncated: {over} bytes follow the last of {count} whole records, which are used" if over else ""
    return records[:, 1:], records[:, 0].astype(np.int64), damage


def _from_pickle(data: bytes, path: str) -> tuple[np.ndarray, np.ndarray, str]:
    content = _unpickle(data, path)
    planes_NP, labels_N = _array(content.get(b"data")), _array(content.get(b"labels"))
    if planes_NP is None or planes_NP.dtype != np.uint8 or planes_NP.shape[1:] != (PLANES_BYTES,):
        raise DataError(f"{path} has no array `data` of N times {PLANES_BYTES} bytes", AGAIN)
    if labels_N is None or labels_N.shape != (len(planes_NP),):
        raise DataError(f"{path} has not one whole number in `labels` for each of its {len(planes_NP)} images", AGAIN)
    return planes_NP, labels_N.astype(np.int64), ""


def _array(value: object) -> np.ndarray | None:
    if isinstance(value, list) and all(type(one) is int and abs(one) < 2**31 for one in value):
        return np.array(value, dtype=np.int64)
    return value.value if isinstance(value, _Array) else None


def _unpickle(data: bytes, path: str) -> dict[Any, Any]:
    """The dictionary in a python batch, its keys as bytes. Raises ``DataError``; ``ForeignCode`` names what it asked for."""
    try:
        content = _Unpickler(io.BytesIO(data), encoding="bytes").load()
    except ForeignCode as error:
        raise ForeignCode(f"{path} {error.problem}", error.cure) from None
    except Exception as error:   # bytes that are no pickle make the unpickler raise whatever they look like
        raise DataError(f"{path} is truncated or no pickle: {error or type(error).__name__}", AGAIN) from None
    if not isinstance(content, dict):
        raise DataError(f"{path} holds no dictionary", AGAIN)
    return {key.encode() if isinstance(key, str) else key: value for key, value in content.items()}


class _Dtype:
    """Stands in for ``numpy.dtype``: unsigned bytes and the integers that labels come in."""

    def __init__(self, name: bytes | str, *flags: object) -> None:
        text = name.decode() if isinstance(name, bytes) else name
        if text not in ("u1", "i4", "i8"):
            raise ValueError(f"arrays of {text!r} stand in no batch")
        self.numpy = np.dtype(text).newbyteorder("<")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] in (b">", ">"):
            self.numpy = self.numpy.newbyteorder(">")


class _Array:
    """Stands in for ``numpy.ndarray``; ``value`` is None until its state arrives."""

    def __init__(self, *ignored: object) -> None:
        self.value: np.ndarray | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, raw = state
        self.value = np.frombuffer(raw, dtype.numpy).reshape(shape, order="F" if fortran else "C")


def _reconstruct(kind: object, shape: object, typecode: object) -> _Array:
    return _Array()


def _frombuffer(raw: bytes, dtype: _Dtype, shape: tuple[int, ...], order: str, axes: None = None) -> _Array:
    """How numpy writes an array from pickle protocol 5 on."""
    if order not in ("C", "F") or axes is not None:
        raise ValueError("an array in an order that no batch has")
    array = _Array()
    array.__setstate__((1, shape, dtype, order == "F", raw))
    return array


def _bytes(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes below pickle protocol 3; the codec is not the file's to choose."""
    return text.encode("latin1")


STAND_INS = {
    "numpy ndarray": _Array,
    "numpy dtype": _Dtype,
    "numpy.core.multiarray _reconstruct": _reconstruct,
    "numpy._core.multiarray _reconstruct": _reconstruct,
    "numpy.core.numeric _frombuffer": _frombuffer,
    "numpy._core.numeric _frombuffer": _frombuffer,
    "_codecs encode": _bytes,
}


class _Unpickler(pickle._Unpickler):   # Python's own: in the C one a damaged memo number allocates 64 GiB
    def find_class(self, module: str, name: str) -> Any:
        if f"{module} {name}" not in STAND_INS:
            raise ForeignCode(f"asks for {module}.{name}, which no CIFAR-10 batch needs",
                              "do not use this file; fetch the published one, or the binary layout")
        return STAND_INS[f"{module} {name}"]
