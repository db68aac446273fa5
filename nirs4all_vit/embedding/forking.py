"""Embedding in forked processes.

The OpenMP threads of torch do not survive a fork, and a child that uses them hangs. A process forked after this package
was imported therefore uses one thread, as torch's own data workers do. ``torch.set_num_threads`` in the child overrides
this.
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
