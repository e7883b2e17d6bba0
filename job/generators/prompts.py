"""A tool of generators, no plug: prompts encoded once each, alone, and remembered.

A pipeline of diffusers calls its own ``encode_prompt``, and each returns something else: embeddings, pooled ones, masks,
ids. Standing in that method's place, ``Prompts`` needs to know none of them. What a prompt is encoded to does not depend
on its neighbours in a batch then, and the text encoders run a few dozen times in a job instead of once a batch.
"""

import inspect
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

MOST_BYTES = 256 * 2**20   # of embeddings that are kept on the device: 1,100 prompts of SD-1.5 in 16 bits, 400 of SDXL, 60 of FLUX
NO_ROWS = object()         # results of single prompts that cannot be put together


class Prompts:
    """``encode_prompt`` of one pipeline, with a memory of at most ``most_bytes``."""

    def __init__(self, encode: Callable[..., Any], most_bytes: int = MOST_BYTES) -> None:
        self._encode, self._most = encode, most_bytes
        self._signature = inspect.signature(encode)
        self._known: OrderedDict[str, Any] = OrderedDict()   # the least lately used first
        self._bytes = 0
        self._fits = True   # whether what single prompts give can be put together

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As the pipeline's own method, for a list of prompts; whatever else it is called with goes there unchanged."""
        asked = self._signature.bind(*args, **kwargs)
        prompts, given = asked.arguments.get("prompt"), {**asked.arguments, **asked.kwargs}
        if not self._fits or not isinstance(prompts, list) or any(hasattr(value, "shape") for value in given.values()):
            return self._encode(*args, **kwargs)
        lists = {name: value for name, value in asked.arguments.items()
                 if name.startswith(("prompt", "negative_prompt")) and isinstance(value, list) and len(value) == len(prompts)}
        rows = []
        for at in range(len(prompts)):
            asked.arguments.update({name: [value[at]] for name, value in lists.items()})
            rows.append(self._one(asked))
        whole = _joined(rows)
        self._fits = whole is not NO_ROWS
        return whole if self._fits else self._encode(*args, **kwargs)

    def _one(self, asked: inspect.BoundArguments) -> Any:
        """What the one prompt of this call is encoded to."""
        key = repr(sorted(asked.arguments.items()))
        if key not in self._known:
            self._known[key] = self._encode(*asked.args, **asked.kwargs)
            self._bytes += _bytes(self._known[key])
        self._known.move_to_end(key)
        found = self._known[key]
        while self._bytes > self._most and len(self._known) > 1:
            self._bytes -= _bytes(self._known.popitem(last=False)[1])
        return found


def _bytes(made: Any) -> int:
    parts = made if isinstance(made, tuple | list) else (made,)
    return sum(part.nbytes for part in parts if hasattr(part, "nbytes"))


def _joined(rows: Sequence[Any]) -> Any:
    """The results of single prompts as that of all: part by part along the batch, or ``NO_ROWS`` where that is not possible.

    A part of another first size than 1 belongs to no prompt (the position ids of FLUX), and is the same for all.
    """
    import torch

    first = rows[0]
    if isinstance(first, tuple):
        parts = [_joined([row[at] for row in rows]) for at in range(len(first))]
        return NO_ROWS if any(part is NO_ROWS for part in parts) else tuple(parts)
    if first is None:
        return None
    if not isinstance(first, torch.Tensor) or any(row.shape != first.shape for row in rows):
        return NO_ROWS
    return first if first.dim() == 0 or len(first) != 1 else torch.cat(list(rows))
