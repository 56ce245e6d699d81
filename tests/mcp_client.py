"""Clients of `aib mcp`: one that says what a test wants, and the official ones."""

import json
import os
import pathlib
import queue
import subprocess
import threading

from harness import SLOW, TOP, program

MODERN, NEWEST_HANDSHAKE = "2026-07-28", "2025-11-25"
META = "io.modelcontextprotocol/"
CLIENTS = pathlib.Path(os.environ.get("AIB_DEPS", TOP / ".deps")) / "mcp"
WAIT = 30


class Client:
    """Speaks to `aib mcp ARGS…` in lines. `version`: of a handshake; MODERN: of each request; None:
    nothing was said yet."""

    def __init__(self, *args, version=NEWEST_HANDSHAKE, before=(), **kw):
        self.process = subprocess.Popen(
            [*before, program("aib"), "mcp", *map(str, args)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, **kw,
        )  # fmt: skip
        self.lines = queue.Queue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.version, self.ids, self.told = version, 0, []
        if version and version != MODERN:
            self.about = self.result(self.ask("initialize", protocolVersion=version))
            self.notify("notifications/initialized")

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None and not self.process.stdin.closed:
            self.process.stdin.close()
        try:
            self.process.wait(20 * SLOW)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        self.reader.join()
        self.process.stdout.close()

    def raw(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def next(self):
        """The next message, or None at the end. Each is one line of JSON and nothing else."""
        line = self.lines.get(timeout=WAIT * SLOW)
        return None if line is None else json.loads(line)

    def send(self, method, id=None, **params):
        """A request; returns its id."""
        self.ids += 1
        id = self.ids if id is None else id
        if self.version == MODERN:
            meta = {META + "protocolVersion": MODERN, META + "clientCapabilities": {}}
            params = {**params, "_meta": {**meta, **params.get("_meta", {})}}
        self.raw(json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).encode() + b"\n")
        return id

    def notify(self, method, **params):
        self.raw(json.dumps({"jsonrpc": "2.0", "method": method, "params": params}).encode() + b"\n")

    def answer(self, id):
        """Of this id; what is told before is kept in `told`."""
        while True:
            message = self.next()
            assert message is not None, "the server has ended"
            if "method" in message:
                self.told.append(message["params"])
            else:
                assert message.get("id") == id, message
                return message

    def ask(self, method, **params):
        return self.answer(self.send(method, **params))

    @staticmethod
    def result(message):
        assert "result" in message, message
        return message["result"]

    def call(self, tool, /, **arguments):
        return self.result(self.ask("tools/call", name=tool, arguments=arguments))

    def good(self, tool, /, **arguments):
        """The JSON of a tool's answer."""
        result = self.call(tool, **arguments)
        assert not result["isError"], result
        return result["structuredContent"]

    def bad(self, tool, /, **arguments):
        """The text of a tool's error."""
        result = self.call(tool, **arguments)
        assert result["isError"], result
        return result["content"][0]["text"]

    def error(self, method, **params):
        message = self.ask(method, **params)
        assert "error" in message, message
        return message["error"]["code"], message["error"]["message"]


class Official:
    """One of the official clients (mcp/driver.cjs): `sdk` or `client`."""

    def __init__(self, kind, *args):
        self.process = subprocess.Popen(
            ["node", TOP / "tests/mcp/driver.cjs", CLIENTS.resolve(), kind, program("aib"), "mcp", *map(str, args)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.server = json.loads(self.process.stdout.readline())["pid"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        assert self.process.wait(30 * SLOW) == 0
        self.process.stdout.close()

    def ask(self, do, **what):
        print(json.dumps({"do": do, **what}), file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def call(self, tool, how=(), /, **arguments):
        return self.ask("call", name=tool, arguments=arguments, **dict(how))

    def good(self, tool, /, **arguments):
        answer = self.call(tool, **arguments)
        assert not answer["result"]["isError"], answer
        return answer["result"]["structuredContent"]
