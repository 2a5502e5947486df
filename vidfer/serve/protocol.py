"""HTTP that does not wait for ever: a connection that asks for nothing is closed and takes no place of others."""

from __future__ import annotations

from asyncio import TimerHandle, Transport

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_S = 10.0  # what the head of a request may take; a browser sends it in one go


class Protocol(H11Protocol):
    """Closes connections on which no request has begun in time: uvicorn itself waits for the first one for ever."""

    _late: TimerHandle

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Begin to wait."""
        super().connection_made(transport)
        self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._late.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Wait for the next request; a byte of it would end uvicorn's own waiting."""
        super().on_response_complete()
        self._late.cancel()
        self._await_request()

    def _await_request(self) -> None:
        self._late = self.loop.call_later(REQUEST_S, self._close_if_late)

    def _close_if_late(self) -> None:
        if self.conn.their_state is h11.IDLE:
            self.transport.close()
