"""A headless Chromium: its flags, and a look at the MLflow UI of a store."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync"


@contextmanager
def mlflow_ui(clone: Path) -> Iterator[str]:
    """Address of the UI that `make ui` opens, while the body runs."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {**os.environ, "PYTHONPATH": f"{clone}:{clone / 'src'}", "DVC_ROOT": str(clone)}
    process = subprocess.Popen(
        [sys.executable, "-m", "textmill", "ui", "--port", str(port)],
        cwd=clone,
        env=settings,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _wait_for(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=3600)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until the server answers, which takes seconds on an idle machine and minutes on a busy one."""
    for _ in range(360):
        assert process.poll() is None, f"the UI ended with exit code {process.returncode}"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.5)
    raise TimeoutError(f"the UI did not answer on port {port} for three minutes")


def look(address: str, pages: dict[str, tuple[str, list[str]]], folder: Path) -> dict[str, str]:
    """The text of each page once it shows the wanted words; leaves a screenshot of each in `folder`.

    pages: path below `address` and wanted words, by name. Raises TimeoutError of playwright for a page that does not show them.
    """
    from playwright.sync_api import sync_playwright

    texts = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        page = browser.new_page(viewport={"width": 1500, "height": 1000})
        for name, (path, wanted) in pages.items():
            page.goto("about:blank")
            page.goto(address + path)
            page.wait_for_function("wanted => wanted.every(text => document.body.innerText.includes(text))", arg=wanted, timeout=60_000)
            page.screenshot(path=folder / f"{name}.png")
            texts[name] = page.inner_text("body")
        browser.close()
    return texts


def compare_path(experiment: str, runs: list[str]) -> str:
    """The page that compares runs."""
    return f"/#/compare-runs?runs={quote(json.dumps(runs))}&experiments={quote(json.dumps([experiment]))}"
