"""Ctrl-C and SIGTERM end a command at once, with their exit status and nothing half-written, whatever the work is doing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from microfield.cli import main
from microfield.cli.interrupt import run_interruptibly

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")

PROGRAM = '''
import ctypes, signal, sys, time
from microfield.methods.field.method import FieldMethod

signal.signal(signal.SIGINT, signal.default_int_handler)  # Shells start jobs in the background with it ignored.

def busy(*_, **__):
    print("working", flush=True)
    {work}

FieldMethod.encode = busy
from microfield.cli import main
sys.exit(main())
'''

PYTHON = "while True: time.sleep(0.01)"
"""Work that an exception can stop."""

NATIVE = "ctypes.CDLL(None).sleep(60)"
"""A call of a library that does not return, as an encoder's."""

STUBBORN = """
    while True:
        try:
            time.sleep(0.01)
        except KeyboardInterrupt:
            pass
"""
"""A library that swallows what interrupts it."""


def start(folder: Path, work: str, *words: str) -> subprocess.Popen[str]:
    """Compress an image whose encoding never ends; returns when that has begun."""
    np.save(folder / "a.npy", np.random.default_rng(0).integers(0, 200, (40, 40)).astype(np.uint8))
    process = subprocess.Popen([sys.executable, "-c", PROGRAM.format(work=work), "compress", *words, "--ratio", "9"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder)
    assert process.stdout is not None
    assert process.stdout.readline() == "working\n"
    return process


@pytest.fixture
def listening() -> Iterator[None]:
    """Ctrl-C interrupts this process, too, where it was started in the background of a shell, which lets it ignore that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("work", [PYTHON, NATIVE, STUBBORN], ids=["python", "native", "stubborn"])
@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "terminate"])
def test_an_encode_is_left_at_once(tmp_path: Path, work: str, sent: signal.Signals, status: int) -> None:
    process = start(tmp_path, work, "a.npy", "b.mfield")
    assert len(list(tmp_path.glob(".b.*"))) == 1
    process.send_signal(sent)
    told = process.communicate(timeout=30)[1]
    assert process.returncode == status
    assert told == "microfield: interrupted; files that were complete stay, nothing half-written is left.\n"
    assert [p.name for p in tmp_path.iterdir()] == ["a.npy"]


@pytest.mark.parametrize("work", [PYTHON, NATIVE], ids=["python", "native"])
def test_a_batch_sums_up_before_it_ends(tmp_path: Path, work: str) -> None:
    process = start(tmp_path, work, "a.npy", "--out-dir", "o")
    process.send_signal(signal.SIGINT)
    said, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "0 done, 0 skipped, 0 failed" in said
    assert said.count("details in") == 1
    assert [p.name for p in (tmp_path / "o").iterdir()] == ["microfield-summary.csv"]
    assert ",interrupted," in (tmp_path / "o" / "microfield-summary.csv").read_text()
    assert told.count("\n") == 1


def test_what_the_work_returns_and_raises_comes_through() -> None:
    names: list[str] = []

    def work() -> int:
        names.append(threading.current_thread().name)
        return 7

    def fail() -> int:
        raise ZeroDivisionError

    assert run_interruptibly(work) == 7
    assert names == ["work"]
    with pytest.raises(ZeroDivisionError):
        run_interruptibly(fail)
    others: list[int] = []
    thread = threading.Thread(target=lambda: others.append(run_interruptibly(work)))
    thread.start()
    thread.join()
    assert others == [7]


@pytest.mark.usefixtures("listening")
def test_in_a_process_that_is_not_ours_ctrl_c_ends_the_command_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    def encode(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        while True:
            time.sleep(0.01)

    monkeypatch.setattr("microfield.methods.field.method.FieldMethod.encode", encode)
    np.save(tmp_path / "a.npy", np.random.default_rng(0).integers(0, 200, (40, 40)).astype(np.uint8))
    handlers = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    assert main(["compress", str(tmp_path / "a.npy"), str(tmp_path / "a.mfield"), "--ratio", "9"]) == 130
    assert "interrupted" in capsys.readouterr().err
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert [p.name for p in tmp_path.iterdir()] == ["a.npy"]
