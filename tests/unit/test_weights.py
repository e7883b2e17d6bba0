"""Laws of fetching weights: the digest is the content's, a download is whole or absent, and nothing unsafe gets in."""

import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from job.errors import DataError, SettingsError
from job.ground import weights

pytestmark = pytest.mark.unit

COMMIT_HASH = "0123456789abcdef0123456789abcdef01234567"
INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.42.1",
    "unet": ["diffusers", "UNet2DConditionModel"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
    "feature_extractor": [None, None],
    "requires_safety_checker": True,
}


class Bucket:
    """A bucket prefix in memory that counts what is read."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.reads: list[str] = []
        self.lock = threading.Lock()

    def list(self) -> list[tuple[str, int]]:
        return sorted((path, len(data)) for path, data in self.files.items())

    def read(self, path: str) -> bytes:
        with self.lock:
            self.reads.append(path)
        return self.files[path]


def model_files() -> dict[str, bytes]:
    return {
        "model_index.json": json.dumps(INDEX).encode(),
        "unet/diffusion_pytorch_model.safetensors": b"weights of the unet",
        "unet/config.json": b"{}",
        "tokenizer/merges.txt": b"a b",
    }


def write(folder: Path, files: dict[str, bytes]) -> str:
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return str(folder)


def no_bucket(url: str) -> Bucket:
    raise AssertionError(f"nobody may open {url}")


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("node")))


def test_no_location_means_no_weights() -> None:
    assert weights.fetch("", "", no_bucket) == ("", "none")


def test_a_folder_is_itself_and_a_file_url_is_that_folder(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", model_files())
    assert weights.fetch(folder, "", no_bucket) == (folder, weights.digest_of(folder))
    assert weights.fetch(f"file://{folder}", "", no_bucket) == (folder, weights.digest_of(folder))


def test_the_same_weights_have_the_same_digest_wherever_they_lie(tmp_path: Path) -> None:
    here, there = write(tmp_path / "a", model_files()), write(tmp_path / "b", model_files())
    bucket = Bucket({**model_files(), "README.md": b"words", "assets/picture.png": b"pixels"})
    digests = {weights.fetch(place, "", lambda _: bucket)[1] for place in (here, there, "s3://models/tiny")}
    assert len(digests) == 1
    assert "assets/picture.png" not in bucket.reads   # the card is read, for its licence, and is no part of the digest


def test_any_changed_added_or_moved_weight_changes_the_digest_and_a_readme_does_not(tmp_path: Path) -> None:
    files = model_files()
    unet = files["unet/diffusion_pytorch_model.safetensors"]
    variants = [
        files,
        {**files, "unet/diffusion_pytorch_model.safetensors": unet[::-1]},
        {**files, "unet/config.json": b"{ }"},
        {**files, "vae/diffusion_pytorch_model.safetensors": b""},
        {**{path: data for path, data in files.items() if "unet" not in path}, "unet2/x.safetensors": unet},
    ]
    digests = [weights.digest_of(write(tmp_path / str(number), one)) for number, one in enumerate(variants)]
    assert len(set(digests)) == len(variants)
    dressed = write(tmp_path / "dressed", {**files, "README.md": b"words", ".cache/hub/x.json": b"{}"})
    assert weights.digest_of(dressed) == digests[0]


def test_a_rewritten_file_is_hashed_again_in_the_same_process(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", model_files())
    before = weights.digest_of(folder)
    path = Path(folder, "unet/diffusion_pytorch_model.safetensors")
    path.write_bytes(b"WEIGHTS of the unet")   # the same size
    os.utime(path, ns=(1, 1))
    assert weights.digest_of(folder) != before


def test_a_bucket_is_downloaded_once_per_node_even_by_racing_workers() -> None:
    bucket = Bucket(model_files())
    found: list[tuple[str, str]] = []
    racers = [threading.Thread(target=lambda: found.append(weights.fetch("s3://models/tiny", "", lambda _: bucket)))
              for _ in range(4)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert len(set(found)) == 1
    assert len(found) == 4
    assert sorted(bucket.reads) == sorted(model_files())
    assert Path(found[0][0]).is_relative_to(Path(tempfile.gettempdir()) / "saltworks-weights")


def test_a_bucket_whose_listing_changed_is_downloaded_anew() -> None:
    first = weights.fetch("s3://models/tiny", "", lambda _: Bucket(model_files()))
    longer = {**model_files(), "unet/diffusion_pytorch_model.safetensors": b"other weights of another length"}
    second = weights.fetch("s3://models/tiny", "", lambda _: Bucket(longer))
    assert first[0] != second[0]
    assert first[1] != second[1]


def test_a_download_that_breaks_leaves_nothing_that_looks_whole() -> None:
    class Broken(Bucket):
        def read(self, path: str) -> bytes:
            if "unet" in path:
                raise DataError("the connection broke")
            return super().read(path)

    with pytest.raises(DataError, match="broke"):
        weights.fetch("s3://models/tiny", "", lambda _: Broken(model_files()))
    folder, digest = weights.fetch("s3://models/tiny", "", lambda _: Bucket(model_files()))
    assert {path.name for path in Path(folder).iterdir()} == {"model_index.json", "unet", "tokenizer"}
    assert digest == weights.digest_of(folder)


def test_an_upload_under_way_is_refused() -> None:
    class Growing(Bucket):
        def read(self, path: str) -> bytes:
            return super().read(path) + b"more"

    with pytest.raises(DataError, match="bytes instead of"):
        weights.fetch("s3://models/tiny", "", lambda _: Growing(model_files()))


def test_credentials_in_a_url_are_not_printed() -> None:
    with pytest.raises(DataError) as found:
        weights.fetch("s3://key:secret@models/tiny?sig=abc", "", lambda _: Bucket({"../x.safetensors": b""}))
    assert "secret" not in str(found.value)
    assert "abc" not in str(found.value)


@pytest.mark.parametrize("suffix", weights.UNSAFE)
def test_pickles_and_code_are_refused_by_name_with_the_cure(tmp_path: Path, suffix: str) -> None:
    bad = f"unet/Weights{suffix.upper()}"
    folder = write(tmp_path / "m", {**model_files(), bad: b"cos\nsystem\n"})
    bucket = Bucket({**model_files(), bad: b"cos\nsystem\n"})
    for place in (folder, "s3://models/bad"):
        with pytest.raises(DataError, match="safetensors") as found:
            weights.fetch(place, "", lambda _: bucket)
        assert bad in found.value.problem
        assert found.value.exit_code == 65
    assert bucket.reads == []   # refused before a byte was moved


def test_a_pickle_behind_a_link_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere", {"model.bin": b"cos\nsystem\n"})
    folder = write(tmp_path / "m", model_files())
    Path(folder, "vae").symlink_to(tmp_path / "elsewhere")
    Path(folder, "loop").symlink_to(folder)   # and a loop does no harm
    with pytest.raises(DataError, match=r"vae/model\.bin"):
        weights.refuse_unsafe(folder)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"unet": ["os", "system"]}, "os"),
        ({"unet": ["unet", "MyUNet"]}, "MyUNet|'unet'"),
        ({"unet": ["diffusers.utils", "X"]}, "diffusers.utils"),
        ({"unet": [["diffusers"], "X"]}, "diffusers"),
        ({"../../other": ["diffusers", "UNet2DConditionModel"]}, "other"),
        ({"/etc": ["diffusers", "UNet2DConditionModel"]}, "etc"),
        ({"_class_name": ["pipeline", "MyPipeline"]}, "MyPipeline"),
    ],
)
def test_an_index_that_reaches_for_foreign_code_or_files_is_refused(tmp_path: Path, change: dict, word: str) -> None:
    folder = write(tmp_path / "m", {**model_files(), "model_index.json": json.dumps({**INDEX, **change}).encode()})
    with pytest.raises(DataError, match=word):
        weights.refuse_unsafe(folder)


def test_a_shard_list_that_points_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    shards = json.dumps({"weight_map": {"a": "x-1.safetensors", "b": "../../x-2.safetensors"}}).encode()
    folder = write(tmp_path / "m", {**model_files(), "unet/diffusion_pytorch_model.safetensors.index.json": shards})
    with pytest.raises(DataError, match="out of its folder"):
        weights.refuse_unsafe(folder)


@pytest.mark.parametrize("broken", [b"{", b"[]", b"\xff"])
def test_an_index_that_is_no_json_object_is_a_data_error(tmp_path: Path, broken: bytes) -> None:
    folder = write(tmp_path / "m", {**model_files(), "model_index.json": broken})
    with pytest.raises(DataError, match=r"model_index\.json"):
        weights.refuse_unsafe(folder)


def test_a_folder_without_weights_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="safetensors"):
        weights.fetch(write(tmp_path / "m", {"readme.txt": b"nothing here"}), "", no_bucket)


@pytest.mark.parametrize(
    "location", ["package:../../etc", "package:/etc", "package:demo/weights/nothing", "./nowhere", "nowhere"]
)
def test_a_place_that_is_none_is_a_data_error_with_a_cure(location: str) -> None:
    with pytest.raises(DataError) as found:
        weights.fetch(location, "", no_bucket)
    assert found.value.cure


def test_a_revision_where_there_are_none_is_a_wrong_setting(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="revision"):
        weights.fetch(write(tmp_path / "m", model_files()), "main", no_bucket)


def test_a_hub_id_out_of_reach_names_the_id_and_the_way_out() -> None:
    code = (
        "from job.ground import weights\n"
        "from job.errors import DataError\n"
        "try: weights.fetch('some-org/some-model', 'abc', None)\n"
        "except DataError as error: print(error)\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                           env={**os.environ, "HF_HUB_OFFLINE": "1"})
    assert "some-org/some-model@abc" in found.stdout
    assert "folder or bucket prefix" in found.stdout


def test_a_hub_id_in_the_local_cache_is_found_offline_and_named_by_its_commit(tmp_path: Path) -> None:
    home = tmp_path / "models--some-org--some-model"
    write(home / "snapshots" / COMMIT_HASH, model_files())
    write(home / "refs", {"main": COMMIT_HASH.encode()})
    code = "from job.ground import weights; print(*weights.fetch('some-org/some-model', '', None))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                           env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(tmp_path)})
    folder, digest = found.stdout.split()
    assert digest == COMMIT_HASH
    assert Path(folder).name == COMMIT_HASH


def test_lineage_ends_with_the_weights_and_is_unknown_without_a_file(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", model_files())
    assert weights.ancestry_of(folder, "d2") == ("unknown", 1, ("d2",))
    write(tmp_path / "m", {"lineage.json": json.dumps({"licence": "MIT", "depth": 3, "ancestry": ["d0", "d1"]}).encode()})
    assert weights.ancestry_of(folder, "d2") == ("MIT", 3, ("d0", "d1", "d2"))
    assert weights.ancestry_of(folder, "d1") == ("MIT", 3, ("d0", "d1"))


@pytest.mark.parametrize("wrong", [{"depth": 0}, {"depth": True}, {"licence": 3}, {"ancestry": "d0"}, {"ancestry": [1]}])
def test_a_lineage_of_another_shape_is_a_data_error(tmp_path: Path, wrong: dict) -> None:
    folder = write(tmp_path / "m", {**model_files(), "lineage.json": json.dumps(wrong).encode()})
    with pytest.raises(DataError, match=r"lineage\.json"):
        weights.ancestry_of(folder, "d")
