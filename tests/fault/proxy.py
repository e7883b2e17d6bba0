"""An HTTP proxy in front of an S3 server that breaks what it is told to, before or after the server did the work.

Faults that S3 is known for, each for the nth matching requests: errors and dropped connections before anything happened,
the same *after the server has done it*, torn and damaged bodies, refused credentials, a clock that is off, a conditional
request that collided, and a store that does not know the headers of conditional requests at all.
"""

import asyncio
import io
import re
import threading
from collections.abc import Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from aiohttp import ClientSession, web

ERRORS = {   # what is answered: HTTP status, code of S3, message
    "500": (500, "InternalError", "We encountered an internal error. Please try again."),
    "503": (503, "ServiceUnavailable", "Service is unable to handle request."),
    "slow": (503, "SlowDown", "Please reduce your request rate."),
    "409": (409, "ConditionalRequestConflict", "A conflicting operation occurred during processing of the request."),
    "expired": (400, "ExpiredToken", "The provided token has expired."),
    "invalid": (400, "InvalidToken", "The provided token is malformed or otherwise invalid."),
    "skewed": (403, "RequestTimeTooSkewed", "The difference between the request time and the server's time is too large."),
    "denied": (403, "AccessDenied", "Access Denied"),
    "412": (412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold"),   # and not which
}
CONDITIONS = ("If-None-Match", "If-Match")
HOPS = {"host", "connection", "keep-alive", "transfer-encoding", "content-length", "expect", "te", "upgrade"}
FOREVER = 10**9


@dataclass(slots=True)
class Fault:
    """What goes wrong, with which requests.

    ``what``: a name of ``ERRORS``, ``drop``, or one of them with `` after``. For answers with a body: ``truncate`` (the
    connection ends early), ``shorten`` and ``flip`` (one bit; no checksum betrays either) and ``flip-summed``. ``strip``:
    conditions are ignored. ``echo``: an error that quotes the request's own headers, as a chatty store would.
    """

    what: str
    key: str = ""           # a regular expression, searched in path and query, unquoted
    method: str = ""        # another, for the method
    first: int = 1          # the first of the matching requests that is broken
    times: int = 1          # how many are, in a row
    signed_by: str = ""     # the access key that a matching request is signed with
    met: int = field(default=0, init=False)

    def strikes(self, method: str, target: str, signed: str) -> bool:
        """Count a matching request; True if it is to be broken."""
        if not (re.search(self.key, target) and re.fullmatch(self.method or ".*", method) and self.signed_by in signed):
            return False
        self.met += 1
        return self.first <= self.met < self.first + self.times


class Proxy:
    """Runs in a thread of its own. ``seen`` holds (method, path and query) of every request that came."""

    def __init__(self, server: str) -> None:
        self.server, self.url = server, ""
        self.seen: list[tuple[str, str]] = []
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)

    def start(self) -> "Proxy":
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(30)
        return self

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @contextmanager
    def breaking(self, *faults: Fault) -> Any:
        """While this lasts, these things go wrong; the first fault that strikes a request decides."""
        with self._lock:
            self._faults += faults
        try:
            yield
        finally:
            with self._lock:
                self._faults = [one for one in self._faults if one not in faults]

    async def _start(self) -> None:
        self._session = ClientSession(auto_decompress=False)
        app = web.Application(client_max_size=2**30)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _stop(self) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            body = await request.read()
        except ConnectionResetError:   # the client gave up
            return web.Response()
        target = unquote(request.path_qs)
        signed = request.headers.get("Authorization", "")
        with self._lock:
            self.seen.append((request.method, target))
            fault = next((one for one in self._faults if one.strikes(request.method, target, signed)), None)
        what, _, after = (fault.what if fault else "").partition(" ")
        if not after and (what in ERRORS or what in ("drop", "echo")):
            return self._fail(what, request)
        headers = {name: value for name, value in request.headers.items()
                   if name.lower() not in HOPS and not (what == "strip" and name in CONDITIONS)}
        async with self._session.request(
            request.method, self.server + request.raw_path, headers=headers, data=io.BytesIO(body), allow_redirects=False,
            skip_auto_headers=("Content-Type", "User-Agent", "Accept-Encoding"),
        ) as answer:
            data = await answer.read()
            if after:
                return self._fail(what, request)
            kept = [(name, value) for name, value in answer.headers.items() if name.lower() not in HOPS - {"content-length"}]
            if request.method == "HEAD":
                return web.Response(status=answer.status, headers=_headers(kept))
            if what == "truncate" and data:
                return await self._truncate(request, answer.status, kept, data)
            if what == "shorten":
                data = data[: len(data) // 2]
            if what in ("flip", "flip-summed") and data:
                data = bytes([data[0] ^ 1]) + data[1:]
            if what in ("flip", "shorten"):   # as stores answer that know no checksums
                kept = [(name, value) for name, value in kept if "checksum" not in name.lower()]
            return web.Response(status=answer.status, body=data, headers=_headers(kept, without="content-length"))

    def _fail(self, what: str, request: web.Request) -> web.Response:
        if what == "drop":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if what == "echo":
            said = " ".join(f"{name}: {value}" for name, value in request.headers.items())
            status, code, message = 400, "InvalidArgument", f"not understood: {said} https://me:hidden@host/x?signature=hidden"
        else:
            status, code, message = ERRORS[what]
        text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
        return web.Response(status=status, text="" if request.method == "HEAD" else text, content_type="application/xml")

    async def _truncate(self, request: web.Request, status: int, kept: Iterable[tuple[str, str]], data: bytes) -> web.StreamResponse:
        torn = web.StreamResponse(status=status, headers=_headers(kept))
        torn.content_length = len(data)
        await torn.prepare(request)
        await torn.write(data[: len(data) // 2])
        assert request.transport is not None
        request.transport.close()
        return torn


def _headers(kept: Iterable[tuple[str, str]], without: str = "") -> Any:
    from multidict import CIMultiDict

    return CIMultiDict([(name, value) for name, value in kept if name.lower() != without])
