"""Storage trouble by class: what passes is waited out, what lasts becomes one of our errors, with its cure.

The class is read from the store's own words: the error code and the HTTP status of S3 and of web servers, the errno
of a disk. Passing trouble is retried with exponential waits and full jitter until a budget of wall clock is spent.
Refused credentials and clocks that differ get a few attempts, each with a new client: a provider that rotates them may
be a moment behind.
"""

import errno
import logging
from collections.abc import Callable
from typing import Literal, TypeVar

from botocore.exceptions import BotoCoreError, HTTPClientError
from botocore.exceptions import ConnectionError as BotoConnectionError
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_any, stop_before_delay, wait_random_exponential

from job.errors import AccessError, DataError, JobError, SettingsError, TemporaryError

FEW = 5           # attempts where waiting helps only if somebody else acts
ABSENT = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError)   # answers, no trouble
NO_CREDENTIALS = {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "MetadataRetrievalError",
                  "TokenRetrievalError", "SSOTokenLoadError", "UnauthorizedSSOTokenError", "CredentialsFileError"}
BROKEN_OFF, WRONG_SUM = {"IncompleteReadError"}, {"FlexibleChecksumError", "ChecksumError"}   # all else that botocore finds is a setting
BAD_URL = {"NonHttpUrlClientError", "InvalidURL", "InvalidUrlClientError"}       # of aiohttp
# Codes of https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html whose HTTP status does not tell the class.
REFUSED = {"ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired", "InvalidAccessKeyId",
           "403"}   # a HEAD has no body to say more
SKEWED = {"RequestTimeTooSkewed", "RequestExpired"}
DAMAGED = {"RequestTimeout", "IncompleteBody", "BadDigest", "XAmzContentSHA256Mismatch", "OperationAborted", "InvalidPart", "NoSuchUpload"}
FULL = {errno.ENOSPC, errno.EDQUOT}
FIRM = {errno.EINVAL, errno.EROFS, errno.ENAMETOOLONG, errno.ENOTSUP, errno.ENOSYS, errno.EXDEV, errno.EMLINK, errno.ELOOP, *FULL}
Kind = Literal["passing", "credentials", "clock", "damage", "lasting"]
T = TypeVar("T")


class CredentialsFileError(Exception):
    """A file that the client needs to sign a request cannot be read."""


log = logging.getLogger("saltworks.store")


def code(error: BaseException) -> tuple[str, int]:
    """The error code and HTTP status that the server sent, of the error or its cause; empty and 0 if it sent none."""
    one: BaseException | None = error
    while one is not None:
        response = getattr(one, "response", None)
        if isinstance(response, dict):
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            return str(response.get("Error", {}).get("Code", "")), int(status or 0)
        status = getattr(one, "status", None)   # a web server's answer, through aiohttp
        if isinstance(status, int):
            return "", status
        one = one.__cause__
    return "", 0


def kind(error: BaseException) -> Kind:
    """What may help: waiting, other credentials, a clock that is right, another read, or nothing that we can do."""
    said, status = code(error)
    name = type(error).__name__
    if isinstance(error, JobError):
        return "lasting"
    if said in REFUSED or name in NO_CREDENTIALS:
        return "credentials"
    if said in SKEWED:
        return "clock"
    if said in DAMAGED:
        return "passing"
    if name in WRONG_SUM:
        return "damage"
    if _misset(error) or isinstance(error, (*ABSENT, PermissionError)):
        return "lasting"
    if status >= 400 or status == 301:   # the latter: another region, for good
        return "passing" if status in (408, 409, 425, 429) or (status >= 500 and status not in (501, 505)) else "lasting"
    if isinstance(error, OSError):
        return "lasting" if error.errno in FIRM else "passing"
    passing = isinstance(error, TimeoutError) or type(error).__module__.split(".")[0] in {"botocore", "aiobotocore", "aiohttp"}
    return "passing" if passing else "lasting"


def persist(
    action: Callable[[], T], where: str, retry_s: float, patient_s: float, *, renew: Callable[[], None],
    told: Callable[[BaseException], str],
) -> T:
    """Do it, waiting passing trouble out for at most ``retry_s`` seconds of wall clock; after ``patient_s`` one line is logged.

    ``where`` and what ``told`` makes of an error hold no secrets; ``renew`` throws the client away. Raises what is in
    ``ABSENT`` as it is, and else ``TemporaryError``, ``AccessError``, ``SettingsError`` or ``DataError``.
    """
    attempts: dict[Kind, int] = {}
    warned = False

    def hopeless(state: RetryCallState) -> bool:
        assert state.outcome is not None
        what = kind(state.outcome.exception() or RuntimeError())
        attempts[what] = attempts.get(what, 0) + 1
        return what != "passing" and attempts[what] >= FEW

    def before_sleep(state: RetryCallState) -> None:
        nonlocal warned
        assert state.outcome is not None
        error = state.outcome.exception() or RuntimeError()
        if not warned and (state.seconds_since_start or 0) >= patient_s:
            warned = True
            log.warning("storage trouble at %s, trying again for up to %.0f s: %s", where, retry_s, told(error))
        if kind(error) in ("credentials", "clock"):
            renew()

    try:
        return Retrying(
            retry=retry_if_exception(lambda error: kind(error) != "lasting"), stop=stop_any(hopeless, stop_before_delay(retry_s)),
            wait=wait_random_exponential(multiplier=0.2, max=20), before_sleep=before_sleep, reraise=True,
        )(action)
    except JobError:
        raise
    except Exception as error:
        if isinstance(error, ABSENT) and kind(error) == "lasting":
            raise
        ours = translate(error, where, told(error))
        if ours is None:
            raise
        raise ours from None   # the cause may hold what must not be told


def translate(error: BaseException, where: str, told: str) -> JobError | None:
    """What lasted, as an error that a user can act upon; None for what looks like a defect."""
    said, status = code(error)
    name, number = type(error).__name__, getattr(error, "errno", None)
    if name in NO_CREDENTIALS:
        return AccessError(f"no credentials for {where}: {told}", "give the process credentials")
    if said in REFUSED - {"403"}:
        return AccessError(f"the credentials for {where} are refused: {told}", "renew them and run again to resume")
    if said in SKEWED:
        return TemporaryError(f"the clock of this machine and that of the store at {where} differ too much: {told}",
                              "set this machine's clock (NTP) and run again to resume")
    if name in WRONG_SUM:
        return DataError(f"{where} is damaged: {told}", "restore it, or delete its commit to redraw it")
    if isinstance(error, PermissionError) or status in (401, 403):
        return AccessError(f"no permission at {where}: {told}", "check credentials and policy")
    if _misset(error):
        return SettingsError(f"cannot use {where}: {told}", "correct the URL or the storage settings")
    if number in FULL:
        return TemporaryError(f"the disk is full at {where}", "free space and run again")
    if number == errno.EROFS:
        return AccessError(f"{where} is read-only", "mount it to be written to, or use another root")
    if number in (errno.ENOSYS, errno.ENOTSUP, errno.EMLINK) or status == 501:
        return DataError(f"{where} cannot do what must be done once only: {told}",
                         "use a file system with hard links, or a bucket with conditional writes")
    if kind(error) == "passing":
        return TemporaryError(f"storage trouble at {where}: {told}", "run again to resume")
    if isinstance(error, OSError) or status:
        return DataError(f"{where} cannot be used: {told}", "use another place")
    return None


def _misset(error: BaseException) -> bool:
    """Whether the request could not be made as it was asked for: URL, endpoint, certificates. No wait mends that."""
    if isinstance(error, HTTPClientError | BotoConnectionError):
        file = isinstance(error.kwargs.get("error"), FileNotFoundError)   # of certificates
        return file or any(word in str(error) for word in ("CERTIFICATE_VERIFY_FAILED", "WRONG_VERSION_NUMBER"))
    name = type(error).__name__
    return name in BAD_URL or (isinstance(error, BotoCoreError) and name not in NO_CREDENTIALS | BROKEN_OFF | WRONG_SUM)
