"""What a model's licence is, and which licences may be drawn and published under."""

import json
from pathlib import Path

import pytest

from job.errors import QualityError, SettingsError
from job.ground import weights
from job.settings import Settings
from tests.folders import write

pytestmark = pytest.mark.unit
CARD = b"---\nlicense: %b\ntags:\n- x\n---\n# A model\n"


@pytest.mark.parametrize(("files", "licence"), [
    ({}, "unknown"),
    ({"README.md": b"# no front matter\nlicense: mit"}, "unknown"),
    ({"README.md": CARD % b"apache-2.0"}, "apache-2.0"),
    ({"MODEL_CARD.md": CARD % b"mit"}, "mit"),
    ({"README.md": b"---\nlicense: other\nlicense_name: some-community\n---\n"}, "some-community"),
    ({"README.md": b"---\nlicense:\n- mit\n- cc0-1.0\n---\n"}, "mit AND cc0-1.0"),
    ({"README.md": b"---\nlicense: {a: 1}\n---\n"}, "unknown"),
    ({"README.md": b"---\nlicense: [mit\n---\n"}, "unknown"),
    ({"README.md": b"\xff\xfe\x00---"}, "unknown"),
    ({"README.md": b"---\n!!python/object/apply:os.system ['touch ran']\n---\n"}, "unknown"),
    ({"README.md": CARD % b"mit" + b" " * weights.CARD_BYTES}, "unknown"),
    ({"README.md": CARD % b"mit", "lineage.json": json.dumps({"licence": "CC0-1.0"}).encode()}, "CC0-1.0"),
    ({"README.md": CARD % b"mit", "lineage.json": json.dumps({"depth": 2}).encode()}, "mit"),
])
def test_the_licence_is_what_the_lineage_says_and_else_the_model_card(files: dict[str, bytes], licence: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "model", {"model.safetensors": b"x", **files})
    assert weights.licence_of(folder, "d") == licence == weights.ancestry_of(folder, "d")[0]
    assert not Path("ran").exists()


def test_a_plug_without_weights_has_no_licence_to_ask_for() -> None:
    assert weights.licence_of("", weights.NONE) == ""
    weights.check_licence("", ())


def test_the_card_travels_with_weights_from_a_bucket_and_leaves_their_digest_alone(tmp_path: Path) -> None:
    class Bucket:
        def __init__(self, files: dict[str, bytes]) -> None:
            self.files = files

        def list(self) -> list[tuple[str, int]]:
            return [(name, len(data)) for name, data in sorted(self.files.items())]

        def read(self, path: str) -> bytes:
            return self.files[path]

    bare = {"model.safetensors": tmp_path.name.encode()}
    told = {name: weights.fetch("s3://models/m", "", lambda _, files=files: Bucket(files))
            for name, files in (("bare", bare), ("card", {**bare, "README.md": CARD % b"mit"}))}
    assert told["bare"][1] == told["card"][1]
    assert [weights.licence_of(*told[name]) for name in ("bare", "card")] == ["unknown", "mit"]


def test_only_licences_of_the_list_pass_whatever_their_case() -> None:
    allowed = Settings().publish.licences
    for licence in (*allowed, "apache-2.0", "mit", "cc0-1.0", "mit AND cc0-1.0"):
        weights.check_licence(licence, allowed)
    for licence in ("unknown", "cc-by-nc-4.0", "mit AND cc-by-nc-4.0", "other"):
        with pytest.raises(SettingsError, match="SALTWORKS_PUBLISH__LICENCES") as error:
            weights.check_licence(licence, allowed)
        assert repr(licence) in error.value.problem
        assert error.value.exit_code == 64
    with pytest.raises(QualityError):
        weights.check_licence("unknown", allowed, QualityError)


def test_the_shipped_models_tell_their_licence() -> None:
    folder, digest = weights.fetch("package:demo/weights/pipeline", "", None)
    weights.check_licence(weights.licence_of(folder, digest), Settings().publish.licences)
