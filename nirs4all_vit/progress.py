"""Progress bars: on a terminal, after a few seconds, and nowhere else."""

from __future__ import annotations

import multiprocessing
import sys
import threading
from collections.abc import Iterable, Iterator, Sized
from types import TracebackType
from typing import Any, Self, TypeVar

_Item = TypeVar("_Item")

#: Seconds that a job may take without a bar.
_DELAY = 3.0


class ProgressBar:
    """A bar on the standard error, which stays out of logs, workers and short jobs.

    It appears after three seconds where the standard error is a terminal, in the main thread of the main process, and is wiped in
    the end.

    Parameters
    ----------
    desc, unit : str
        What is done, and to what.
    total : int, optional
        How many there are.
    initial : int
        How many are done already.
    show : bool
        False: no bar anywhere.
    """

    def __init__(self, desc: str, unit: str, total: int | None = None, *, initial: int = 0, show: bool = True) -> None:
        self._bar: Any = None
        if show and _is_watched():
            from tqdm import tqdm

            self._bar = tqdm(
                desc=desc,
                unit=unit,
                total=total,
                initial=initial,
                file=sys.stderr,
                leave=False,
                delay=_DELAY,
                dynamic_ncols=True,
            )

    def update(self, n: int = 1) -> None:
        """Count n more."""
        if self._bar is not None:
            self._bar.update(n)

    def note(self, **values: str) -> None:
        """Show values behind the bar from its next turn on."""
        if self._bar is not None:
            self._bar.set_postfix(values, refresh=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()


def tracked(
    items: Iterable[_Item], desc: str, unit: str, *, total: int | None = None, show: bool = True
) -> Iterator[_Item]:
    """Yield items, counting them on a `ProgressBar`; `total` says how many there are, where they have no length."""
    total = len(items) if isinstance(items, Sized) else total
    with ProgressBar(desc, unit, total, show=show) as bar:
        for item in items:
            yield item
            bar.update()


def _is_watched() -> bool:
    """Tell whether somebody sees the standard error of this thread alone: workers share a terminal with others."""
    try:
        is_terminal = sys.stderr is not None and sys.stderr.isatty()
    except ValueError:  # closed
        return False
    is_main = multiprocessing.current_process().name == "MainProcess"
    return is_terminal and is_main and threading.current_thread() is threading.main_thread()
