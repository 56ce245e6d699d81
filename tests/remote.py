"""Ways to a real engine from afar: a real sshd before it, and certificates for a real dockerd or any
other TLS server. conftest.py makes fixtures of them."""

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile

from harness import TOP, run, wait_for


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Sshd:
    """sshd on 127.0.0.1 with keys and configuration of its own. `config` is a file for ssh -F: it knows
    the server's key and nothing of the user's."""

    def __init__(self, directory, engine):
        self.dir = pathlib.Path(directory)
        self.dir.mkdir()
        self.port = free_port()
        self.socket = engine.host.removeprefix("unix://")
        for key in ("host", "user", "stranger"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.dir / key], check=True)
        shutil.copy(self.dir / "user.pub", self.dir / "authorized")
        (self.dir / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.dir}/host\n"
            f"AuthorizedKeysFile {self.dir}/authorized\nPidFile {self.dir}/pid\n"
            "StrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\n"
            "PermitRootLogin yes\nMaxStartups 100\n"
        )
        key = (self.dir / "host.pub").read_text()
        (self.dir / "known").write_text(f"[127.0.0.1]:{self.port} {key}")
        (self.dir / "nobody").write_text("")
        self.config = self.client("user", "known")
        pathlib.Path("/run/sshd").mkdir(exist_ok=True)  # sshd wants to be able to hide there
        self.process = subprocess.Popen(
            ["/usr/sbin/sshd", "-D", "-e", "-f", self.dir / "sshd_config"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=open(self.dir / "log", "wb"),
            start_new_session=True,
        )  # fmt: skip
        wait_for("sshd", self.answers)

    def answers(self):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True

    def client(self, key, known):
        """A configuration for ssh that uses these files only."""
        path = self.dir / f"client-{key}-{known}"
        path.write_text(
            f"IdentityFile {self.dir}/{key}\nIdentitiesOnly yes\nIdentityAgent none\n"
            f"UserKnownHostsFile {self.dir}/{known}\nGlobalKnownHostsFile /dev/null\n"
            "StrictHostKeyChecking yes\n"
        )
        return str(path)

    def url(self, socket=None):
        return f"ssh://root@127.0.0.1:{self.port}{self.socket if socket is None else socket}"

    def engine(self, **more):
        """What "engines" of a configuration says of it."""
        return {"host": self.url(), "ssh_config": self.config, **more}

    def handshakes(self):
        return (self.dir / "log").read_text().count("Accepted publickey")

    def close(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(10)


def openssl(directory, *argv):
    subprocess.run(["openssl", *argv], cwd=directory, check=True, capture_output=True)


def make_ca(directory, name):
    """NAME.pem and NAME-key.pem"""
    openssl(directory, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}-key.pem",
            "-out", f"{name}.pem", "-subj", f"/CN={name}", "-days", "2")  # fmt: skip


def make_certificate(directory, name, ca, names="IP:127.0.0.1,DNS:localhost", days=2):
    """NAME-cert.pem and NAME-key.pem of CA; DAYS below 0: it has expired."""
    (directory / "ext").write_text(f"subjectAltName={names}\n")
    openssl(directory, "req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}-key.pem",
            "-out", f"{name}.csr", "-subj", f"/CN={name}")  # fmt: skip
    openssl(directory, "x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.pem", "-CAkey", f"{ca}-key.pem",
            "-CAcreateserial", "-out", f"{name}-cert.pem", "-days", str(days), "-extfile", "ext")  # fmt: skip


def make_client(directory, name, ca=None, of=None):
    """The directory NAME as the docker client has it: ca.pem of CA, cert.pem and key.pem of OF."""
    (directory / name).mkdir()
    if ca:
        shutil.copy(directory / f"{ca}.pem", directory / name / "ca.pem")
    if of:
        shutil.copy(directory / f"{of}-cert.pem", directory / name / "cert.pem")
        shutil.copy(directory / f"{of}-key.pem", directory / name / "key.pem")
    return str(directory / name)


class TlsEngine:
    """A private dockerd that listens on 127.0.0.1 too, with TLS. In `dir`: the CAs `ca` and `other-ca`, and
    the directories of clients `client`, `expired`, `other` (of the other CA), `stranger` (knows the other CA
    only) and `nobody` (has no certificate)."""

    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="aibt-tls-", dir="/tmp"))
        for ca in ("ca", "other-ca"):
            make_ca(self.dir, ca)
        make_certificate(self.dir, "server", "ca", "IP:127.0.0.1")
        make_certificate(self.dir, "client", "ca")
        make_certificate(self.dir, "expired", "ca", days=-1)
        make_certificate(self.dir, "other", "other-ca")
        for name in ("client", "expired", "other"):
            make_client(self.dir, name, "ca", name)
        make_client(self.dir, "stranger", "other-ca", "client")
        make_client(self.dir, "nobody", "ca")
        self.port = free_port()
        flags = f"-H tcp://127.0.0.1:{self.port} --tlsverify --tlscacert {self.dir}/ca.pem"
        flags += f" --tlscert {self.dir}/server-cert.pem --tlskey {self.dir}/server-key.pem"
        env = {**os.environ, "AIB_ENGINE_FLAGS": flags}
        self.engine = run(TOP / "scripts/engine", "start", str(os.getpid()), env=env, timeout=300).stdout.strip()
        self.host = f"tcp://127.0.0.1:{self.port}"
        self.env = {**os.environ, "DOCKER_HOST": f"unix://{self.engine}/docker.sock"}
        run(TOP / "scripts/images", "aib-test:busybox=busybox", env=self.env, timeout=600)

    def cert(self, name):
        return str(self.dir / name)

    def docker(self, *argv):
        return run("docker", *argv, env=self.env)

    def close(self):
        run(TOP / "scripts/engine", "stop", self.engine, timeout=120)
        shutil.rmtree(self.dir)


@contextlib.contextmanager
def tls_server(directory, name):
    """The host of a TLS server with the certificate NAME, for who does not get further than that."""
    port = free_port()
    p = subprocess.Popen(
        ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-quiet",
         "-cert", f"{name}-cert.pem", "-key", f"{name}-key.pem"],
        cwd=directory, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip

    def answers():
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True

    try:
        wait_for("a TLS server", answers)
        yield f"tcp://127.0.0.1:{port}"
    finally:
        p.kill()
        p.wait()
