"""Every kind of storage trouble has its class, and every class its end: waited out, 64, 65, 75 or 77, and never a defect."""

import errno
from pathlib import Path

import pytest
import s3fs
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st
from s3fs.errors import ERROR_CODE_TO_EXCEPTION, translate_boto_error

from job.errors import AccessError, DataError, JobError, SettingsError, TemporaryError
from job.ground import retry
from job.ground.store import Store

pytestmark = pytest.mark.unit
KEY = {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCY",
       "AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_EC2_METADATA_DISABLED": "true"}


def answer(code: str, status: int) -> Exception:
    """What s3fs raises when S3 answers so."""
    response = {"Error": {"Code": code, "Message": "said"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return translate_boto_error(ClientError(response, "PutObject"))


@pytest.mark.parametrize(("code", "status", "kind", "end"), [
    ("InternalError", 500, "passing", TemporaryError), ("ServiceUnavailable", 503, "passing", TemporaryError),
    ("SlowDown", 503, "passing", TemporaryError), ("502", 502, "passing", TemporaryError), ("504", 504, "passing", TemporaryError),
    ("TooManyRequests", 429, "passing", TemporaryError), ("RequestTimeout", 400, "passing", TemporaryError),
    ("IncompleteBody", 400, "passing", TemporaryError), ("BadDigest", 400, "passing", TemporaryError),
    ("ConditionalRequestConflict", 409, "passing", TemporaryError), ("OperationAborted", 409, "passing", TemporaryError),
    ("NoSuchUpload", 404, "passing", TemporaryError), ("InvalidPart", 400, "passing", TemporaryError),
    ("ExpiredToken", 400, "credentials", AccessError), ("InvalidToken", 400, "credentials", AccessError),
    ("InvalidAccessKeyId", 403, "credentials", AccessError), ("403", 403, "credentials", AccessError),
    ("RequestTimeTooSkewed", 403, "clock", TemporaryError), ("AccessDenied", 403, "lasting", AccessError),
    ("SignatureDoesNotMatch", 403, "lasting", AccessError), ("InvalidArgument", 400, "lasting", DataError),
    ("EntityTooLarge", 400, "lasting", DataError), ("NotImplemented", 501, "lasting", DataError),
    ("PermanentRedirect", 301, "lasting", DataError), ("MethodNotAllowed", 405, "lasting", AccessError)])
def test_an_answer_of_s3_has_its_class_and_its_end(code: str, status: int, kind: str, end: type[JobError]) -> None:
    error = answer(code, status)
    assert retry.kind(error) == kind
    assert type(retry.translate(error, "s3://bucket/key", "said")) is end


@pytest.mark.parametrize("code", sorted(ERROR_CODE_TO_EXCEPTION))
@pytest.mark.parametrize("status", [400, 403, 404, 409, 500, 503])
def test_no_answer_of_s3_is_a_defect_of_ours(code: str, status: int) -> None:
    error = answer(code, status)
    assert isinstance(retry.translate(error, "s3://bucket/key", "said"), JobError) or isinstance(error, retry.ABSENT)


@given(st.sampled_from(sorted(errno.errorcode)))
def test_no_errno_of_a_disk_is_a_defect_of_ours(number: int) -> None:
    error = OSError(number, "said")
    assert isinstance(error, retry.ABSENT) or isinstance(retry.translate(error, "/place/key", "said"), JobError)


@pytest.mark.parametrize(("number", "kind", "end", "cure"), [
    (errno.ENOSPC, "lasting", TemporaryError, "free space"), (errno.EDQUOT, "lasting", TemporaryError, "free space"),
    (errno.EROFS, "lasting", AccessError, "mount it"), (errno.EACCES, "lasting", AccessError, "check credentials"),
    (errno.ENOTSUP, "lasting", DataError, "hard links"), (errno.EIO, "passing", TemporaryError, "run again"),
    (errno.ESTALE, "passing", TemporaryError, "run again"), (errno.ENAMETOOLONG, "lasting", DataError, "another place")])
def test_what_a_disk_says_has_its_class_and_its_cure(number: int, kind: str, end: type[JobError], cure: str) -> None:
    error = OSError(number, "said")
    ours = retry.translate(error, "/place/key", "said")
    assert (retry.kind(error), type(ours)) == (kind, end)
    assert cure in str(ours)
    assert "/place/key" in str(ours)


NOT_AN_ENDPOINT = ["localhost:9000", "http://", "http://exa mple", "http://host:99999", "http://host:port", "ftp://127.0.0.1/", "://",
                   "http://[::1", "https://[x]/"]


@pytest.mark.parametrize(("wrong", "end"), [
    *(({"AWS_ENDPOINT_URL": url}, SettingsError) for url in NOT_AN_ENDPOINT),
    ({"AWS_CA_BUNDLE": "/none.pem", "AWS_ENDPOINT_URL": "https://127.0.0.1:9"}, SettingsError),
    ({"AWS_PROFILE": "nobody"}, SettingsError), ({"AWS_CONFIG_FILE": __file__}, SettingsError),
    ({"AWS_DEFAULT_REGION": "a b"}, SettingsError), ({"AWS_DEFAULTS_MODE": "x"}, SettingsError),
    ({"AWS_REQUEST_CHECKSUM_CALCULATION": "x"}, SettingsError),
    ({"AWS_ACCESS_KEY_ID": ""}, AccessError), ({"AWS_SECRET_ACCESS_KEY": ""}, AccessError),
    ({"AWS_WEB_IDENTITY_TOKEN_FILE": "/none", "AWS_ROLE_ARN": "arn:aws:iam::1:role/x", "AWS_ACCESS_KEY_ID": "",
      "AWS_SECRET_ACCESS_KEY": ""}, AccessError)])
def test_what_the_environment_gets_wrong_is_64_or_77_and_never_an_absent_object(
    wrong: dict[str, str], end: type[JobError], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    nowhere = {name: str(tmp_path / "none") for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE")}
    for name, value in {**nowhere, **KEY, **wrong}.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name, raising=False)
    s3fs.S3FileSystem.clear_instance_cache()
    for act in (lambda store: store.get("key"), lambda store: store.list("")):
        with pytest.raises(end) as caught:
            act(Store("s3://bucket/root", retry_s=0.2))
        assert KEY["AWS_SECRET_ACCESS_KEY"] not in str(caught.value)
    s3fs.S3FileSystem.clear_instance_cache()
