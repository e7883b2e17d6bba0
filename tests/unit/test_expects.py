"""Secrets that the environment should hold and does not: told first, by name, and never by value."""

from pathlib import Path

import pytest

from job.__main__ import main
from job.errors import AccessError
from job.settings import check_expected, load
from job.verbs import VERBS

pytestmark = pytest.mark.unit
EXPECTS = '{"ZQ_ACCESS": "bucket/id", "ZQ_SECRET": "bucket/secret"}'
LATER = {"drain", "preflight", "refresh"}   # opens no storage; read their manifest first, and then plan


@pytest.mark.parametrize("verb", sorted(set(VERBS) - LATER))
def test_every_verb_that_opens_storage_refuses_an_absent_secret_before_anything_else(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ZQ_ACCESS", "canary-7")
    monkeypatch.setenv("ZQ_SECRET", "")
    more = {"rollback": ["--publish.version", "1"], "compare": ["0" * 16, "1" * 16]}.get(verb, [])
    assert main([verb, *more, "--root", str(tmp_path / "root"), "--expects", EXPECTS]) == AccessError.exit_code
    out, err = capfd.readouterr()
    assert "the secret bucket lacks the key secret, or there is no such secret (variable ZQ_SECRET is empty)" in err
    assert "kubectl create secret generic bucket --from-literal=secret=" in err
    assert "canary-7" not in out + err
    assert "ZQ_ACCESS" not in err
    assert not (tmp_path / "root").exists()


def test_all_absent_ones_are_named_at_once_and_none_that_is_there() -> None:
    expects = load([], {"SALTWORKS_EXPECTS": EXPECTS}).expects
    with pytest.raises(AccessError, match=r"\(variable ZQ_ACCESS is empty\); .*\(variable ZQ_SECRET is empty\)"):
        check_expected(expects, {})
    check_expected(expects, {"ZQ_ACCESS": "a", "ZQ_SECRET": "b"})


def test_one_by_one_means_the_same_as_json() -> None:
    expects = load([], {"SALTWORKS_EXPECTS__ZQ_SECRET": "bucket/secret"}).expects
    check_expected(expects, {"ZQ_SECRET": "b"})
    with pytest.raises(AccessError, match="variable zq_secret is empty"):
        check_expected(expects, {})


def test_a_drain_asks_for_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert main(["drain", "--stop_grace_s", "0", "--expects", EXPECTS]) == 0
