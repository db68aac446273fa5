"""Forked processes that embed.

The threads of OpenMP, which torch computes with, do not survive a fork: a child that asks for them waits for ever. So a process forked from one that has
imported this package computes on one thread, as torch's own data workers do; ``torch.set_num_threads`` in the child overrides it.
"""

from __future__ import annotations

import os
import sys


def _stay_on_one_thread() -> None:
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_stay_on_one_thread)
