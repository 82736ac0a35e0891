"""Admits or refuses requests before anything of their bodies is read.

Knows keys, origins, host names and rates; ``app.access.table`` knows what an endpoint needs.
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager

import limits
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.access.deadlines import BODY_PACE, Body
from app.access.hosts import address_of, is_address, name_of
from app.access.keys import Key, KeyRing, KeyScope, bearer
from app.access.origins import may_sample
from app.access.rates import Rates, Window
from app.access.table import is_shared, need
from app.engine.callers import SCOPE_KEY, Caller
from app.http import allowances, problems
from app.http.allowances import Allowance
from app.http.problems import Problem, too_many
from app.supervisor.loopback import is_loopback

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
"""They change nothing: RFC 9110, 9.2.1."""

PROBES = ("/healthz", "/readyz")
"""Monitors ask them in HTTP/1.0 too, without a Host header; a browser always sends one."""

EXPOSED = ", ".join(
    (
        "X-Model",
        "X-Model-Digest",
        "X-Seed",
        "X-Precision",
        "X-Request-ID",
        "Retry-After",
        *allowances.FIELDS,
    )
)
"""Headers that pages of other origins may read."""

PREFLIGHT_SECONDS = 600
"""How long a browser may cache the answer to a preflight."""

WRONG_KEYS = limits.parse("60/minute")
"""Wrong keys that one IP address may send."""

MET = 4096
"""Pairs of IP address and right key that are remembered."""

BUSY_SECONDS = 2
"""After which an IP address with too many streams may try again."""


class Guard:
    """Admits a request, or answers it with the reason for refusal.

    The layers around the routes, from outside in:

    1. The envelope (``app.http.envelope``): every answer, this guard's included, gets an id, safe
       headers and a line in the log, and an unexpected error becomes a 500.
    2. The host name. It comes first: to a browser, a page that points its own name at this server's
       IP address (DNS rebinding) has the same origin, so no later layer would notice it.
    3. The origin. A preflight is answered here, since browsers send no key with one. A page of
       another origin may change nothing, and read only what the operator opens for sampling. From
       here on answers carry CORS headers: an error must be as readable as a text.
    4. The key. Where there are keys, an unclassified endpoint needs an ``admin``'s.
    5. The rate of the key, or of the IP address without one, and how many requests it has open. It
       comes after the key, so that strangers cannot use up the rate of a key.
    6. The body's pace, for admitted requests; the route that reads a body counts its size.
    7. HEAD becomes GET without a body (``app.http.bodiless``).
    8. The application: exception handlers, then routes.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        keys: KeyRing,
        bound_to: str = "127.0.0.1",
        hosts: Iterable[str] = (),
        origins: Iterable[str] = (),
        is_public: bool = False,
        public_rate: str = "",
        public_streams: int = 1,
        key_rate: str = "",
        streams: int | None = None,
        connections: int | None = None,
        rates: Rates | None = None,
    ) -> None:
        """``bound_to`` is the host that the server listens on, ``streams`` and ``connections`` are
        quotas of a key, and ``rates`` counts requests; ``app.settings`` has the rest."""
        self.app = app
        self._keys = keys
        self._is_public = is_public
        self._origins = frozenset(origins)
        self._hosts = frozenset(hosts)
        self._bound_to = bound_to.lower()
        self._is_local = is_loopback(bound_to)
        self._rates = rates or Rates()
        self._public_rate = _rate(public_rate)
        self._key_rate = _rate(key_rate)
        self._public_streams = public_streams
        self._streams = streams
        self._connections = connections
        self._open: Counter[str] = Counter()
        self._met: dict[tuple[str, bytes], None] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        try:
            self._check_host(scope["path"], headers.get("host"))
            if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
                await _preflight(self._allows(scope, headers, origin), send)
                return
            send = self._marked(scope, headers, origin, send)
            self._check_origin(scope, headers, origin)
            allowances.begin(scope)
            send = _telling(scope, send)
            async with self._admitted(scope, headers.get("authorization", "")):
                await self._let_in(scope, receive, send)
        except Problem as problem:
            await problems.response(scope, problem)(scope, receive, send)

    async def _let_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = Body(receive)
        try:
            await self.app(scope, body.receive, send)
        except ClientDisconnect:
            if not body.late:
                raise
            raise Problem(
                400,
                "body_too_slow",
                f"the body arrived too slowly: send at least {BODY_PACE:,} bytes per second",
                headers={"Connection": "close"},
            ) from None

    # The host name

    def _check_host(self, path: str, header: str | None) -> None:
        if header is None and path in PROBES:
            return
        name = name_of(header or "")
        if is_loopback(name) or name == self._bound_to or name in self._hosts:
            return
        # An IP address cannot be rebound.
        is_named = is_address(name) or not self._hosts
        if not self._is_local and is_named and (name or not header):
            return
        raise Problem(
            403,
            "unknown_host",
            "unknown Host header; use localhost, or add the name to CHARLOOM_HOSTS",
        )

    # The origin

    def _is_own(self, headers: Headers, origin: str) -> bool:
        """Whether a page came from this server. A proxy may have changed the scheme."""
        authority = origin.lower().partition("://")[2]
        return authority == headers.get("host", "").lower() or name_of(authority) in self._hosts

    def _allows(self, scope: Scope, headers: Headers, origin: str | None) -> str | None:
        """The other origin whose pages may read the answer; None if there is none."""
        method = headers.get("access-control-request-method", scope["method"])
        if origin is None or not may_sample(origin, self._origins):
            return None
        return origin if is_shared(method, scope["path"]) else None

    def _marked(self, scope: Scope, headers: Headers, origin: str | None, send: Send) -> Send:
        if not self._origins or not is_shared(scope["method"], scope["path"]):
            return send
        allowed = self._allows(scope, headers, origin)

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                sent = MutableHeaders(scope=message)
                sent.add_vary_header("Origin")
                if allowed:
                    sent["Access-Control-Allow-Origin"] = allowed
                    sent["Access-Control-Expose-Headers"] = EXPOSED
            await send(message)

        return marked

    def _check_origin(self, scope: Scope, headers: Headers, origin: str | None) -> None:
        if scope["method"] in SAFE_METHODS or origin is None or self._is_own(headers, origin):
            return
        if not self._allows(scope, headers, origin):
            raise Problem(
                403,
                "cross_origin",
                "cross-origin requests that modify data are not allowed; if this page is the "
                "server's own, behind a proxy, let the proxy pass the Host header on, or set "
                "CHARLOOM_HOSTS; CHARLOOM_CORS_ORIGINS names other origins that may sample",
            )

    # The key and the rate

    @asynccontextmanager
    async def _admitted(self, scope: Scope, authorization: str) -> AsyncIterator[None]:
        needed = need(scope)
        secret = bearer(authorization)
        address = address_of(scope)
        name = f"address {address}"
        if needed == "nothing":
            yield
        elif needed == "public" and self._is_public and not (secret and self._keys):
            await self._count(scope, self._public_rate, "IP address", address)
            # Its requests are counted here and its texts where they are opened: one may have many.
            scope[SCOPE_KEY] = Caller(name, self._public_streams, shares=True)
            with self._one_more(address, self._public_streams, "too_many_streams", "texts"):
                yield
        elif self._keys:
            key = await self._key("sample" if needed == "public" else needed, secret, address)
            name = f"key {key.digest.hex()}"
            await self._count(scope, self._key_rate, "key", key.digest.hex())
            scope[SCOPE_KEY] = Caller(name, self._streams, shares=True)
            with self._one_more(name, self._connections, "too_many_connections", "answers"):
                yield
        else:
            # This machine's own may have all of it.
            shares = not is_loopback((scope.get("client") or ("",))[0])
            streams, most = (self._streams, self._connections) if shares else (None, None)
            scope[SCOPE_KEY] = Caller(name, streams, shares)
            # Connections are counted too, but those of a proxy are everybody's.
            with self._one_more(name, most, "too_many_connections", "answers"):
                yield

    async def _key(self, wanted: KeyScope, secret: str | None, address: str) -> Key:
        if secret is None:
            raise _unauthorized(
                "missing_key", "this endpoint needs an API key: send Authorization: Bearer KEY"
            )
        key = await self._found(secret, address)
        if not key.may(wanted):
            raise Problem(
                403,
                "insufficient_scope",
                f"this endpoint needs a key with the scope {wanted}; yours has "
                f"{', '.join(sorted(key.scopes))}",
                headers={
                    "WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{wanted}"'
                },
            )
        return key

    async def _found(self, secret: str, address: str) -> Key:
        """The key; who sends wrong ones from an IP address makes it wait, right or wrong.

        A key that was right from there before is let in at once: a stranger behind the same proxy
        cannot lock it out.
        """
        key = self._keys.find(secret)
        met = key and (address, key.digest)
        if key is not None and met in self._met:
            return key
        window = await self._rates.look(WRONG_KEYS, "wrong key", address)
        if not window.fits:
            words = f"too many wrong API keys from this IP address: {WRONG_KEYS.amount} a minute"
            raise too_many("rate_limited", words, window.seconds)
        if key is None:
            await self._rates.hit(WRONG_KEYS, "wrong key", address)
            raise _unauthorized("invalid_key", "invalid API key", 'error="invalid_token"')
        self._met[address, key.digest] = None
        if len(self._met) > MET:
            del self._met[next(iter(self._met))]
        return key

    async def _count(
        self, scope: Scope, rate: limits.RateLimitItem | None, kind: str, whose: str
    ) -> None:
        if rate is None:
            return
        window = await self._rates.hit(rate, kind, whose)
        allowances.tell(scope, lambda: _requests(rate, window))
        if not window.fits:
            words = f"rate limit exceeded for this {kind}: {_words(rate)}"
            raise too_many("rate_limited", words, window.seconds)

    @contextmanager
    def _one_more(self, whose: str, most: int | None, code: str, what: str) -> Iterator[None]:
        """Counts the requests of a caller: slow readers must not hold every row or connection."""
        if most is not None and self._open[whose] >= most:
            kind = "key" if whose.startswith("key ") else "IP address"
            words = f"this {kind} is reading {most} {what} already, the limit: wait for one to end"
            raise too_many(code, words, BUSY_SECONDS)
        self._open[whose] += 1
        try:
            yield
        finally:
            self._open[whose] -= 1
            if not self._open[whose]:
                del self._open[whose]


def _telling(scope: Scope, send: Send) -> Send:
    """Adds to an answer what its client may still do."""

    async def telling(message: Message) -> None:
        if message["type"] == "http.response.start":
            sent = MutableHeaders(scope=message)
            for name, value in allowances.told(scope).items():
                # A refusal has told of its own limit already.
                sent[name] = ", ".join(filter(None, (value, sent.get(name))))
        await send(message)

    return telling


def _requests(rate: limits.RateLimitItem, window: Window) -> Allowance:
    return Allowance(
        "requests", rate.amount, window.left, window=rate.get_expiry(), seconds=window.seconds
    )


async def _preflight(allowed: str | None, send: Send) -> None:
    """Answers a preflight: with the permission, or without one."""
    headers = {"Vary": "Origin, Access-Control-Request-Method"}
    if allowed:
        headers |= {
            "Access-Control-Allow-Origin": allowed,
            "Access-Control-Allow-Methods": "GET, POST",
            # Other tools' clients have headers of their own. A star does not mean Authorization.
            "Access-Control-Allow-Headers": "Authorization, *",
            "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
        }
    response = Response(status_code=204, headers=headers)
    await response({"type": "http"}, _nothing, send)


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


def _unauthorized(code: str, detail: str, *more: str) -> Problem:
    challenge = ", ".join(('Bearer realm="charloom"', *more))
    return Problem(401, code, detail, headers={"WWW-Authenticate": challenge})


def _words(rate: limits.RateLimitItem) -> str:
    return f"{rate.amount} requests per {rate.GRANULARITY.name}"


def _rate(text: str) -> limits.RateLimitItem | None:
    return limits.parse(text) if text else None
