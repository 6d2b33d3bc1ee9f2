"""One request of the embedding API, tried once. HTTP/1.1 with kept connections.

A redirect is refused, since it would carry the key to another address.
"""

import asyncio
import ssl
import time
from collections.abc import Callable, Sequence
from http.cookiejar import CookieJar, DefaultCookiePolicy

import aiohttp
import httpx
import orjson

from streamdex.config import JinaSettings
from streamdex.embed.http.answers import Answer, read_answer, read_quota
from streamdex.embed.http.errors import Busy, classify
from streamdex.embed.http.transport import HttpClient
from streamdex.embed.models import Fields, Profile
from streamdex.errors import (
    AccountFault,
    ConfigurationError,
    Reason,
    Service,
    ServiceFault,
    StreamdexError,
    SuspectFault,
)

KEEP_ALIVE_S = 30.0
SLACK_BYTES = 65_536  # of an answer, beyond its vectors

# Our fault, and its words, for each foreign exception. Looked up by the nearest class, and by the cause first: the
# transport calls a connection that was closed while waiting a ConnectTimeout, and only the cause shows the difference.
FAULTS: dict[type[BaseException], tuple[type[ServiceFault], str]] = {
    aiohttp.ClientConnectorError: (Busy, "cannot be reached"),
    aiohttp.ConnectionTimeoutError: (Busy, "cannot be reached in time"),
    aiohttp.ClientHttpProxyError: (Busy, "cannot be reached through the proxy"),
    aiohttp.ClientOSError: (ServiceFault, "broke the connection"),
    aiohttp.ServerDisconnectedError: (ServiceFault, "closed the connection without an answer"),
    aiohttp.ServerTimeoutError: (ServiceFault, "did not answer in time"),
    aiohttp.ClientPayloadError: (ServiceFault, "broke off its answer"),
    aiohttp.ClientError: (ServiceFault, "did not speak HTTP as expected"),
    httpx.ConnectError: (Busy, "cannot be reached"),
    httpx.ConnectTimeout: (Busy, "cannot be reached in time"),
    httpx.PoolTimeout: (Busy, "has no free connection"),
    httpx.ProxyError: (Busy, "cannot be reached through the proxy"),
    httpx.TimeoutException: (ServiceFault, "did not answer in time"),
    httpx.DecodingError: (ServiceFault, "sent an answer that cannot be decompressed"),
    httpx.HTTPError: (ServiceFault, "did not speak HTTP as expected"),
    TimeoutError: (ServiceFault, "did not answer in time"),
    OSError: (ServiceFault, "broke the connection"),
    ValueError: (ServiceFault, "did not speak HTTP as expected"),  # a status line or headers that are not text
    httpx.InvalidURL: (ServiceFault, "did not speak HTTP as expected"),  # httpx reads the address of a redirect
}
# All that reading and writing HTTP raises (TimeoutError is an OSError). A bug of ours is none of these.
FOREIGN = (httpx.HTTPError, httpx.InvalidURL, aiohttp.ClientError, OSError, ValueError)


class JinaClient:
    """One connection pool to the embedding service. Raises faults of ours alone."""

    def __init__(
        self,
        settings: JinaSettings,
        profile: Profile,
        now: Callable[[], float] = time.time,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """`now` gives seconds since 1970. Raises ConfigurationError for a key or ca_file that cannot be used."""
        self._settings = settings
        self._dimension = profile.dimension
        self._now = now
        self._key = settings.read_api_key()
        self._url = httpx.URL(_endpoint(settings.base_url))
        connect_s, read_s = settings.connect_timeout_s, settings.read_timeout_s
        # aiohttp's limit for the pool includes connecting. It has none for writing; the attempt as a whole has one.
        self._attempt_s = 2 * (connect_s + read_s)
        self._http = HttpClient(
            verify=_trust(settings),
            trust_env=True,
            transport=transport,
            follow_redirects=False,
            timeout=httpx.Timeout(connect=connect_s, read=read_s, write=read_s, pool=2 * connect_s),
            limits=httpx.Limits(
                max_connections=None,  # the embedder bounds what is under way, and its bound may change
                max_keepalive_connections=None,
                keepalive_expiry=KEEP_ALIVE_S,
            ),
            # No cookie is kept: the key alone says who asks, and Python's jar takes a malformed one for its own bug.
            cookies=CookieJar(DefaultCookiePolicy(netscape=False, rfc2965=False)),
            # Vectors hardly compress, and unpacking them would cost more than everything else here.
            headers={"content-type": "application/json", "accept": "application/json", "accept-encoding": "identity"},
        )

    async def embed(self, texts: Sequence[str], fields: Fields) -> Answer:
        """One request, one try.

        Raises SuspectFault, AccountFault or ServiceFault (its subclass Busy when no input can be the cause).
        """
        body = orjson.dumps({**fields, "input": texts})
        cap_bytes = SLACK_BYTES + 2 * (len(body) + len(texts) * 6 * self._dimension)
        try:
            async with asyncio.timeout(self._attempt_s):
                status, headers, answer = await self._post(body, cap_bytes)
        except FOREIGN as error:
            raise fault_of(error) from None  # a foreign error's text may hold the address and its credentials
        if status != 200:
            raise classify(status, headers, answer or b"", self._now())
        if answer is None:
            raise SuspectFault(Service.JINA, Reason.WRONG_ANSWER, "the answer is wrong: it is too long")
        return read_answer(answer, len(texts), self._dimension)._replace(quota=read_quota(headers))

    async def _post(self, body: bytes, cap_bytes: int) -> tuple[int, httpx.Headers, bytes | None]:
        """Status, headers and body; None for a body longer than `cap_bytes`, which is not read to its end."""
        headers = {"authorization": f"Bearer {self._key}"} if self._key else None
        async with self._http.stream("POST", self._url, content=body, headers=headers) as response:
            parts: list[bytes] = []
            size = 0
            async for part in response.aiter_bytes():
                size += len(part)
                if size > cap_bytes:
                    return response.status_code, response.headers, None
                parts.append(part)
        # Response and stream refer to each other, and to the request's body of 130 KB. Without this cut they would stay
        # until the garbage collector comes.
        response.stream = httpx.ByteStream(b"")
        return response.status_code, response.headers, b"".join(parts)

    def reread_key(self, settings: JinaSettings | None = None) -> bool:
        """Read the key again; True when it has changed. Keeps the old one when there is none to read.

        `settings` say where the key is from now on; nothing else of them is used.
        """
        self._settings = settings or self._settings
        try:
            key = self._settings.read_api_key()
        except ConfigurationError:
            return False  # half a rotation: the file is gone for a moment
        changed = key != self._key
        self._key = key
        return changed

    async def close(self) -> None:
        """Close the connections. Safe twice."""
        await self._http.aclose()


def fault_of(error: BaseException) -> StreamdexError:
    """Our fault for a foreign exception. None of its own words are kept: they may hold addresses and credentials."""
    cause = error.__cause__
    if isinstance(cause, aiohttp.ClientHttpProxyError) and cause.status in (401, 403, 407):
        fix = "Put the proxy's user and password in HTTPS_PROXY, and let it allow the address."
        return AccountFault(Service.JINA, f"the proxy answered {cause.status}", fix)
    for known in (*(type(cause).__mro__ if cause else ()), *type(error).__mro__):
        if known in FAULTS:
            fault, what = FAULTS[known]
            return fault(Service.JINA, f"Jina {what}", unanswered=fault is ServiceFault)
    return ServiceFault(Service.JINA, "Jina: the transport failed", unanswered=True)


def _endpoint(base_url: str) -> str:
    address = base_url.rstrip("/")
    return address if address.endswith("/embeddings") else f"{address}/embeddings"


def _trust(settings: JinaSettings) -> ssl.SSLContext | bool:
    """The public authorities and the user's own, since a proxy may sign some addresses and pass others through."""
    if settings.ca_file is None:
        return True
    context = httpx.create_ssl_context()
    try:
        context.load_verify_locations(cafile=settings.ca_file)
    except (OSError, ssl.SSLError):
        raise ConfigurationError(
            "no authority can be read from it", "jina.ca_file", "Give a PEM file that this user can read."
        ) from None
    return context
