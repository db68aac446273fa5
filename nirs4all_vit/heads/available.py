"""Which heads can run here."""

from __future__ import annotations

from .head import TASKS, head_names
from .tabular import LIBRARIES, weights_here, why_not


class HeadNames(tuple[str, ...]):
    """Names of heads that run here.

    Attributes
    ----------
    unavailable : dict of str to str
        The other ones, and why not.
    """

    unavailable: dict[str, str]

    def __repr__(self) -> str:
        missing = "".join(f"\n  {name}: {why}" for name, why in self.unavailable.items())
        return ", ".join(self) + (f"\nnot here:{missing}" if missing else "")


def available_heads(task: str = "regression") -> HeadNames:
    """Return the names that `make_head` takes and that run here; ``.unavailable`` says why others do not.

    TabPFN and TabICL run where their weights lie: elsewhere `make_head` makes them all the same, and their first `fit` fetches the weights if
    there is a network.

    Parameters
    ----------
    task : {"regression", "classification"}

    Examples
    --------
    >>> from nirs4all_vit.heads import available_heads
    >>> "ridge" in available_heads()
    True
    """
    if task not in TASKS:
        raise ValueError(f"task={task!r} is not known; use one of {', '.join(TASKS)}.")
    reasons = {name: why_not(name, task) or _without_weights(name, task) for name in LIBRARIES}
    names = HeadNames(name for name in head_names(task) if reasons.get(name) is None)
    names.unavailable = {name: why for name, why in reasons.items() if why is not None}
    return names


def _without_weights(library: str, task: str) -> str | None:
    if weights_here(library, task):
        return None
    about = LIBRARIES[library]
    return (
        f"its weights are not on this machine: the first fit of make_head({library!r}, {task!r}) fetches them where there is a network, or "
        f"set {about.variables[task]}=/path/to/{about.files[task]}"
    )
