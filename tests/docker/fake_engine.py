"""An engine that is not well, on a Unix socket: for faults only, which a real one cannot be made to
have. FAULTS maps a name to what it does with a request after /_ping."""

import base64
import io
import json
import socketserver
import tarfile
import threading
import time


def answer(status=200, body=b"", headers=(), length=None, version="1.41"):
    lines = [f"HTTP/1.1 {status} X", f"Api-Version: {version}", *headers]
    lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def chunked(*chunks, end=True):
    data = b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in chunks)
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + data + (b"0\r\n\r\n" if end else b"")


def a_tar(close=True, data=b"x" * 1000):
    out = io.BytesIO()
    tar = tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT)
    info = tarfile.TarInfo("p/file")
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))
    if close:
        tar.close()
    return out.getvalue()


def stat_header(value):
    if not isinstance(value, str):
        value = base64.b64encode(json.dumps(value).encode()).decode()
    return [f"X-Docker-Container-Path-Stat: {value}"]


def drip(send, body):
    for i in range(len(body)):
        send(body[i : i + 1])
        time.sleep(0.05)


def endless(send):
    send(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        send(b" " * 65536)


def upgraded(data):
    return b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n" + data


def ended(handler):
    """An exec's end, after its stream."""
    return answer(200, b'{"Running": false, "ExitCode": 0, "Pid": 0}')


def exec_of(data):
    def handle(handler, send):
        if "/start" in handler.path:
            send(upgraded(data))
            raise ConnectionAbortedError
        if handler.method == "POST":
            send(answer(201, b'{"Id": "e"}'))
        else:
            send(ended(handler))

    return handle


def plain(data):
    return lambda handler, send: send(data)


def closing(data):
    def handle(handler, send):
        send(data)
        raise ConnectionAbortedError

    return handle


def hang(handler, send):
    time.sleep(3600)


def build_of(*chunks, then=None):
    """A base that is there, an image that is not, and a build's answer."""

    def handle(handler, send):
        if "/build?" in handler.path:
            send(chunked(*chunks, end=not then))
            if then:
                then(handler, send)
        elif "aib-runtime" in handler.path:
            send(answer(404, b'{"message": "no such image"}'))
        else:
            send(answer(200, b'{"Id": "b"}'))

    return handle


def versions(handler, send):
    if "/v1.60/" in handler.path:
        send(answer(200, b'{"ApiVersion": "1.60"}'))
    else:
        text = "client version 1.51 is too old. Minimum supported API version is 1.55"
        send(answer(400, json.dumps({"message": text}).encode()))


def auth(handler, send):
    handler.server.seen.append(handler.headers.get("x-registry-auth"))
    send(answer(200, b'{"status": "done"}\n'))


good_stat = {"name": "p", "size": 5, "mode": 0o644, "mtime": "2023-11-14T22:13:20Z", "linkTarget": ""}

FAULTS = {
    "hang": hang,
    "garbage": closing(b"\x00\xff" * 4000),
    "bad_json": plain(answer(200, b'{"ApiVersion": ')),
    "deep_json": plain(answer(200, b"[" * 1000000)),
    "short": closing(answer(200, b"{}", length=100)),
    "huge_headers": plain(b"HTTP/1.1 200 OK\r\n" + b"X-A: " + b"a" * 60000 + b"\r\n" + b"X-B: b\r\n" * 20000 + b"\r\n"),
    "endless_body": lambda handler, send: endless(send),
    "error_500": plain(answer(500, b'{"message": "it broke"}')),
    "error_text": plain(answer(503, b"down for repair\n")),
    "redirect": plain(answer(301, b"", ["Location: /elsewhere"])),
    "drip": lambda handler, send: drip(send, answer(200, b" " * 4000)),
    "closes": lambda handler, send: closing(b"")(handler, send),
    "versions": versions,
    "auth": auth,
    "reuse": closing(answer(200, b'{"ApiVersion": "1.41"}')),
    "stat_good": plain(answer(200, b"", stat_header(good_stat))),
    "stat_none": plain(answer()),
    "stat_base64": plain(answer(200, b"", stat_header("%%%"))),
    "stat_mode": plain(answer(200, b"", stat_header({**good_stat, "mode": "x"}))),
    "stat_negative": plain(answer(200, b"", stat_header({**good_stat, "mode": -1}))),
    "stat_time": plain(answer(200, b"", stat_header({**good_stat, "mtime": "never"}))),
    "tar_good": plain(chunked(a_tar())),
    "tar_unended": plain(chunked(a_tar(close=False))),
    "tar_cut": plain(chunked(a_tar()[:900])),
    "tar_broken_off": closing(chunked(a_tar()[:900], end=False)),
    "tar_garbage": plain(chunked(b"g" * 4096)),
    "tar_gzip": plain(chunked(__import__("gzip").compress(a_tar()))),
    "tar_empty": plain(chunked()),
    "tar_then_error": plain(chunked(a_tar(close=False), b'{"message": "it broke"}')),
    "exec_good": exec_of(b"\1\0\0\0\0\0\0\2hi"),
    "exec_raw": exec_of(b"hi there"),
    "exec_cut": exec_of(b"\1\0\0\0\0\0\0\7hi"),
    "exec_frames": exec_of(b"\1\0\0\0\0\0\0\2hi\7\7\7\7\7\7\7\7"),
    "exec_hang": lambda handler, send: hang(handler, send) if "/start" in handler.path else send(answer(201, b'{"Id": "e"}')),
    "build_nothing": build_of(b'{"stream": "Successfully built\\n"}\n'),
    "build_garbage": build_of(b"what?\n"),
    "build_types": build_of(b'[1]\n', b'{"stream": 7, "error": null, "status": []}\n'),
    "build_long": build_of(b'{"stream": "' + b"a" * 3000000),
    "build_lines": build_of(b'{"stream": "' + b"a" * 900000 + b'"}\n', b'{"error": "' + b"e" * 900000 + b'"}\n'),
    "build_hang": build_of(b'{"stream": "begun\\n"}\n', then=hang),
    "build_cut": build_of(b'{"stream": "begun\\n"}\n', then=closing(b"")),
    "pull_error": plain(chunked(b'{"status": "a"}\r\n', b'{"error": "no space left on device"}\r\n')),
    "pull_split": plain(chunked(b'{"sta', b'tus": "a"}\r\n{"status"', b': "b"}')),
    "pull_garbage": plain(chunked(b"what?\n")),
    "pull_long": plain(chunked(b'{"status": "' + b"a" * 3000000)),
}  # fmt: skip


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        try:
            while self.one():
                pass
        except (ConnectionError, ValueError, OSError):
            pass

    def one(self):
        line = self.rfile.readline()
        if not line:
            return False
        self.method, self.path, _ = line.decode().split(" ")
        self.headers = {}
        while (line := self.rfile.readline().strip()):
            name, _, value = line.decode().partition(":")
            self.headers[name.lower()] = value.strip()
        self.rfile.read(int(self.headers.get("content-length", 0)))
        fault = self.server.fault
        if self.path == "/_ping" and fault not in ("hang_ping", "old"):
            version = "1.60" if fault == "versions" else "1.41"
            self.wfile.write(answer(200, b"OK", version=version))
        elif fault == "old":
            self.wfile.write(answer(200, b"OK", version="1.20"))
        elif fault == "hang_ping":
            time.sleep(3600)
        else:
            FAULTS[fault](self, self.wfile.write)
        return True


class FakeEngine(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, path, fault):
        super().__init__(str(path), Handler)
        self.fault = fault
        self.seen = []
        self.host = f"unix://{path}"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self):
        self.shutdown()
        self.server_close()
