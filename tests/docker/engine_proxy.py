"""A Unix socket before a real engine that hands everything on, but for requests of one kind, which meet a
fault: `with proxy.fault("create", "hang"): …`. A kind is a method and a pattern of the path (KINDS). It is a process of
its own: a test's, which starts a command in a directory of the mount, stands still until that is found."""

import contextlib
import json
import re
import select
import socket
import socketserver
import subprocess
import sys
import threading
import time

KINDS = {
    "ping": ("GET|HEAD", r"/_ping"),
    "version": ("GET", r"/version"),
    "info": ("GET", r"/info"),
    "image": ("GET", r"/images/.+/json"),
    "create": ("POST", r"/containers/create"),
    "start": ("POST", r"/containers/[^/]+/start"),
    "stop": ("POST", r"/containers/[^/]+/stop"),
    "restart": ("POST", r"/containers/[^/]+/restart"),
    "pause": ("POST", r"/containers/[^/]+/pause"),
    "unpause": ("POST", r"/containers/[^/]+/unpause"),
    "kill": ("POST", r"/containers/[^/]+/kill"),
    "remove": ("DELETE", r"/containers/[^/]+"),
    "inspect": ("GET", r"/containers/[^/]+/json"),
    "list": ("GET", r"/containers/json"),
    "top": ("GET", r"/containers/[^/]+/top"),
    "exec_create": ("POST", r"/containers/[^/]+/exec"),
    "exec_start": ("POST", r"/exec/[^/]+/start"),
    "exec_inspect": ("GET", r"/exec/[^/]+/json"),
    "archive_stat": ("HEAD", r"/containers/[^/]+/archive"),
    "archive_get": ("GET", r"/containers/[^/]+/archive"),
    "archive_put": ("PUT", r"/containers/[^/]+/archive"),
}


def kind_of(method, path):
    path = re.sub(r"^/v\d+\.\d+", "", path.partition("?")[0])
    for kind, (methods, pattern) in KINDS.items():
        if re.fullmatch(methods, method) and re.fullmatch(pattern, path):
            return kind
    return f"{method} {path}"


# ---- Faults: (connection, head, body) of a request that is not handed on yet ----


def hang(c, head, body):
    """Taken, and never answered."""
    c.wait_for_end()


def hang_after(c, head, body):
    """Done, and never answered."""
    c.ask(head, body)
    c.wait_for_end()


def reset(c, head, body):
    """Closed with what was sent unread, as a reset is on a Unix socket."""


def lost(c, head, body):
    """Done, and closed without an answer."""
    c.ask(head, body)


def drip(c, head, body):
    """The answer, a byte a second."""
    c.upstream.sendall(head + body)
    while not c.over() and (byte := c.upstream.recv(1)):
        c.client.sendall(byte)
        c.wait_for_end(1)


def truncate(c, head, body):
    """Half of the answer."""
    data = c.ask(head, body)
    c.client.sendall(data[: len(data) * 2 // 3])


def longer(c, head, body):
    """The answer says more bytes than it has, and the connection stays."""
    c.client.sendall(lie(c.ask(head, body), 100))
    c.wait_for_end()


def shorter(c, head, body):
    """The answer says fewer bytes than it has, and more answers would come after these."""
    c.client.sendall(lie(c.ask(head, body), -7))
    c.wait_for_end()


def silent(c, head, body):
    """The answer's head, and nothing more, on a connection that stays."""
    c.client.sendall(b"".join(c.ask(head, body).partition(b"\r\n\r\n")[:2]))
    c.wait_for_end()


def error_500(c, head, body):
    c.answer(500, b'{"message": "it broke"}')


def bad_json(c, head, body):
    c.answer(201 if head.startswith(b"POST") else 200, b'{"Id": ')


FAULTS = {f.__name__: f for f in (hang, hang_after, reset, lost, drip, truncate, longer, shorter, silent, error_500, bad_json)}


def lie(answer, about):
    """ANSWER with its length, that of its first chunk, or that of the stream's first frame off by ABOUT."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"\ncontent-length:" in head.lower():
        head = re.sub(rb"(?i)(\ncontent-length: *)(\d+)", lambda m: m[1] + b"%d" % max(int(m[2]) + about, 0), head)
    elif b"chunked" in head.lower():
        size, _, rest = body.partition(b"\r\n")
        body = b"%x\r\n" % max(int(size or b"0", 16) + about, 1) + rest
    elif len(body) >= 8:
        body = body[:4] + max(int.from_bytes(body[4:8], "big") + about, 0).to_bytes(4, "big") + body[8:]
    return head + b"\r\n\r\n" + body


class Connection:
    """One of a client's, with one of its own to the engine."""

    def __init__(self, proxy, client):
        self.proxy, self.client = proxy, client
        self.released = proxy.released
        self.upstream = socket.socket(socket.AF_UNIX)
        self.upstream.connect(proxy.engine)
        self.buffer = b""

    def close(self):
        with contextlib.suppress(OSError):
            self.upstream.shutdown(socket.SHUT_RDWR)  # the other thread may wait there
        self.upstream.close()

    def over(self):
        """The client has gone, or the fault has."""
        ready, _, _ = select.select([self.client], [], [], 0)
        return bool(ready and not self.client.recv(1, socket.MSG_PEEK)) or self.released.is_set()

    def wait_for_end(self, seconds=3600):
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.over():
            time.sleep(0.05)

    def ask(self, head, body):
        """The engine's whole answer; of an upgraded connection, what comes within a moment."""
        upgrade = b"\nupgrade:" in head.lower()
        if not upgrade:
            head = head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
        self.upstream.sendall(head + body)
        self.upstream.settimeout(1 if upgrade else 60)
        answer = b""
        with contextlib.suppress(TimeoutError):
            while data := self.upstream.recv(65536):
                answer += data
        return answer

    def answer(self, status, body):
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.client.sendall(head.encode() + body)
        self.wait_for_end(5)

    def fill(self):
        data = self.client.recv(65536)
        self.buffer += data
        return bool(data)

    def take(self, n):
        while len(self.buffer) < n and self.fill():
            pass
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def until(self, end):
        while end not in self.buffer:
            if not self.fill():
                return b""
        return self.take(self.buffer.index(end) + len(end))

    def chunks(self):
        data = b""
        while line := self.until(b"\r\n"):
            size = int(line, 16)
            data += line + self.take(size + 2)
            if size == 0:
                break
        return data

    def body_of(self, head):
        if b"\nexpect: 100" in head.lower():
            self.client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if b"chunked" in head.lower():
            return self.chunks()
        length = re.search(rb"(?i)\ncontent-length: *(\d+)", head)
        return self.take(int(length[1])) if length else b""

    def hand_back(self):
        """The engine's bytes to the client, until one of them has ended."""
        with contextlib.suppress(OSError):
            while data := self.upstream.recv(65536):
                self.client.sendall(data)
        with contextlib.suppress(OSError):
            self.client.shutdown(socket.SHUT_WR)

    def serve(self):
        back = None
        while head := self.until(b"\r\n\r\n"):
            method, path, _ = head.split(b" ", 2)
            fault = self.proxy.meets(kind_of(method.decode(), path.decode()))
            self.released = self.proxy.released
            if fault is reset:
                return
            body = self.body_of(head)
            if fault:
                if back:  # a connection of its own: what was answered is on the other
                    self.upstream.close()
                    self.upstream = socket.socket(socket.AF_UNIX)
                    self.upstream.connect(self.proxy.engine)
                return fault(self, head, body)
            # The client's "Expect" was answered here.
            self.upstream.sendall(re.sub(rb"(?i)expect: 100-continue\r\n", b"", head) + body)
            if not back:
                back = threading.Thread(target=self.hand_back, daemon=True)
                back.start()
            if b"\nupgrade:" in head.lower():
                break
        self.hand_on()
        if back:
            back.join()

    def hand_on(self):
        """After an upgrade: what is left, and what comes, to its end."""
        with contextlib.suppress(OSError):
            self.upstream.sendall(self.buffer)
            while data := self.client.recv(65536):
                self.upstream.sendall(data)
        with contextlib.suppress(OSError):
            self.upstream.shutdown(socket.SHUT_WR)


class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        with contextlib.suppress(OSError):
            connection = Connection(self.server.proxy, self.request)
            try:
                connection.serve()
            finally:
                connection.close()


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64


class State:
    """Of the proxy's process."""

    def __init__(self, engine):
        self.engine = engine.removeprefix("unix://")
        self.lock = threading.Lock()
        self.released = threading.Event()
        self.set(None, None, 0)

    def set(self, kind, what, skip):
        """Requests of KIND meet WHAT from now on, but for the first SKIP. What was asked since the last time."""
        with self.lock:
            told = {"hits": getattr(self, "hits", 0), "seen": getattr(self, "seen", [])}
            self.kind, self.what, self.skip, self.hits, self.seen = kind, what, skip, 0, []
            self.released.set()
            self.released = threading.Event()
        return told

    def meets(self, kind):
        with self.lock:
            self.seen.append(kind)
            if kind != self.kind:
                return None
            self.skip -= 1
            if self.skip >= 0:
                return None
            self.hits += 1
            return FAULTS[self.what]


def main(path, engine):
    server = Server(path, Handler)
    server.proxy = State(engine)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(server.proxy.set(*json.loads(line))), flush=True)


class Proxy:
    """The process, of the test that started it."""

    def __init__(self, path, engine):
        self.host = f"unix://{path}"
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(path), engine], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout.readline() == "ready\n"

    def set(self, kind=None, what=None, skip=0):
        self.process.stdin.write(json.dumps([kind, what, skip]) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    @contextlib.contextmanager
    def fault(self, kind, what, skip=0):
        """Within the block, requests of KIND meet WHAT, but for the first SKIP; the value gets how many did ("hits")."""
        told = {}
        self.set(kind, what, skip)
        try:
            yield told
        finally:
            told.update(self.set())

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
