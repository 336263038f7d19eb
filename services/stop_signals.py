"""The signals that stop a process, before and after the time in which a server handles them itself."""

from __future__ import annotations

import signal

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def exit_at_stop_signals() -> None:
    """From now on a signal raises SystemExit(0), once, so that what was started is ended."""
    for number in heeded_stop_signals():
        signal.signal(number, _exit)


def heeded_stop_signals() -> tuple[signal.Signals, ...]:
    """Without SIGHUP where it is ignored, as under nohup. A shell ignores SIGINT for what it runs in the background."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return STOP_SIGNALS[:2] if ignored else STOP_SIGNALS


def ignore_stop_signals() -> None:
    """From now on. For the end of a process, which a second signal must not interrupt."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _exit(*_: object) -> None:
    ignore_stop_signals()
    raise SystemExit(0)
