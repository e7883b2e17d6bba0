"""Weights: from wherever they live to a local folder with a digest, and a refusal of all that could run foreign code.

Only safetensors and the plain text beside them are ever taken. A pickled file can run code when it is read, and
``model_index.json`` names the modules that diffusers imports (GHSA-4prv-5hj7-c2xr was a way around its own check),
so both are refused here, before any library sees the folder, and a folder cannot be fetched without that check.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from job.errors import AccessError, DataError, JobError, SettingsError, redact
from job.ground.lineage import content_id

NONE = "none"           # the digest of a plug without weights
PACKAGE = "package:"    # a folder inside ``job``, shipped with it
TAKEN = (".safetensors", ".json", ".txt", ".model")
UNSAFE = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".py")
LIBRARIES = ("diffusers", "transformers")
# The single-file checkpoints in a repository's root repeat what stands in its folders, at 4 to 24 GB each.
CARDS = ("README.md", "MODEL_CARD.md")   # not weights, so no part of the digest; read for the licence alone
CARD_BYTES = 1 << 22
HUB_PATTERNS = ["*.json", "*.txt", "*.model", "*/*.safetensors", "model*.safetensors",
                "diffusion_pytorch_model*.safetensors", "pytorch_lora_weights*.safetensors", *CARDS]
UNKNOWN = "unknown"
SAFE_CURE = "convert the weights to safetensors and remove this file"


class Folder(Protocol):
    """Read-only view of one bucket prefix; the same protocol as for real images."""

    def list(self) -> list[tuple[str, int]]:
        """Every file below, as (relative path, bytes), sorted by path."""

    def read(self, path: str) -> bytes:
        """The whole file. Raises ``DataError`` or ``AccessError`` with the path in the message."""


def fetch(location: str, revision: str, open_folder: Callable[[str], Folder]) -> tuple[str, str]:
    """The local folder that holds these weights, checked by ``refuse_unsafe``, and their digest.

    ``location`` is empty (no weights: ``("", "none")``), ``package:path`` inside ``job``, an existing folder, a URL
    with a scheme (read through ``open_folder``, once per node) or a hub id ``org/name``. A folder that exists wins
    over a hub id. The digest is that of the content, wherever it lies, or the commit hash of a hub id.

    Raises ``SettingsError`` for a revision where there are none, ``DataError`` for weights that are missing,
    unreachable or unsafe, ``AccessError`` for a hub id that needs a permission.
    """
    if not location:
        return "", NONE
    if location.startswith("file://"):
        location = location.removeprefix("file://")
    if location.startswith(PACKAGE):
        folder = _in_package(location.removeprefix(PACKAGE))
    elif os.path.isdir(location):
        folder = location
    elif "://" in location:
        folder = ""
    else:
        return _from_hub(location, revision)
    if revision:
        raise SettingsError(f"revision={revision!r} is given, but {redact(location)!r} is no hub id and has none",
                            "leave the revision empty")
    if not folder:
        folder = _from_bucket(location, open_folder(location))
    refuse_unsafe(folder)
    return folder, digest_of(folder)


def refuse_unsafe(folder: str) -> None:
    """Raise ``DataError`` if loading the folder could run code of its author, naming the file and the cure.

    Refused: pickles and code by name, components of ``model_index.json`` from libraries other than diffusers (its own
    pipelines' modules included) and transformers, and entries of any index that point out of the folder.
    """
    files = list(_files(folder))
    _refuse_names(files)
    for path in files:
        if path == "model_index.json":
            _refuse_components(_read_json(folder, path), f"{folder}/{path}")
        elif path.endswith(".index.json"):
            shards = _read_json(folder, path).get("weight_map", {})
            _refuse_escapes(shards.values() if isinstance(shards, dict) else [shards], f"{folder}/{path}")


def digest_of(folder: str) -> str:
    """sha256 over the sorted (relative path, sha256 of content) of the files that count as weights.

    A README or a hidden file changes nothing. A file is hashed once per process, as long as size and mtime stay.
    Raises ``DataError`` if the folder holds no weights at all.
    """
    lines = []
    for path in _files(folder):
        if _taken(path):
            whole = os.path.join(folder, path)
            stat = os.stat(whole)
            lines.append(f"{path}\0{_sha256_of(whole, stat.st_size, stat.st_mtime_ns)}\n")
    if not any(line.partition("\0")[0].endswith(".safetensors") for line in lines):
        raise DataError(f"{folder!r} holds no *.safetensors file", "name the folder that holds the model itself")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def ancestry_of(folder: str, digest: str) -> tuple[str, int, tuple[str, ...]]:
    """Licence, depth and ancestry (oldest first, ``digest`` last) as the folder's ``lineage.json`` tells them.

    Without that file: the licence of the model card, 1, and the digest alone. Raises ``DataError`` for a file of another shape.
    """
    if not os.path.isfile(os.path.join(folder, "lineage.json")):
        return _card_licence(folder), 1, (digest,)
    told = _read_json(folder, "lineage.json")
    licence, depth, before = told.get("licence", ""), told.get("depth", 1), told.get("ancestry", [])
    plausible = isinstance(licence, str) and type(depth) is int and depth >= 1
    if not (plausible and isinstance(before, list) and all(isinstance(one, str) for one in before)):
        raise DataError(f"{folder}/lineage.json is not {{licence: text, depth: 1 or more, ancestry: list of digests}}",
                        "write it as the training wrote it, or remove it")
    return licence or _card_licence(folder), depth, (*(one for one in before if one != digest), digest)


def licence_of(folder: str, digest: str) -> str:
    """Licence of a model: what ``lineage.json`` says, else the front matter of its model card, else ``unknown``.

    ``folder`` and ``digest`` as ``fetch`` gives them; a plug without weights draws nothing of anybody's: empty.
    """
    return ancestry_of(folder, digest)[0] if folder else ""


def check_licence(licence: str, allowed: Iterable[str], error: type[JobError] = SettingsError) -> None:
    """Raise ``error`` unless the licence (of several, joined by AND, each) is on the list, upper and lower case alike.

    Empty means that there are no weights, and passes.
    """
    allowed = tuple(allowed)
    if licence and not {one.casefold() for one in licence.split(" AND ")} <= {one.casefold() for one in allowed}:
        raise error(f"the model's licence is {licence!r}, and images are drawn and published under {', '.join(allowed) or 'none'} only",
                    "use another model, add the licence to SALTWORKS_PUBLISH__LICENCES, or write it into lineage.json beside "
                    "weights that tell none")


def _card_licence(folder: str) -> str:
    """``license`` in the YAML front matter of the model card, as Hugging Face reads it; for ``other``, the name given to it."""
    from huggingface_hub.repocard import metadata_load

    for name in CARDS:
        path = Path(folder, name)
        if path.is_file() and path.stat().st_size <= CARD_BYTES:
            try:
                told = metadata_load(path) or {}
            except Exception:   # text that is no UTF-8, YAML that is none: a card that says nothing
                told = {}
            licence = told.get("license")
            licence = told.get("license_name") or licence if licence == "other" else licence
            if licence and isinstance(licence, str | list):
                return licence if isinstance(licence, str) else " AND ".join(map(str, licence))
    return UNKNOWN


def _in_package(path: str) -> str:
    """The folder ``path`` inside the installed ``job``; nothing of it is imported."""
    root = Path(__file__).resolve().parents[1]
    _refuse_escapes([path], PACKAGE)
    if not (root / path).is_dir():
        raise DataError(f"{PACKAGE}{path} is not part of this installation", "install the package with its data")
    return str(root / path)


def _from_bucket(url: str, source: Folder) -> str:
    """A copy below the temporary folder, named by URL and listing; one process of a node downloads, the others wait."""
    listing = source.list()
    names = [name for name, _ in listing]
    _refuse_names(names)   # before a byte is moved
    _refuse_escapes(names, redact(url))
    wanted = [(name, size) for name, size in listing if _taken(name) or (name in CARDS and size <= CARD_BYTES)]
    parent = Path(tempfile.gettempdir()) / "saltworks-weights"
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = parent / content_id(redact(url), wanted)
    part = target.with_suffix(".part")
    with open(target.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.is_dir():
            shutil.rmtree(part, ignore_errors=True)   # of a process that was killed
            for name, size in wanted:
                data = source.read(name)
                if len(data) != size:
                    raise DataError(f"{redact(url)}/{name} has {len(data)} bytes instead of the {size} listed",
                                    "wait until the upload is done")
                (part / name).parent.mkdir(parents=True, exist_ok=True)
                (part / name).write_bytes(data)
            part.mkdir(exist_ok=True)
            part.rename(target)   # whole or not at all
    return str(target)


def _from_hub(name: str, revision: str) -> tuple[str, str]:
    """A snapshot of a hub id, and its commit hash."""
    instead = "use a folder or bucket prefix that holds a copy"
    if not re.fullmatch(r"[\w][\w.-]*/[\w][\w.-]*", name):
        raise DataError(f"{name!r} is no existing folder, no URL and no hub id such as org/name", "check the path")
    from huggingface_hub import errors, snapshot_download

    asked = f"{name}@{revision}" if revision else name
    try:
        folder = snapshot_download(name, revision=revision or None, allow_patterns=HUB_PATTERNS)
    except errors.GatedRepoError as error:
        raise AccessError(f"the hub id {asked!r} is gated", f"accept its licence and give a token, or {instead}") from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise DataError(f"the hub knows no {asked!r}, or not for this token", f"check id and revision, or {instead}") from error
    except Exception as error:   # each transport has exceptions of its own, and all mean the same here
        raise DataError(f"the hub id {asked!r} cannot be downloaded from here ({type(error).__name__})", instead) from error
    refuse_unsafe(folder)
    commit = os.path.basename(folder)
    return folder, commit if re.fullmatch(r"[0-9a-f]{40}", commit) else digest_of(folder)


def _files(folder: str) -> Iterator[str]:
    """Relative paths of all files below, with forward slashes, sorted."""
    if not os.path.isdir(folder):
        raise DataError(f"{folder!r} is no folder", "check the path")
    return iter(sorted(Path(path).relative_to(folder).as_posix() for path in _walk(folder, frozenset())))


def _walk(folder: str, above: frozenset[str]) -> Iterator[str]:
    """Links to folders are followed, for a linked component is loaded too; but not back to a folder above."""
    real = os.path.realpath(folder)
    if real not in above:
        for entry in os.scandir(folder):
            if entry.is_dir():
                yield from _walk(entry.path, above | {real})
            else:
                yield entry.path


def _taken(path: str) -> bool:
    return path.endswith(TAKEN) and not any(part.startswith(".") for part in PurePosixPath(path).parts)


@lru_cache(maxsize=4096)
def _sha256_of(path: str, size: int, mtime_ns: int) -> str:
    del size, mtime_ns   # part of the key alone
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_json(folder: str, path: str) -> dict[str, Any]:
    try:
        value = json.loads(Path(folder, path).read_bytes())
    except ValueError as error:
        raise DataError(f"{folder}/{path} is no JSON: {error}", "fetch the weights again") from None
    if not isinstance(value, dict):
        raise DataError(f"{folder}/{path} is no JSON object", "fetch the weights again")
    return value


def _refuse_names(paths: Iterable[str]) -> None:
    for path in paths:
        if path.lower().endswith(UNSAFE):
            raise DataError(f"{path!r} among the weights could run code when it is read", SAFE_CURE)


def _refuse_escapes(paths: Iterable[Any], where: str) -> None:
    for path in paths:
        parts = PurePosixPath(path).parts if isinstance(path, str) else ("..",)
        if not parts or ".." in parts or parts[0] == "/" or "\\" in path:
            raise DataError(f"{where} points out of its folder: {path!r}", "fetch the weights from their publisher again")


def _refuse_components(index: dict[str, Any], where: str) -> None:
    """``{"unet": ["diffusers", "UNet2DConditionModel"], "_class_name": …}``: lists are components, the rest is config."""
    if not isinstance(index.get("_class_name", ""), str):
        raise DataError(f"{where} asks for a pipeline with code of its own: {index['_class_name']!r}", "use a built-in pipeline")
    for name, value in index.items():
        if not isinstance(value, list):
            continue
        _refuse_escapes([name], where)
        library = value[0] if value else None   # null: a component left out
        if library is not None and library not in [*LIBRARIES, *_pipeline_modules()]:
            raise DataError(f"{where} takes {name!r} from {library!r}, which is none of {', '.join(LIBRARIES)}",
                            "use a model whose components are theirs")


@lru_cache(maxsize=1)
def _pipeline_modules() -> frozenset[str]:
    """Names under which diffusers itself keeps components of its pipelines, such as SD-1.5's safety checker."""
    spec = find_spec("diffusers")   # finds it without importing it
    roots = spec.submodule_search_locations if spec and spec.submodule_search_locations else []
    return frozenset(path.parent.name for root in roots for path in Path(root, "pipelines").glob("*/__init__.py"))
