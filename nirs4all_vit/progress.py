"""Progress bars, shown only on a terminal and only for jobs that take more than a few seconds."""

from __future__ import annotations

import multiprocessing
import sys
import threading
from collections.abc import Iterable, Iterator, Sized
from types import TracebackType
from typing import Any, Self, TypeVar

_Item = TypeVar("_Item")

#: Seconds before a bar appears.
_DELAY = 3.0


class ProgressBar:
    """Progress bar on the standard error, not shown in logs, workers and short jobs.

    It appears after three seconds, if the standard error is a terminal, in the main thread of the main process. It is
    removed at the end.

    Parameters
    ----------
    desc, unit : str
        Description of the job, and name of the items.
    total : int, optional
        Number of items.
    initial : int
        Number of items already done.
    show : bool
        Set to False to disable the bar.
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
        """Add n items to the count."""
        if self._bar is not None:
            self._bar.update(n)

    def note(self, **values: str) -> None:
        """Show values after the bar from the next update on."""
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
    """Yield items with a `ProgressBar`; `total` is the number of items if they have no length."""
    total = len(items) if isinstance(items, Sized) else total
    with ProgressBar(desc, unit, total, show=show) as bar:
        for item in items:
            yield item
            bar.update()


def _is_watched() -> bool:
    """Return whether the standard error is a terminal of the main thread; workers would share it."""
    try:
        is_terminal = sys.stderr is not None and sys.stderr.isatty()
    except ValueError:  # closed
        return False
    is_main = multiprocessing.current_process().name == "MainProcess"
    return is_terminal and is_main and threading.current_thread() is threading.main_thread()
