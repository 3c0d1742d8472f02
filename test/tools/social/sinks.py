"""Where the bytes of a stream go: the body of an HTTP answer, or frames of a WebSocket; whole or in pieces."""
import asyncio
import struct
import zlib

from aiohttp import web

PIECES_DRAIN = 64 * 1024        # bytes that may wait in our buffer


class Gone(Exception):
    """The client has closed its end."""


class HttpSink:
    """Writes the body of an answer, whole or in pieces."""

    def __init__(self, connection):
        self.connection, self.response, self.gzip, self.status, self._deflate = connection, None, False, 200, None

    async def start(self, headers):
        headers = {**headers, **self.connection.headers}
        if self.gzip:
            headers["Content-Encoding"] = "gzip"
            self._deflate = zlib.compressobj(wbits=31)
        self.response = web.StreamResponse(status=self.status, headers=headers)
        self.response.enable_chunked_encoding()
        await self.response.prepare(self.connection.request)
        writer = self.response._payload_writer
        if hasattr(writer, "send_headers"):     # newer aiohttp would wait for the first byte of the body
            writer.send_headers()

    async def write(self, data):
        """Each piece is one chunk of the body."""
        if self._deflate is not None:
            data = self._deflate.compress(data) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        if not data:
            return
        size = self.connection.split
        if not size:
            await self.response.write(data)
            return
        for start in range(0, len(data), size):
            await self.response.write(data[start:start + size])
            await asyncio.sleep(0)

    async def write_messages(self, messages):
        """One write each."""
        for message in messages:
            await self.write(message)

    async def write_half(self, message):
        await self.write(message[:len(message) // 2])

    async def keepalive(self, data):
        await self.write(data)

    async def finish(self):
        """The clean end; the connection is closed after it."""
        if self._deflate is not None:
            await self.response.write(self._deflate.flush())
        await self.response.write_eof()

    async def endless(self, step):
        """A line without end, until the client has enough of it."""
        piece = b"x" * 65536
        for _ in range(max(1, step.get("bytes", 64 << 20) // len(piece))):
            await self.write(piece)
        self.connection.do_hang_up("endless")

    def result(self):
        return self.response


class WebSocketSink:
    """Writes text messages as frames of its own making: aiohttp's are never in fragments."""

    def __init__(self, connection):
        self.connection, self.response, self.fragment, self._reader = connection, None, None, None
        self.gzip = False

    async def start(self, headers):
        self.response = web.WebSocketResponse(timeout=0.5, compress=False, autoping=True)
        self.response.headers.update(self.connection.headers)
        await self.response.prepare(self.connection.request)
        self._reader = asyncio.ensure_future(self._read())

    async def _read(self):
        async for message in self.response:
            self.connection.events["message from client"] += 1
        self.connection.world.signal.fire()

    @property
    def closed(self):
        return self._reader.done()

    @staticmethod
    def frame(opcode, payload, fin=True):
        first = bytes([opcode | (0x80 if fin else 0)])
        if len(payload) < 126:
            return first + bytes([len(payload)]) + payload
        if len(payload) < 65536:
            return first + b"\x7e" + struct.pack("!H", len(payload)) + payload
        return first + b"\x7f" + struct.pack("!Q", len(payload)) + payload

    def frames(self, message):
        """One, or fragments with a ping in between, which the protocol allows."""
        if not self.fragment:
            return self.frame(1, message)
        size, pieces = self.fragment, []
        for start in range(0, len(message), size):
            last = start + size >= len(message)
            pieces.append(self.frame(1 if start == 0 else 0, message[start:start + size], last))
        return self.frame(9, b"between").join(pieces)

    async def write_bytes(self, data):
        connection, transport = self.connection, self.connection.request.transport
        size = connection.split or max(1, len(data))
        for start in range(0, len(data), size):
            if connection.gone or self.closed:
                raise Gone
            transport.write(data[start:start + size])
            if size < len(data):
                await asyncio.sleep(0)
        while transport.get_write_buffer_size() > PIECES_DRAIN:
            await asyncio.sleep(0.002)
            if connection.gone or self.closed:
                raise Gone

    async def write(self, data):
        await self.write_bytes(self.frames(data))

    async def write_messages(self, messages):
        for message in messages:
            await self.write_bytes(self.frames(message))

    async def write_half(self, message):
        frames = self.frames(message)
        await self.write_bytes(frames[:len(frames) // 2])

    async def keepalive(self, data):
        await self.write_bytes(self.frame(9, data))

    async def finish(self, code=1000, reason=""):
        await self.write_bytes(self.frame(8, struct.pack("!H", code) + reason.encode()))
        await asyncio.wait({self._reader}, timeout=2)
        if not self.connection.gone:
            self.connection.request.transport.close()

    async def endless(self, step):
        piece = b"x" * 65536
        for i in range(max(1, step.get("bytes", 64 << 20) // len(piece))):
            await self.write_bytes(self.frame(0 if i else 1, piece, False))
        self.connection.do_hang_up("endless")

    def result(self):
        if self._reader is not None:
            self._reader.cancel()
        return self.response
