"""The engine client (backends/docker/engine.h) by its test program: against a real engine, over TLS,
from a real registry, and against engines that are not well."""

import os
import pathlib
import socket
import ssl
import subprocess
import threading

import fake_engine
import harness
import pytest

PROGRAM = harness.BUILD / "tests/docker/engine_test"
IMAGE = "aib-test:busybox"


def case(name, host="", *args, timeout=100, **env):
    env = {**os.environ, **env}
    p = harness.run(PROGRAM, name, host, *args, timeout=timeout, env=env, check=False)
    print(p.stdout, p.stderr)
    assert p.returncode == 0, p.stderr
    return p


REAL = [
    "ping_and_info", "container_life", "exec", "exec_stream", "archive", "readonly_root",
    "stat_is_fast", "cancel_and_deadline", "many_threads",
]  # fmt: skip


@pytest.mark.parametrize("name", REAL)
def test_real_engine(engine, name):
    case(name, engine.host, IMAGE)


def test_names_survive_in_any_locale(engine):
    for locale in ("C", "C.UTF-8"):
        case("archive", engine.host, IMAGE, LC_ALL=locale, ENGINE_LOCALE="1")


def test_pull_from_a_registry(engine, registry):
    reference = registry.push(IMAGE, "aib-test-engine:pulled")
    assert "progress: " in case("pull", engine.host, IMAGE, reference).stderr
    engine.docker("rmi", reference)
    p = case("pull_fails", engine.host, IMAGE, f"{registry.address}/aib-test-engine:none")
    assert "No such file" in p.stderr and "aib-test-engine" in p.stderr


# ---- TLS ----


def certificates(directory):
    """ca.pem, cert.pem, key.pem for the client; server-*.pem; other-cert.pem is of another CA."""

    def openssl(*argv):
        subprocess.run(["openssl", *argv], cwd=directory, check=True, capture_output=True)

    for ca in ("ca", "other-ca"):
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{ca}-key.pem",
                "-out", f"{ca}.pem", "-subj", f"/CN={ca}", "-days", "2")  # fmt: skip
    for name, ca in (("server", "ca"), ("client", "ca"), ("other", "other-ca")):
        (directory / "ext").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}-key.pem",
                "-out", f"{name}.csr", "-subj", f"/CN={name}")  # fmt: skip
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.pem", "-CAkey", f"{ca}-key.pem",
                "-CAcreateserial", "-out", f"{name}-cert.pem", "-days", "2", "-extfile", "ext")  # fmt: skip
    for name in ("client", "other"):
        (directory / name).mkdir()
        (directory / name / "ca.pem").write_text((directory / "ca.pem").read_text())
        (directory / name / "cert.pem").write_text((directory / f"{name}-cert.pem").read_text())
        (directory / name / "key.pem").write_text((directory / f"{name}-key.pem").read_text())
    (directory / "stranger").mkdir()
    for name in ("cert.pem", "key.pem"):
        (directory / "stranger" / name).write_text((directory / "client" / name).read_text())
    (directory / "stranger/ca.pem").write_text((directory / "other-ca.pem").read_text())


class TlsProxy:
    """TLS with client certificates in front of an engine's Unix socket, half-close included."""

    def __init__(self, host, directory):
        self.target = host.removeprefix("unix://")
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(directory / "server-cert.pem", directory / "server-key.pem")
        self.context.load_verify_locations(directory / "ca.pem")
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"tcp://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                plain, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(plain,), daemon=True).start()

    def serve(self, plain):
        """One thread a connection: an SSL object is not for two."""
        import select

        try:
            tls = self.context.wrap_socket(plain, server_side=True)
            engine = socket.socket(socket.AF_UNIX)
            engine.connect(self.target)
        except OSError:
            plain.close()
            return
        sources = [tls, engine]
        with tls, engine:
            try:
                while engine in sources:
                    ready = [tls] if tls in sources and tls.pending() else select.select(sources, [], [])[0]
                    for source in ready:
                        data = source.recv(65536)
                        if source is engine and not data:
                            tls.unwrap()
                            return
                        if not data:
                            sources.remove(tls)
                            engine.shutdown(socket.SHUT_WR)
                        elif source is tls:
                            engine.sendall(data)
                        else:
                            tls.sendall(data)
            except OSError:
                pass

    def close(self):
        self.listener.close()


@pytest.fixture
def tls(engine, world):
    directory = world.dir / "src"
    certificates(directory)
    proxy = TlsProxy(engine.host, directory)
    proxy.directory = directory
    yield proxy
    proxy.close()


def tls_env(tls, who):
    return {"DOCKER_HOST": tls.host, "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(tls.directory / who)}


@pytest.mark.parametrize("name", REAL)
def test_real_engine_over_tls(tls, name):
    case(name, "", IMAGE, **tls_env(tls, "client"))


@pytest.mark.parametrize("who", ["other", "stranger"])
def test_tls_with_the_wrong_certificate_is_refused(tls, who):
    p = case("show_ping", "", **tls_env(tls, who))
    assert p.stdout.split()[0] in ("EPROTO", "EIO"), p.stdout
    assert tls.host in p.stdout


def test_tls_server_without_tls_is_an_error(engine, tls):
    p = case("show_ping", tls.host, ENGINE_TIMEOUT_MS="3000")
    assert p.stdout.split()[0] == "EIO"


# ---- Engines that are not well ----


@pytest.fixture
def fake(world):
    engines = []

    def make(fault):
        engines.append(fake_engine.FakeEngine(world.dir / f"e{len(engines)}.sock", fault))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


def show(engine, call=None, **env):
    env.setdefault("ENGINE_TIMEOUT_MS", "1000")
    name = "show_call" if call else "show_ping"
    error, ms, text = case(name, engine.host, "", call or "", **env).stdout.rstrip("\n").split(" ", 2)
    if error != "OK":
        assert engine.host in text or call, text
    return error, int(ms), text


@pytest.mark.parametrize(
    "fault, error, says",
    [
        ("garbage", "EIO", ""),
        ("bad_json", "EIO", "not JSON"),
        ("deep_json", "EIO", "not JSON"),
        ("short", "EIO", ""),
        ("huge_headers", "EIO", ""),
        ("endless_body", "EIO", "sane length"),
        ("error_500", "EIO", "it broke"),
        ("error_text", "EIO", "down for repair"),
        ("redirect", "EIO", "301"),
        ("closes", "EIO", ""),
        ("old", "EPROTONOSUPPORT", "1.20"),
        ("versions", "OK", ""),
        ("reuse", "OK", ""),
    ],
)
def test_answer_that_is_wrong(fake, fault, error, says):
    got, ms, text = show(fake(fault))
    assert got == error and says in text
    assert ms < 5000 * harness.SLOW


@pytest.mark.parametrize("fault", ["hang", "hang_ping"])
def test_engine_that_hangs_is_given_up(fake, fault):
    error, ms, _ = show(fake(fault))
    assert error == "ETIMEDOUT" and 900 <= ms < 2500 * harness.SLOW


def test_deadline_ends_an_engine_that_drips(fake):
    error, ms, _ = show(fake("drip"), ENGINE_DEADLINE_MS="1500")
    assert error == "ETIMEDOUT" and 1400 <= ms < 3000 * harness.SLOW


@pytest.mark.parametrize(
    "call, fault, error",
    [
        ("stat", "stat_good", "OK"),
        ("stat", "stat_none", "EIO"),
        ("stat", "stat_base64", "EIO"),
        ("stat", "stat_mode", "EIO"),
        ("stat", "stat_negative", "EIO"),
        ("stat", "stat_time", "EIO"),
        ("stat", "hang", "ETIMEDOUT"),
        ("get", "tar_good", "OK"),
        ("get", "tar_unended", "EIO"),
        ("get", "tar_cut", "EIO"),
        ("get", "tar_broken_off", "EIO"),
        ("get", "tar_garbage", "EIO"),
        ("get", "tar_gzip", "EIO"),
        ("get", "tar_empty", "EIO"),
        ("get", "tar_then_error", "EIO"),
        ("get", "hang", "ETIMEDOUT"),
        ("exec", "exec_good", "OK"),
        ("exec", "exec_raw", "OK"),
        ("exec", "exec_cut", "EIO"),
        ("exec", "exec_frames", "EIO"),
        ("exec", "exec_hang", "ETIMEDOUT"),
        ("exec", "garbage", "EIO"),
        ("pull", "pull_error", "ENOSPC"),
        ("pull", "pull_split", "OK"),
        ("pull", "pull_garbage", "EIO"),
        ("pull", "pull_long", "EIO"),
        ("pull", "hang", "ETIMEDOUT"),
    ],
)
def test_call_on_an_engine_that_is_not_well(fake, call, fault, error):
    got, ms, _ = show(fake(fault), call)
    assert got == error
    assert ms < 3000 * harness.SLOW


def test_credentials_are_sent_with_a_pull(fake, world):
    import base64
    import json

    config = pathlib.Path(world.dir) / "src/config.json"
    config.write_text('{"auths": {"https://index.docker.io/v1/": {"auth": "bWU6cHc="}}}')
    engine = fake("auth")
    assert show(engine, "pull", DOCKER_CONFIG=str(config.parent))[0] == "OK"
    sent = json.loads(base64.urlsafe_b64decode(engine.seen[0]))
    assert sent["username"] == "me" and sent["password"] == "pw"
