"""One client's connection: uvicorn's protocol with bounds on what a client may cost.

Heads are read strictly and within a deadline; a body is parsed a few events at a time, so that
other connections get their turn; once an answer ends before its request does, nothing more is
parsed. Knows sockets and h11, and nothing of what is served.
"""

import asyncio
import contextvars
import socket
import struct
from typing import Any, Protocol
from urllib.parse import unquote

import h11
from uvicorn import Config
from uvicorn._types import ASGISendEvent, HTTPScope
from uvicorn.protocols.http.flow_control import CLOSE_HEADER, HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.server import ServerState

from app.access import deadlines
from app.access.hosts import unmapped
from app.http.envelope import refused
from app.http.problems import Problem
from app.http.streaming import CUT
from app.server import heads
from app.server.sockets import UNSENT

EVENTS = 32
"""Most events that are parsed in one turn of the event loop: about a millisecond's."""

PIECE = 64 << 10
"""Bytes that h11 gets at a time."""

LINGER_BYTES = 8 << 20
LINGER_SECONDS = 2.0
"""What a client may still send, unread, after its answer: closed at once, it might lose it. The
bytes are more than are usually on their way: whoever has sent them could read the answer."""


class Turns:
    """Connections that have something to parse: in a turn of the event loop, one gets a few events.

    So requests that come together are begun one after the other, and the first are answered while
    the last still wait. Begun all at once, each would be answered when all are.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._queue: dict[Connection, None] = {}
        self._is_taken = False

    def take(self, connection: "Connection") -> bool:
        """Gives a connection this turn if nobody has it yet, else a later one; returns which."""
        if self._is_taken:
            self._queue[connection] = None
            return False
        self._begin(connection)
        return True

    def join(self, connection: "Connection") -> None:
        """Gives a connection that has had its turn another one, after those that wait."""
        self._queue[connection] = None

    def _begin(self, connection: "Connection") -> None:
        self._is_taken = True
        self._loop.call_soon(self._next)
        connection.take_turn()

    def _next(self) -> None:
        self._is_taken = False
        if self._queue:
            connection = next(iter(self._queue))
            del self._queue[connection]
            self._begin(connection)


class Census(Protocol):
    """Who wants to know which connections wait for a request, and which are served.

    Where it ``is_closing``, a connection ends with the answer that it is waiting for.
    """

    is_closing: bool

    def waits(self, connection: Any) -> None: ...

    def is_served(self, connection: Any) -> None: ...

    def left(self, connection: Any) -> None: ...


class _Flow(FlowControl):
    """Reads no more while there are bytes that have not been parsed."""

    has_backlog = False

    def resume_reading(self) -> None:
        if not self.has_backlog:
            super().resume_reading()


class _Cycle(RequestResponseCycle):
    """One request and its answer."""

    census: Census

    async def send(self, message: ASGISendEvent) -> None:
        # Or the rest of the body will not be read.
        is_last = self.census.is_closing or self.conn.their_state is h11.SEND_BODY
        if message["type"] == "http.response.start" and is_last:
            message = {**message, "headers": [*message.get("headers", ()), CLOSE_HEADER]}
        await super().send(message)


class _Outlet:
    """The part of a transport that an answer uses; to close is to leave politely."""

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self.write = connection.transport.write
        self.is_closing = connection.is_leaving

    def close(self) -> None:
        if self._connection.cycle.response_complete:
            self._connection.leave()
        else:
            self._connection.cut()


class Connection(H11Protocol):
    """uvicorn's protocol, with its reading half replaced.

    Bytes wait in ``_unread``; each request has an h11 connection of its own, which gets its head
    whole and then its body in pieces.
    """

    _deadline: asyncio.TimerHandle | None = None
    _lingering: asyncio.TimerHandle | None = None
    _discarded = 0
    _is_chunked = False
    _fed = b""
    """The last piece that h11 got, and a few bytes before it."""

    def __init__(
        self,
        config: Config,
        state: ServerState,
        app_state: dict[str, Any],
        *,
        turns: Turns,
        census: Census,
        address: str,
    ) -> None:
        """``address`` is what ``census`` counts the connection for."""
        super().__init__(config, state, app_state)
        self.address = address
        self._census = census
        self._turns = turns
        self._unread = bytearray()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self.client:
            # IPv4 over an IPv6 socket is IPv4 to limits, logs and the list of trusted proxies.
            self.client = (unmapped(self.client[0]), self.client[1])
        self.flow: _Flow = _Flow(transport)
        transport.set_write_buffer_limits(high=UNSENT)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self._unread.clear()
        for timer in (self._deadline, self._lingering):
            if timer is not None:
                timer.cancel()
        self._deadline = self._lingering = None
        self._census.left(self)

    def retire(self) -> None:
        """Closes the connection, unless a request has come or has begun to come."""
        if not self._is_busy() and not self._unread:
            self.transport.close()

    def shutdown(self) -> None:
        if self._is_busy():
            self.cycle.keep_alive = False
        else:
            self.transport.close()

    # Reading

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        if self._lingering is not None:
            self._discarded += len(data)
            if self._discarded >= LINGER_BYTES:
                self.transport.close()
            return
        self._unread += data
        self._take_turn_soon()

    def _take_turn_soon(self) -> None:
        if not self._turns.take(self):
            self.flow.has_backlog = True
            self.flow.pause_reading()

    def take_turn(self) -> None:
        """Parses a few events of what has arrived; the rest waits for its turn."""
        has_more = False
        try:
            for _ in range(EVENTS):
                if self.is_leaving():
                    return
                if not self._step():
                    break
            else:
                has_more = True
        except Problem as problem:
            self._refuse(problem)
            return
        except h11.RemoteProtocolError as error:
            status = 501 if error.error_status_hint == 501 else 400
            self._refuse(heads.malformed(_WORDS[status], status))
            return
        self._steady(has_more)
        self._watch()

    def _steady(self, has_more: bool) -> None:
        """Reads on, unless enough has been read for now."""
        is_next = self._is_busy() and self.conn.their_state is not h11.SEND_BODY
        self.flow.has_backlog = has_more or (is_next and bool(self._unread))
        if self.flow.has_backlog or (self.cycle and len(self.cycle.body) > HIGH_WATER_LIMIT):
            self.flow.pause_reading()
        else:
            self.flow.resume_reading()
        if has_more:
            self._turns.join(self)

    def _step(self) -> bool:
        """Parses one event; returns whether there may be another."""
        if self.conn.their_state is h11.IDLE:
            return self._begin()
        if self.conn.their_state is not h11.SEND_BODY:
            return False
        event = self.conn.next_event()
        if event is h11.NEED_DATA:
            if not self._unread:
                return False
            piece = bytes(self._unread[:PIECE])
            del self._unread[:PIECE]
            self._fed = self._fed[-len(heads.END) :] + piece
            self.conn.receive_data(piece)
        elif isinstance(event, h11.Data):
            self.cycle.body += event.data
            self.cycle.message_event.set()
        elif isinstance(event, h11.EndOfMessage):
            rest = self.conn.trailing_data[0]
            if self._is_chunked and not self._fed.removesuffix(rest).endswith(heads.END):
                # h11 lets chunks end with bare line feeds, where a proxy may see more of them.
                raise heads.malformed(_WORDS[400])
            # What follows is the next request.
            self._unread[:0] = rest
            self._fed = b""
            self.cycle.more_body = False
            self.cycle.message_event.set()
        return True

    def _begin(self) -> bool:
        while self._unread.startswith(b"\r\n"):
            # After a body, old clients send an empty line (RFC 9112, 2.2).
            del self._unread[:2]
        length = heads.complete(self._unread)
        if not length:
            return False
        head = heads.checked(bytes(self._unread[:length]))
        del self._unread[:length]
        self.conn.receive_data(head)
        event = self.conn.next_event()
        if not isinstance(event, h11.Request):
            raise heads.malformed(_WORDS[400])
        self._serve(event)
        return True

    def _serve(self, request: h11.Request) -> None:
        # Set by the caller of h11's callback in uvicorn too: a pipelined request finds it armed.
        self._unset_keepalive_if_required()
        self.headers = [(name.lower(), value) for name, value in request.headers]
        self._is_chunked = any(name == b"transfer-encoding" for name, _ in self.headers)
        self._fed = b""
        target = heads.resolved(request.target, self.headers)
        raw_path, _, query = target.partition(b"?")
        self.scope = HTTPScope(
            type="http",
            asgi={"version": self.asgi_version, "spec_version": "2.3"},
            http_version=request.http_version.decode("ascii"),
            server=self.server,
            client=self.client,
            scheme=self.scheme or "http",
            method=request.method.decode("ascii"),
            root_path="",
            path=unquote(raw_path.decode("ascii")),
            raw_path=raw_path,
            query_string=query,
            headers=self.headers,
            state=self.app_state.copy(),
            extensions={CUT: self.cut},  # type: ignore[dict-item]
        )
        self.cycle = _Cycle(
            scope=self.scope,
            conn=self.conn,
            transport=_Outlet(self),  # type: ignore[arg-type]
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            on_response=self.on_response_complete,
        )
        self.cycle.census = self._census
        run = self.cycle.run_asgi(self.app)
        task = self.loop.create_task(run, context=contextvars.Context())
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    # Between answers

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.is_leaving():
            return
        is_over = self.conn.our_state is not h11.DONE or self.conn.their_state is not h11.DONE
        if is_over or self._census.is_closing:
            self.leave()
            return
        self.conn = h11.Connection(h11.SERVER, heads.MAX_HEAD)
        if not self._unread:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.transport.close
            )
        self.flow.has_backlog = False
        self._take_turn_soon()

    def _is_busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _watch(self) -> None:
        """A head has a deadline, from the connection's start or from the end of an answer."""
        if self._is_busy() or self.is_leaving():
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None
                self._census.is_served(self)
        elif self._deadline is None:
            self._deadline = self.loop.call_later(deadlines.HEAD_SECONDS, self.transport.close)
            self._census.waits(self)

    # The end

    def is_leaving(self) -> bool:
        return self._lingering is not None or self.transport.is_closing()

    def leave(self) -> None:
        """Closes the connection; while the client still sends, only after it could read the answer.

        To close a socket with unread bytes resets the connection, and a client may then lose what
        it has not read. Until the end nothing is parsed.
        """
        if self.is_leaving():
            return
        has_all = self.conn.their_state in (h11.DONE, h11.MUST_CLOSE, h11.CLOSED)
        if has_all and not self._unread:
            self.transport.close()
            return
        self._discarded = len(self._unread)
        self._unread.clear()
        self._unset_keepalive_if_required()
        self._lingering = self.loop.call_later(LINGER_SECONDS, self.transport.close)
        self._watch()
        self.flow.has_backlog = False
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def cut(self) -> None:
        """Ends the connection in the middle of an answer, so that no client takes it for whole."""
        if self.conn.their_http_version == b"1.0":
            # There the end of the connection is that of the answer: only a reset is none.
            connection = self.transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.close()

    def _refuse(self, problem: Problem) -> None:
        """Answers bytes that are not a request, unless an answer has begun already; and leaves."""
        if self._is_busy():
            # The application sees that its client is gone.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if not self._is_busy() or not self.cycle.response_started:
            answer = _written(problem, self.client, self.server_state.default_headers)
            self.transport.write(answer)
        self.leave()


_WORDS = {
    400: "the request cannot be read: its headers or the framing of its body are malformed",
    501: "the only Transfer-Encoding supported is chunked",
}


def _written(
    problem: Problem, client: tuple[str, int] | None, headers: list[tuple[bytes, bytes]]
) -> bytes:
    response = refused(problem, client)
    response.headers["Connection"] = "close"
    lines = [f"HTTP/1.1 {problem.status_code} {problem.title}".encode()]
    lines += [name + b": " + value for name, value in (*headers, *response.raw_headers)]
    return b"\r\n".join([*lines, b"", bytes(response.body)])
