"""Settings: one name each, in the environment and as a flag; a wrong one is named with its limit, a secret never."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from job import plan, plugs, settings
from job.__main__ import main
from job.errors import SettingsError
from job.real import SOURCES
from job.settings import Settings, env_name, leaves, load

pytestmark = pytest.mark.unit
LEAVES = dict(leaves(Settings))
ANY_TEXT = {   # what they mean is checked later
    "kubernetes.manifest", "root", "image_digest", "code_digest", "split.table", "publish.export_to", "publish.licences",
    "real.name", "generator.name", "task.name", "price.source",
}
NAMES = st.sampled_from([env_name(path) for path in LEAVES])
OPTION = "SALTWORKS_GENERATOR__OPTIONS"
# what an environment can hold
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1) | st.sampled_from(
    ["0", "1", ".5", "-1", "nan", "auto", "true", "null", "[]", "{}", "[0, 1]", '{"a": {"b": "c"}}', '"x"', "3e400", "[", "é"])
PASSWORD = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="\\")).map("Zq7".__add__)


def flag_of(name: str) -> str:
    """SALTWORKS_SWEEP__SEEDS → --sweep.seeds"""
    return "--" + name.removeprefix(settings.PREFIX).lower().replace("__", ".")


def outcome(flags: list[str], environ: dict[str, str]) -> Any:
    try:
        return load(flags, environ)
    except SettingsError as error:
        return str(error)


@pytest.mark.parametrize(("name", "meant"), [
    ("SALTWORKS_ROOOT", "SALTWORKS_ROOT"), ("SALTWORKS_SWEEP__SEDS", "SALTWORKS_SWEEP__SEEDS"),
    ("SALTWORKS_SWEP__SEEDS", "SALTWORKS_SWEEP__SEEDS"), ("Saltworks_Trane__Steps", "SALTWORKS_TRAIN__STEPS"),
    ("SALTWORKS_SWEEP_SEEDS", "SALTWORKS_SWEEP__SEEDS"),
])
def test_a_misspelt_name_stops_the_job_and_the_right_one_is_told(name: str, meant: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} → did you mean {meant}\\?"):
        load([], {name: "3"})
    if name.isupper():
        with pytest.raises(SettingsError, match=f"{re.escape(flag_of(name))} → did you mean {re.escape(flag_of(meant))}\\?"):
            load([flag_of(name), "3"], {})


@pytest.mark.parametrize("path", LEAVES, ids=".".join)
def test_a_name_with_a_letter_too_many_is_no_setting(path: tuple[str, ...]) -> None:
    with pytest.raises(SettingsError, match=f"unknown setting {env_name(path)}X"):
        load([], {f"{env_name(path)}X": "1"})
    with pytest.raises(SettingsError, match=f"unknown flag --{'.'.join(path)}x"):
        load([f"--{'.'.join(path)}x", "1"], {})


def test_a_name_misspelt_inside_json_for_a_group_is_no_setting() -> None:
    with pytest.raises(SettingsError, match=r"unknown setting SALTWORKS_SWEEP__SEDS, did you mean SALTWORKS_SWEEP__SEEDS\?"):
        load([], {"SALTWORKS_SWEEP": '{"seds": 3}'})


def test_names_without_the_prefix_are_no_business_of_ours() -> None:
    assert load([], {"SALTWORK_ROOT": "x", "PATH": "/bin", "XSALTWORKS_A": "1"}) == load([], {})


@pytest.mark.parametrize("path", [path for path in LEAVES if ".".join(path) not in ANY_TEXT], ids=".".join)
def test_a_wrong_value_is_named_with_its_name_its_description_and_itself(path: tuple[str, ...]) -> None:
    with pytest.raises(SettingsError) as caught:
        load([], {env_name(path): "?wrong?"})
    assert f"{env_name(path)}='?wrong?'" in str(caught.value)
    assert LEAVES[path].description in str(caught.value)
    assert caught.value.exit_code == 64


@pytest.mark.parametrize(("name", "value", "limit"), [
    ("SALTWORKS_SWEEP__SEEDS", "0", "greater than or equal to 1"), ("SALTWORKS_TRAIN__SIZE_PX", "7", "greater than or equal to 8"),
    ("SALTWORKS_SPLIT__VAL_SHARE", "0.9", "less than 0.9"), ("SALTWORKS_TRAIN__LEARNING_RATE", "0", "greater than 0"),
    ("SALTWORKS_GENERATOR__UNIT_SIZE", "65537", "less than or equal to 65536"), ("SALTWORKS_DATASET", "a/b", "match pattern"),
    ("SALTWORKS_FILTER__KIND", "best", "'none', 'threshold' or 'quota'"), ("SALTWORKS_FILTER__MINIMUM", "-inf", "finite"),
    ("SALTWORKS_FILTER__MINIMUM", "nan", "finite"), ("SALTWORKS_PRICE__PER_GPU_HOUR", "inf", "finite"),
    ("SALTWORKS_SWEEP", "3", "valid dictionary"), ("SALTWORKS_PRICE__DATE", "yesterday", "match pattern"),
])
def test_the_complaint_says_the_limit(name: str, value: str, limit: str) -> None:
    with pytest.raises(SettingsError, match=f"{name}=.*{re.escape(limit)}"):
        load([], {name: value})


@given(st.floats().filter(lambda alpha: not 0 <= alpha <= 1), st.booleans())
def test_an_alpha_that_is_no_share_is_refused(alpha: float, as_json: bool) -> None:
    value = json.dumps([0, alpha]) if as_json else f"0,{alpha!r}"
    with pytest.raises(SettingsError, match=r"SALTWORKS_SWEEP__ALPHAS=.*(equal to|finite)"):
        load([], {"SALTWORKS_SWEEP__ALPHAS": value})


def test_every_wrong_value_is_told_at_once() -> None:
    wrong = {"SALTWORKS_SWEEP__SEEDS": "0", "SALTWORKS_TRAIN__STEPS": "many", "SALTWORKS_EDITION": "a b"}
    with pytest.raises(SettingsError) as caught:
        load([], wrong)
    assert all(f"{name}={value!r}" in str(caught.value) for name, value in wrong.items())
    plug = plugs.find(SOURCES, "image_folder", "")
    with pytest.raises(SettingsError, match=r"X__MAX_PIXELS=0: .*; X__READERS='many': .*; X__HUE=1: .* → options here: url, "):
        plugs.options(plug, {"url": "x", "max_pixels": 0, "readers": "many", "hue": 1}, "X")


@given(st.dictionaries(NAMES | st.sampled_from(["SALTWORKS_REAL", "SALTWORKS_SWEEP", OPTION, f"{OPTION}__A", f"{OPTION}__A__B"]),
                       TEXT, max_size=5))
def test_whatever_stands_in_the_environment_gives_settings_or_a_refusal(environ: dict[str, str]) -> None:
    assert isinstance(outcome([], environ), Settings | str)


@given(NAMES | st.sampled_from([f"{OPTION}__STEPS", "SALTWORKS_MEASURE__METRICS__CLIPSCORE__MODEL", "SALTWORKS_REAL__OPTIONS__URL",
                                "SALTWORKS_TASK__OPTIONS__MODEL"]), TEXT)
def test_a_flag_means_what_the_variable_of_its_name_means(name: str, value: str) -> None:
    assert outcome([f"{flag_of(name)}={value}"], {}) == outcome([], {name: value})
    if not value.startswith("--"):
        assert outcome([flag_of(name), value], {}) == outcome([], {name: value})


def test_flags_go_before_the_environment_and_that_before_the_defaults() -> None:
    environ = {"SALTWORKS_SWEEP__SEEDS": "4", "SALTWORKS_TRAIN__STEPS": "7", "SALTWORKS_ROOT": "",
               OPTION: '{"steps": 1, "guidance": 3}', f"{OPTION}__DTYPE": "bf16"}
    chosen = load(["--sweep.seeds=3", "--generator.options.steps", "2", "--sweep.seeds", "6"], environ)
    assert (chosen.sweep.seeds, chosen.train.steps, chosen.root) == (6, 7, "demo-output")
    assert chosen.generator.options == {"steps": "2", "guidance": 3, "dtype": "bf16"}
    assert load(["--generator.options", "{}"], environ).generator.options == {}
    assert load(["--measure.metrics", "{}"], {"SALTWORKS_MEASURE__METRICS__CLIPSCORE__MODEL": "x"}).measure.metrics == {}


@pytest.mark.parametrize(("flags", "problem"), [
    (["--sweep.seeds"], "--sweep.seeds stands without a value"), (["run"], "'run' belongs to no flag"),
    (["--generator.options.steps", "--root", "x"], "--generator.options.steps stands without a value"),
    (["--sweep.seeds", "3", "4"], "'4' belongs to no flag"), (["--seeds", "3"], "unknown flag --seeds"), (["-x"], "'-x' belongs"),
])
def test_a_flag_without_its_value_or_a_value_without_its_flag_is_refused(flags: list[str], problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        load(flags, {})


def test_help_names_every_flag_and_ends_well(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        load(["--help"], {})
    text = capsys.readouterr().out
    assert not [path for path in LEAVES if f"--{'.'.join(path)} " not in text]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_a_list_may_be_written_with_commas_or_as_json(alphas: list[float]) -> None:
    spellings = (",".join(map(repr, alphas)), ", ".join(map(repr, alphas)), json.dumps(alphas))
    (read,) = {load([], {"SALTWORKS_SWEEP__ALPHAS": one}).sweep.alphas for one in spellings}
    assert set(read) == set(alphas)


def test_commas_do_not_cut_a_template() -> None:
    assert load([], {"SALTWORKS_GENERATOR__TEMPLATES": '["a {name}, sharp", "b {name}"]'}).generator.templates[0] == "a {name}, sharp"


def test_options_of_plugs_are_set_one_by_one() -> None:
    told = {f"{OPTION}__STEPS": "7", "SALTWORKS_REAL__NAME": "image_folder", "SALTWORKS_REAL__OPTIONS__URL": "photos",
            "SALTWORKS_REAL__OPTIONS__CLASSES": '["cat", "dog"]', "SALTWORKS_TASK__OPTIONS__FLIP": "true",
            "SALTWORKS_MEASURE__METRICS__CLIPSCORE__MODEL": "clip"}
    flags = [part for name, value in told.items() for part in (flag_of(name), value)]
    for chosen in (load([], told), load(flags, {})):
        found = plan.choose_plugs(chosen)
        assert found.generator.options.steps == 7
        assert found.source.options.classes == ("cat", "dog")
        assert found.task.options.flip is True
        assert found.metrics["clipscore"].options.model == "clip"


@given(st.permutations([(OPTION, '{"steps": 1, "q": 2}'), (f"{OPTION}__STEPS", "5"), ("SALTWORKS_GENERATOR", '{"seed": 4}')]))
def test_the_order_of_the_environment_means_nothing(pairs: list[tuple[str, str]]) -> None:
    chosen = load([], dict(pairs)).generator
    assert (chosen.options, chosen.seed) == ({"steps": "5", "q": 2}, 4)


@given(PASSWORD, PASSWORD, st.sampled_from(["s3", "https", "gs"]))
def test_user_parts_and_signed_queries_are_never_shown(secret: str, signature: str, scheme: str) -> None:
    url = f"{scheme}://me:{secret}@host/path?X-Signature={signature}"
    chosen = load([], {"SALTWORKS_ROOT": url, "SALTWORKS_REAL__OPTIONS__URL": url, OPTION: json.dumps({"a": [{"b": url}]})})
    shown = [str(chosen.printable())]
    wrong = [({}, [flag, url]) for flag in ("--root-x", "--sweep.seeds", "--sweep.alphas", "--real.options", f"--x={url}", "--root=x")]
    wrong += [({name: url}, []) for name in ("SALTWORKS_PRICE__CURRENCY", "SALTWORKS_DATASET", "SALTWORKS_FILTER__KIND", OPTION)]
    for environ, flags in wrong:
        told = outcome(flags, environ)
        assert isinstance(told, str)
        shown.append(told)
    plug = plugs.find(SOURCES, "image_folder", "")
    for options in ({"link": url}, {"url": [url]}, {"url": "x", "classes": [url, {"a": url}]}, {"url": "x", "readers": url}):
        with pytest.raises(SettingsError) as caught:
            plugs.options(plug, options, "X")
        shown.append(str(caught.value))
    with pytest.raises(SettingsError) as caught:
        plugs.find(SOURCES, url, "SALTWORKS_REAL__NAME")
    assert not [text for text in [*shown, str(caught.value)] if secret in text or signature in text]
    assert f"{scheme}://***" in shown[0]


@pytest.mark.parametrize("path", LEAVES, ids=".".join)
def test_every_field_is_described_and_says_whether_it_is_identity(path: tuple[str, ...]) -> None:
    field = LEAVES[path]
    assert field.description
    assert isinstance(field.json_schema_extra["identity"], bool)
    assert (".".join(path) in load([], {}).identity()) == (field.json_schema_extra["identity"] and path[0] not in ("dataset", "edition"))


def test_settings_cannot_be_changed_after_they_were_read() -> None:
    chosen = load([], {})
    with pytest.raises(ValidationError):
        chosen.root = "elsewhere"
    for group in (one for one in vars(chosen).values() if isinstance(one, settings.Group)):
        with pytest.raises(ValidationError):
            setattr(group, next(iter(type(group).model_fields)), 1)


@pytest.mark.parametrize(("arguments", "environ"), [
    (["plan"], {"SALTWORKS_SEEDS": "3"}), (["run", "--sweep.seeds", "0"], {}), (["report", "--bogus", "1"], {}), (["paln"], {}), ([], {}),
    (["plan", "--generator.options.stepps", "7"], {}), (["plan", "--generator.name", "fakke"], {}), (["run", "--root", "ftp://x"], {}),
    (["plan"], {"SALTWORKS_FILTER__SCORE": "clipscore.hue"}), (["plan", "--sweep.alphas", ".5"], {"SALTWORKS_GENERATOR__NAME": "fake"}),
    (["plan"], {"SALTWORKS_GENERATOR__TEMPLATES": '["a photo"]', "SALTWORKS_GENERATOR__NAME": "fake"}),
])
def test_wrong_settings_end_with_64_and_one_line(
    arguments: list[str], environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert main(arguments) == 64
    if arguments:
        assert re.fullmatch(r"saltworks: [^\n]+ → [^\n]+\n", capsys.readouterr().err)
    assert not list(tmp_path.iterdir())
