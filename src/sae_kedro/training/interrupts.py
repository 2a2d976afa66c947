"""Ctrl-C and SIGTERM, taken between two steps."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType


class Interrupted(KeyboardInterrupt):
    """Training was stopped by a signal, and its checkpoint is written.

    Args:
        message: What was kept and how to go on, in one sentence.
        signal_number: The signal; a process that ends by it exits with 128 more.
    """

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


class Interrupts:
    """Notes the first Ctrl-C or SIGTERM while a block runs; a second one acts as it always does.

    Outside the main thread, where Python delivers no signals, it does nothing.

    Args:
        active: Whether to listen at all.
    """

    def __init__(self, active: bool = True) -> None:
        self._active = active and threading.current_thread() is threading.main_thread()
        self.received: signal.Signals | None = None
        self._former: dict[int, object] = {}

    def __enter__(self) -> Interrupts:
        """Start to listen."""
        if self._active:
            self._former = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening."""
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.received = signal.Signals(number)
        self._restore()

    def _restore(self) -> None:
        while self._former:
            number, handler = self._former.popitem()
            signal.signal(number, handler)  # type: ignore[arg-type]
