"""Protocol: what reads requests from a socket, where httptools does it and bounds nothing itself."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD = 64 * 1024
"""The most bytes of a request that are no body: the first line, headers, the frames of chunks, and trailers."""
REFUSAL = b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class BoundedHttp(HttpToolsProtocol):
    """HTTP/1.1 as uvicorn speaks it with httptools, and 431 to a request with too long a head.

    Bytes are counted as they come, whether or not a header is complete, since the parser keeps what is not.
    """

    _n_head = 0

    def data_received(self, data: bytes) -> None:
        """Parse what came, as far as the head may still grow."""
        while data and not self.transport.is_closing():
            piece, data = data[: MAX_HEAD - self._n_head], data[MAX_HEAD - self._n_head :]
            self._n_head += len(piece)
            super().data_received(piece)
            if self._n_head == MAX_HEAD and not self.transport.is_closing():
                self.transport.write(REFUSAL)
                self.transport.close()

    def on_body(self, body: bytes) -> None:
        """Count what is body, which others bound, off."""
        self._n_head = max(0, self._n_head - len(body))
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Begin to count anew."""
        self._n_head = 0
        super().on_message_complete()
