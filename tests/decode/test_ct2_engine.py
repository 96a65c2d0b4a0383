"""A loaded model in a process with threads, after a fork, and at the end of a process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from textmill.export.ct2_spec import write_ct2
from textmill.model.interface import Seq2SeqModel
from textmill.tokenizer.tokenizer import Tokenizer

PROGRAM = """
import os, signal, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from textmill.decode.ct2_engine import CTranslate2Engine
from textmill.decode.settings import DecodeSettings
from textmill.tokenizer.tokenizer import Tokenizer

folder = Path(sys.argv[1])
engine, tokenizer = CTranslate2Engine(folder), Tokenizer.load(folder / "tokenizer.model")
decode = DecodeSettings(beam_size=4, length_penalty=1.0, max_tokens=24, batch_size=16)
sampling = DecodeSettings(1, 1.0, 24, 16, method="sampling")
few = [[20 + row % 9, 30 + row % 7, 40] for row in range(40)]
expected = engine.generate(few, decode)

def is_busy():
    return engine._model.loaded.num_active_batches > 0

def when_busy(act):
    def wait():
        while not is_busy():
            time.sleep(0.001)
        act()
    threading.Thread(target=wait, daemon=True).start()
"""
FOR_MINUTES = "engine.generate(few * 1000, decode)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer) -> Path:
    import torch
    from toy import MODEL

    from textmill.model.factory import build_model
    from textmill.model.shape import Shape

    torch.manual_seed(0)
    model: Seq2SeqModel = build_model(Shape.of(MODEL, len(tokenizer.pieces))).eval()
    place = tmp_path_factory.mktemp("engine")
    write_ct2(model, tokenizer.pieces, place, "float32")
    tokenizer.save(place / "tokenizer.model")
    return place


def run(folder: Path, program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", PROGRAM + program, str(folder)], capture_output=True, text=True, check=False, timeout=3600)


def test_eight_threads_get_what_one_gets(folder: Path) -> None:
    done = run(
        folder, "with ThreadPoolExecutor(8) as pool: print(all(pool.map(lambda _: engine.generate(few, decode) == expected, range(8))))"
    )
    assert done.stdout == "True\n", done.stderr


@pytest.mark.parametrize("is_busy", [False, True])
def test_a_forked_process_is_refused_by_a_clear_error_and_can_end(folder: Path, is_busy: bool) -> None:
    program = f"""
if {is_busy}:
    threading.Thread(target=lambda: {FOR_MINUTES}, daemon=True).start()
    while not is_busy(): time.sleep(0.001)
pid = os.fork()
if pid == 0:
    try:
        engine.generate(few, decode)
    except Exception as error:
        print(type(error).__name__, error, flush=True)
    print(CTranslate2Engine(folder).generate(few, decode) == expected, flush=True)
    sys.exit(5)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    done = run(folder, program)
    refusal, own, code = done.stdout.strip().split("\n")
    assert refusal.startswith("UserError the model was loaded before this process was forked")
    assert (own, code, done.returncode) == ("True", "5", 0), done.stderr


@pytest.mark.parametrize(
    "work",
    [
        FOR_MINUTES,
        "[engine.generate(few, decode) for _ in range(10**6)]",
        "[tokenizer.decode(tokenizer.encode('Open the file')) for _ in range(10**7)]",
        "[CTranslate2Engine(folder).generate(few, decode) for _ in range(10**6)]",
        "[list(engine.stream(few[0], decode)) for _ in range(10**6)]",
        "engine.generate(few * 1000, sampling)",
        "[list(engine.stream(few[0], sampling)) for _ in range(10**6)]",
    ],
)
def test_a_process_can_end_while_a_thread_translates(folder: Path, work: str) -> None:
    program = f"""
started = threading.Event()
threading.Thread(target=lambda: (started.set(), {work}), daemon=True).start()
started.wait()
time.sleep(0.2)
print("said")
sys.exit(3)
"""
    done = run(folder, program)
    assert (done.returncode, done.stdout, done.stderr) == (3, "said\n", "")


def test_ctrl_c_does_not_wait_for_the_translation(folder: Path) -> None:
    program = f"""
when_busy(lambda: os.kill(os.getpid(), signal.SIGINT))
try:
    {FOR_MINUTES}
except KeyboardInterrupt:
    print(is_busy(), flush=True)
    sys.exit(4)
"""
    done = run(folder, program)
    assert (done.returncode, done.stdout) == (4, "True\n"), done.stderr
