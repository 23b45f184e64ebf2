"""`ray up` of ray_cluster.yaml over a real sshd, the application on it, frames through it, and `ray down`.

`ray stop`, which `ray up` and `ray down` call, ends every Ray that it sees. So the test runs itself once more in Linux
namespaces of its own: processes, network and mounts (/tmp/ray, and /etc/passwd for a home folder of its own).
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from getpass import getuser
from pathlib import Path

import av
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from actors.config import load_config
from deploy.local.artifacts import classpath
from deploy.local.process import free_port
from foveal import FrameProducer, Results
from foveal.demo.inputs import talking_face
from streams.audit import AuditReport, audit
from streams.config import StreamsConfig

pytestmark = [
    pytest.mark.slow,
    pytest.mark.services,
    pytest.mark.xdist_group("ray"),
    pytest.mark.timeout(600),
]

REPOSITORY = Path(__file__).parents[3]
RAY = Path(sys.executable).with_name("ray")
INSIDE = "FOVEAL_TEST_CLUSTER_INSIDE"
PACKAGES = {
    "/usr/sbin/sshd": "openssh-server",
    "rsync": "rsync",
    "nc": "netcat-openbsd",
    "unshare": "util-linux",
    "ip": "iproute2",
}
UNSHARE = ["unshare", "--mount", "--net", "--pid", "--ipc", "--fork", "--kill-child", "--mount-proc"]
FRAMES = 20
# What the file asks of real machines, on two cores: fewer replicas, and no frame is too old on a busy machine.
SMALL = {
    "FOVEAL_PERCEPTION__PLACEMENT__REPLICAS": "1",
    "FOVEAL_PERCEPTION__PLACEMENT__NUM_CPUS": "1",
    "FOVEAL_PERCEPTION__STREAMS": "[{match: '*', freshness: all, gallery: default}]",
    "FOVEAL_RECONSTRUCTION__PLACEMENT__REPLICAS": "0",
}
# What `ray down` leaves in the home folder of the cluster user, as docs/operations.md names it.
DOCUMENTED_LEAVINGS = {".bashrc", ".ray/auth_token", "ray_bootstrap_config.yaml", "ray_bootstrap_key.pem"}
# Prepares the namespaces and stays as their first process, which collects the dead: `ray stop` waits for zombies too.
ENTER = """set -e
work=$1; shift
mkdir -p /tmp/ray /run/sshd "$work/ray" "$work/home"
mount --bind "$work/ray" /tmp/ray
awk -F: -v OFS=: -v home="$work/home" '$3 == 0 { $6 = home; $7 = "/bin/bash" } { print }' /etc/passwd > "$work/passwd"
mount --bind "$work/passwd" /etc/passwd
mount -t tmpfs tmpfs /dev/shm
ip link set lo up
"$@" && exit 0 || exit $?
"""


def test_ray_up_deploy_frames_ray_down(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    work = os.environ.get(INSIDE)
    if work is None:
        need_machine()
        classpath()  # fetched here: the namespace has no network
        enter(request.node.nodeid, tmp_path)
        return
    kafka, valkey = request.getfixturevalue("kafka"), request.getfixturevalue("valkey")
    before = processes()
    with sshd(Path(work)) as port:
        cluster = Cluster(Path(work), port)
        began = time.monotonic()
        cluster.ray("up", "-y")
        print(f"ray up: {time.monotonic() - began:.1f} s")
        assert any("raylet" in command for command in processes().values())
        try:
            cluster.check_token()
            deploy_and_check(cluster, kafka, valkey)
            cluster.ray("exec", "serve status")
            cluster.ray("exec", "serve shutdown -y")
        finally:
            cluster.ray("down", "-y")
        assert not cluster.state_of_nodes()
    left = settled_processes(before)
    assert not left, f"left by `ray down`: {left}"
    assert not os.listdir("/dev/shm")
    assert files_of(Path(work) / "home") == DOCUMENTED_LEAVINGS
    cluster.forget()


def deploy_and_check(cluster: Cluster, kafka: str, valkey: str) -> None:
    addresses = {"FOVEAL_KAFKA__BOOTSTRAP_SERVERS": kafka, "FOVEAL_REDIS__URL": valkey}
    variables = " ".join(f'{name}="{value}"' for name, value in (addresses | SMALL).items())
    run = "serve run --non-blocking actors.app:build config=configs/cluster.yaml"
    began = time.monotonic()
    cluster.ray("exec", f"cd ~/foveal && {variables} {run}")
    print(f"deploy: {time.monotonic() - began:.1f} s")
    config = load_config(REPOSITORY / "configs/cluster.yaml", addresses).streams
    with FrameProducer("carphone", config=config) as producer:
        for frame in first_frames(FRAMES):
            producer.send(frame)
    report = settled(config)
    assert report.complete, str(report.to_dict())
    assert report.totals["results"] == FRAMES
    with Results("people", streams="carphone", from_beginning=True, config=config) as results:
        assert [result.message.seq for result in itertools.islice(results, FRAMES)] == list(range(FRAMES))
    check_metrics()


def check_metrics(timeout_s: float = 30.0) -> None:
    """Prometheus finds the counted frames at the documented port of the machine."""
    wanted = re.compile(rf'^ray_foveal_frames_total\{{.*outcome="result".*\}} {FRAMES}\.0$', re.MULTILINE)
    deadline = time.monotonic() + timeout_s
    while True:
        with urllib.request.urlopen("http://127.0.0.1:8080/metrics", timeout=10) as answer:
            if wanted.search(answer.read().decode()):
                return
        assert time.monotonic() < deadline, "no count of the results at port 8080"
        time.sleep(0.5)


class Cluster:
    """A copy of ray_cluster.yaml with only its name, key and port changed, and the `ray` command on it."""

    def __init__(self, work: Path, port: int) -> None:
        self._gateway_home = work / "gateway"
        (self._gateway_home / ".ray").mkdir(parents=True)
        (work / "tmp").mkdir()
        (work / "home" / "foveal").symlink_to(REPOSITORY)
        described = yaml.safe_load((REPOSITORY / "ray_cluster.yaml").read_text())
        # Ray names its shared ssh connections after the cluster: one of another test must not be taken.
        described["cluster_name"] = f"foveal-test-{port}-{time.time_ns():x}"
        described["auth"]["ssh_private_key"] = str(work / "key")
        described["auth"]["ssh_proxy_command"] = f"nc 127.0.0.1 {port}"
        self._name = described["cluster_name"]
        self._file = work / "ray_cluster.yaml"
        self._file.write_text(yaml.safe_dump(described))
        clean = {
            name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "FOVEAL_", "PYTEST_"))
        }
        self._environment = clean | {
            "HOME": str(self._gateway_home),
            "RAY_USAGE_STATS_ENABLED": "0",
            "TMPDIR": str(work / "tmp"),
        }
        subprocess.run([RAY, "get-auth-token", "--generate"], env=self._environment, check=True, capture_output=True)

    def ray(self, command: str, *arguments: str) -> None:
        """Raises: AssertionError with what the command said."""
        done = subprocess.run(
            [RAY, command, str(self._file), *arguments],
            env=self._environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=300, check=False,
        )  # fmt: skip
        print(done.stdout[-6000:])
        assert done.returncode == 0, f"ray {command}: {done.stdout[-6000:]}"

    def check_token(self) -> None:
        """The head answers nobody without the cluster's token."""
        ask = [str(RAY), "status", "--address", "127.0.0.1:6379"]
        right, wrong = (
            subprocess.run(ask, env=self._environment | token, capture_output=True, text=True, timeout=120, check=False)
            for token in ({"RAY_AUTH_MODE": "token"}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64})
        )
        assert right.returncode == 0, right.stderr
        assert wrong.returncode != 0, wrong.stdout

    def forget(self) -> None:
        """Remove the folder of Ray's shared ssh connections, named by two hashes, as its command runner does."""
        user, name = (hashlib.sha256(text.encode()).hexdigest()[:10] for text in (getuser(), self._name))
        shutil.rmtree(f"/tmp/ray_ssh_{user}/{name}", ignore_errors=True)

    def state_of_nodes(self) -> list[str]:
        """Machines that Ray believes to be up."""
        state = yaml.safe_load(Path(f"/tmp/ray/cluster-{self._name}.state").read_text())
        return [node for node, info in state.items() if info["state"] != "terminated"]


@contextmanager
def sshd(work: Path) -> Iterator[int]:
    """An sshd of the test's own on a free loopback port, which knows one key; -> the port."""
    port = free_port()
    for name in ("key", "host_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", work / name], check=True)
    (work / "authorized").write_text((work / "key.pub").read_text())
    config = work / "sshd_config"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {work}/host_key\nAuthorizedKeysFile {work}/authorized\n"
        f"PidFile {work}/sshd.pid\nPermitRootLogin prohibit-password\nPasswordAuthentication no\nStrictModes no\n"
        "UsePAM no\nMaxStartups 100\n"
    )
    with (work / "sshd.log").open("w") as log:
        server = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", config], stdout=log, stderr=log)
    try:
        yield port
    finally:
        server.terminate()
        server.wait(10)


def need_machine() -> None:
    """Skip, or with REQUIRE_SERVICES=1 fail, where this can't run; packages that are missing are installed."""
    missing = sorted({package for command, package in PACKAGES.items() if shutil.which(command) is None})
    if os.geteuid() != 0:
        reason = "namespaces and an sshd of its own need root"
    elif missing and shutil.which("apt-get") is None:
        reason = f"{', '.join(missing)} missing, and no apt-get to install them"
    elif missing:
        # RUNLEVEL=1: the packages start no service of the system's.
        quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
        install = ["apt-get", "install", "-y", "--no-install-recommends", *missing]
        done = subprocess.run(install, env=quiet, capture_output=True, text=True, check=False)
        reason = f"{' '.join(install)}: {done.stderr[-500:]}" if done.returncode else ""
    else:
        reason = ""
    if not reason:
        tried = subprocess.run([*UNSHARE, "true"], capture_output=True, text=True, check=False)
        reason = f"namespaces are not allowed here: {tried.stderr.strip()}" if tried.returncode else ""
    if reason:
        if os.environ.get("REQUIRE_SERVICES") == "1":
            pytest.fail(reason)
        pytest.skip(reason)


def enter(test: str, tmp_path: Path) -> None:
    """Run `test` in namespaces of its own; whatever it left dies with them."""
    work = tmp_path / "work"
    work.mkdir()
    inner = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-s",
        "--basetemp",
        str(tmp_path / "inner"),
        test,
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [*UNSHARE, "bash", "-c", ENTER, "enter", str(work), *inner],
        cwd=REPOSITORY, env=environment | {INSIDE: str(work), "REQUIRE_SERVICES": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=580, check=False,
    )  # fmt: skip
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-8000:]
    assert "1 passed" in done.stdout


def processes() -> dict[int, str]:
    """Every process of this namespace but threads of the kernel and the dead: pid -> command line."""
    found: dict[int, str] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked
        if command:
            found[int(folder.name)] = command
    return found


def files_of(folder: Path) -> set[str]:
    """Relative paths; links, as to the repository, are not followed."""
    return {os.path.relpath(os.path.join(at, name), folder) for at, _, names in os.walk(folder) for name in names}


def settled_processes(before: dict[int, str], timeout_s: float = 30.0) -> dict[int, str]:
    """What is there and was not before; ssh's own shared connections end by themselves 10 s after use."""
    deadline = time.monotonic() + timeout_s
    while True:
        left = {pid: command for pid, command in processes().items() if pid not in before}
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.5)


def first_frames(count: int) -> list[NDArray[np.uint8]]:
    with av.open(str(talking_face())) as video:
        return [
            frame.to_ndarray(format="bgr24").astype(np.uint8)
            for frame in itertools.islice(video.decode(video=0), count)
        ]


def settled(config: StreamsConfig, timeout_s: float = 120.0) -> AuditReport:
    deadline = time.monotonic() + timeout_s
    while True:
        report = audit(config, "frames")
        if report.complete or time.monotonic() > deadline:
            return report
        time.sleep(0.3)
