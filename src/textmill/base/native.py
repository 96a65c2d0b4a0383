"""Calls into compiled libraries that must not be interrupted by the end of the process.

CTranslate2 and SentencePiece release the GIL while they work. When Python exits, it stops the other threads wherever they are.
Inside such a library, this aborts the whole process. So every call into them is wrapped in `with inside:`. All these calls are short.
At exit, no other thread can enter any more, and Python waits until all threads inside have left.
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
        """Keep other threads from entering, and wait until all of them have left. This thread may still enter."""
        thread = threading.get_ident()
        if thread == self._closed_by:
            return
        self._lock.acquire()
        self._closed_by = thread
        while self._inside - {thread}:
            time.sleep(_SECONDS_BETWEEN_LOOKS)


inside = _Gate()
atexit.register(inside.close)
os.register_at_fork(after_in_child=inside._open)  # threads that were inside exist only in the parent
