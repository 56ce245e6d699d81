"""Engines over TCP with TLS and client certificates: a real dockerd that wants them, and what is said
where a certificate is the wrong one."""

import os

import pytest
import remote
from test_engine import IMAGE, REAL, case


def env(tls, who):
    return {"DOCKER_HOST": tls.host, "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": tls.cert(who)}


@pytest.mark.parametrize("name", REAL)
def test_real_engine_over_tls(tls, name):
    case(name, "", IMAGE, **env(tls, "client"))


def test_sandbox_over_tls(mount, tls):
    config = {"engines": {"far": {"host": tls.host, "cert": tls.cert("client")}}}
    m = mount("/py=docker:aib-test:busybox,engine=far", config=config)
    (m / "py/root/a").write_text("from here\n")
    assert m.exec("cat", "/root/a", cwd="py").stdout == "from here\n"
    data = os.urandom(3 << 20)
    (m / "py/root/b").write_bytes(data)
    assert (m / "py/root/b").read_bytes() == data
    status = (m / ".aib/sandboxes/py/status").read_text()
    assert "transport guest" in status and tls.host in status
    assert m.umount().returncode == 0
    assert not tls.docker("ps", "-aq").stdout


# Which certificates; what is said of which file. An engine says of most faults no more than "bad".
WRONG = [
    ("other", "this client's certificate", "other/cert.pem"),
    ("expired", "this client's certificate", "expired/cert.pem"),
    ("nobody", "certificate", ""),
    ("stranger", "of a CA that is not trusted here", "stranger/ca.pem"),
]


@pytest.mark.parametrize("who, says, file", WRONG)
def test_wrong_certificate_is_named(tls, who, says, file):
    error, _, text = case("show_ping", "", **env(tls, who)).stdout.split(" ", 2)
    assert error == "EPROTO" and tls.host in text and says in text and file in text


def test_certificate_for_another_host_is_refused(tls):
    host = f"tcp://localhost:{tls.port}"
    error, _, text = case("show_ping", "", **{**env(tls, "client"), "DOCKER_HOST": host}).stdout.split(" ", 2)
    assert error == "EPROTO" and "another host name" in text and "localhost" in text


def test_expired_certificate_of_an_engine_is_refused(tls):
    with remote.tls_server(tls.dir, "expired") as host:
        error, _, text = case("show_ping", "", **{**env(tls, "client"), "DOCKER_HOST": host}).stdout.split(" ", 2)
    assert error == "EPROTO" and "its certificate has expired" in text


def test_no_tls_where_tls_is_wanted_is_an_error(tls):
    error, _, text = case("show_ping", tls.host, ENGINE_TIMEOUT_MS="3000").stdout.split(" ", 2)
    assert error == "EINVAL" and "HTTPS" in text


def test_mount_names_the_file_that_cannot_be_used(mount, tls, world):
    lone = remote.make_client(world.dir / "src", "none")
    for cert, says in ((lone, "no ca.pem, cert.pem or key.pem"), (tls.cert("other"), "other/cert.pem")):
        with pytest.raises(AssertionError) as e:
            mount("/py=docker:aib-test:busybox,engine=far",
                  config={"engines": {"far": {"host": tls.host, "cert": cert}}})  # fmt: skip
        assert "/py" in str(e.value) and tls.host in str(e.value) and says in str(e.value)
