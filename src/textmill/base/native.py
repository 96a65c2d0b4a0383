"""Compiled code at the end of a process.

CTranslate2 and SentencePiece let other Python threads run while they work. When Python ends, it ends the other threads wherever
they are, and inside such a library that aborts the whole process. So their calls, all of them short, are `with inside:`; at the
end of the process nobody gets in any more, and those inside are waited for.
"""

from __future__ import annotations

import atexit
import os
import threading
import time

_SECONDS_BETWEEN_LOOKS = 0.001


class _Gate:
    def __init__(self) -> None:
        self._open()

    def _open(self) -> None:
        self._lock = threading.Lock()
        self._inside: set[int] = set()
        self._closed_by = 0

    def __enter__(self) -> None:
        thread = threading.get_ident()
        if thread != self._closed_by:
            with self._lock:
                self._inside.add(thread)

    def __exit__(self, *_: object) -> None:
        self._inside.discard(threading.get_ident())

    def close(self) -> None:
        """Let nobody in but this thread; returns when all others are out."""
        thread = threading.get_ident()
        if thread == self._closed_by:
            return
        self._lock.acquire()
        self._closed_by = thread
        while self._inside - {thread}:
            time.sleep(_SECONDS_BETWEEN_LOOKS)


inside = _Gate()
atexit.register(inside.close)
os.register_at_fork(after_in_child=inside._open)  # those who were inside are in the parent
