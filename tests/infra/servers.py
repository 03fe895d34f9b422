"""Real servers for tests: PostgreSQL, an S3-compatible object store, Prefect, MLflow; on loopback.

PostgreSQL is Debian's. The object store is any program that is started by `PROGRAM -p PORT` and
speaks S3 with whatever credentials: `moto_server` (PyPI, of an environment of its own, since its
botocore is not ours), by `PERPETUNE_TEST_S3_SERVER=/path/to/moto_server` or on PATH.
"""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.platform import free_port

SCRIPTS = Path(sys.executable).parent


def postgres_programs() -> Path:
    """The folder of PostgreSQL's programs; the test is skipped where there are none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    if found:
        return found[-1].parent
    if on_path is None:
        pytest.skip("PostgreSQL is not installed (initdb, postgres)")
    return Path(on_path).resolve().parent


def object_store_program() -> str:
    """The program that serves S3; the test is skipped where there is none."""
    found = os.environ.get("PERPETUNE_TEST_S3_SERVER") or shutil.which("moto_server")
    if found is None:
        pytest.skip("no S3-compatible server: name one in PERPETUNE_TEST_S3_SERVER")
    return found


def _unprivileged() -> str | None:
    """PostgreSQL refuses to run as root: the account that it runs under instead."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    pytest.skip("PostgreSQL does not run as root, and there is no other account")


class Postgres:
    """A PostgreSQL server with a password on a free port, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._programs = postgres_programs()
        self._user = _unprivileged()
        self._folder = folder
        self._data = folder / "data"
        self.port = free_port()
        self.password = "p%4/:@ss"  # signs that an address has to escape
        if self._user:
            shutil.chown(folder, self._user)
        secret = folder / "password"
        secret.write_text(self.password)
        secret.chmod(0o644)
        options = ["-U", "perpetune", "-A", "scram-sha-256", "--no-sync", "-E", "UTF8"]
        self._run("initdb", "-D", str(self._data), f"--pwfile={secret}", *options)
        self.start()

    def url(self, database: str, scheme: str = "postgresql") -> str:
        """The address of a database, without the password, which PGPASSWORD holds."""
        return f"{scheme}://perpetune@127.0.0.1:{self.port}/{database}"

    @property
    def environment(self) -> dict[str, str]:
        """What PostgreSQL's own programs, and libpq in every process, find the server by."""
        return {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.port),
            "PGUSER": "perpetune",
            "PGPASSWORD": self.password,
        }

    def create(self, *databases: str) -> None:
        for name in databases:
            self.run("createdb", name)

    def run(self, program: str, *arguments: str) -> str:
        """A program of PostgreSQL's, as a client."""
        done = subprocess.run(
            [str(self._programs / program), *arguments],
            env=os.environ | self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self) -> None:
        options = f"-p {self.port} -h 127.0.0.1 -k {self._folder} -c fsync=off"
        log = self._folder / "log"
        self._run("pg_ctl", "-D", str(self._data), "-o", options, "-l", str(log), "-w", "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self._data), "-m", "fast", "-w", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._programs / program), *arguments],
            user=self._user,
            cwd=self._folder,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A server that ends with the block."""
    # Not below pytest's own folder, which no other account may enter.
    folder = Path(tempfile.mkdtemp(prefix="perpetune-postgres-"))
    folder.chmod(0o755)
    server = None
    try:
        server = Postgres(folder)
        yield server
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running(
    name: str, command: list[str], environment: Mapping[str, str], folder: Path, ready: str
) -> Iterator[None]:
    """A server process until the block ends; it has to answer at `ready` first."""
    log = folder / f"{name}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, env=environment, cwd=folder, stdout=file, stderr=file, start_new_session=True
        )
    try:
        _wait(lambda: _answers(ready), process, log)
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait(answers: Callable[[], bool], process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + 180
    while not answers():
        assert process.poll() is None and time.monotonic() < end, log.read_text()[-3000:]
        time.sleep(0.3)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False
