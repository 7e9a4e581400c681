"""``microfield serve`` as a process, and where it can listen."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest

from helpers.images import scaled
from helpers.served import write
from microfield.cli import main
from microfield.integrations.serve.running import Place, listening

pytest.importorskip("uvicorn")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT for one process")
def test_the_command_serves_until_it_is_interrupted(tmp_path: Path) -> None:
    write(tmp_path / "a.mfield", scaled(np.eye(40), 0, 99, np.uint8), "YX")
    command = [sys.executable, "-m", "microfield", "serve", str(tmp_path), "--port", "0", "--cache", "1MB", "--threads", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = re.fullmatch(r"serving .* at (http://127\.0\.0\.1:\d+/) \(Ctrl-C ends it\)\n", process.stdout.readline())
            assert said is not None
            with urlopen(f"{said[1]}0.5/a.ome.zarr/0/c/0/0", timeout=60) as response:
                assert len(response.read()) == 1600
            process.send_signal(signal.SIGINT)
            rest = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, *rest) == (0, "", "")


def test_a_port_that_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with listening(Place(port=0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", str(tmp_path), "--port", str(port)]) == 1
    said = capsys.readouterr().err
    assert f"nothing can listen at 127.0.0.1:{port}" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(("flags", "status", "sentence"), [
    (["--port", "70000"], 2, "--port 70000 must be 0 to 65535."), (["--threads", "0"], 2, "--threads 0 must be at least 1."),
    (["--host", "no such host"], 1, "no such host is no address of this machine"), (["--cache", "big"], 2, "'big' is not a size"),
    (["--port", "0", "/nothing/here"], 1, "/nothing/here is no folder")])
def test_what_cannot_be_served(tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], status: int, sentence: str,
                               ) -> None:
    folder = [] if flags[-1].startswith("/") else [str(tmp_path)]
    assert main(["serve", *flags, *folder]) == status
    assert sentence in capsys.readouterr().err


def test_only_the_loopback_is_this_machine_alone() -> None:
    assert Place().local
    assert Place("localhost").local
    assert not Place("0.0.0.0").local
