"""A generator's model together with the further ones that it draws with: one digest for all, and one licence.

A pipeline with another autoencoder draws other pictures, so the digest of both is what a recipe is made of.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from job.ground import lineage, weights


def fetch(generator: Any, open_folder: Callable[[str], weights.Folder]) -> tuple[str, str, dict[str, str]]:
    """Folder and digest as ``weights.fetch`` gives them, and the folders of the generator's ``parts`` by name.

    The digest is that of the model alone where there are no parts. Raises what ``weights.fetch`` does.
    """
    folder, digest = weights.fetch(generator.location(), generator.revision(), open_folder)
    named = generator.parts() if hasattr(generator, "parts") else {}
    fetched = {name: weights.fetch(*_at(place), open_folder) for name, place in sorted(named.items())}
    if fetched:
        digest = lineage.sha256(lineage.canonical([digest, [[name, one] for name, (_, one) in fetched.items()]]).encode())
    return folder, digest, {name: place for name, (place, _) in fetched.items()}


def _at(place: str) -> tuple[str, str]:
    """A part's location and revision: ``org/name@revision`` is a hub id of one, and anything else has none."""
    found = re.fullmatch(r"(\w[\w.-]*/\w[\w.-]*)@(.+)", place)
    return (found[1], found[2]) if found and not Path(place).is_dir() else (place, "")


def licence_of(folder: str, digest: str, parts: dict[str, str]) -> str:
    """The licences of the model and of every part, as ``weights.check_licence`` reads several."""
    found = weights.licence_of(folder, digest)
    for place in parts.values():
        found = joined_licence(found, weights.licence_of(place, ""))
    return found


def joined_licence(one: str, other: str) -> str:
    """Both, each once."""
    return " AND ".join(dict.fromkeys([*one.split(" AND "), *other.split(" AND ")]))
