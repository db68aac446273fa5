"""Distributed processes, and GPU and memory settings of a process."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist


@dataclass(frozen=True)
class Processes:
    """This process among those that ``torchrun`` started.

    `rank` is its number, `world_size` the number of processes, `device` its torch device.
    """

    rank: int
    world_size: int
    device: torch.device

    @classmethod
    def join(cls, device: str = "auto") -> Processes:
        """Join the process group, if there are several processes.

        A ValueError reports an unknown device, or CUDA without a GPU.
        """
        world_size = int(os.environ.get("WORLD_SIZE", "1"))
        rank, local = int(os.environ.get("RANK", "0")), int(os.environ.get("LOCAL_RANK", "0"))
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            where = torch.device(device)
        except RuntimeError as error:
            raise ValueError(f"run.device={device!r}; use auto, cpu, cuda or cuda:N.") from error
        if where.type == "cuda":
            if not torch.cuda.is_available():
                raise ValueError(f"run.device={device!r}, but torch sees no GPU; use cpu or auto.")
            where = torch.device("cuda", local if world_size > 1 else where.index or 0)
            torch.cuda.set_device(where)
        if world_size > 1 and not dist.is_initialized():
            dist.init_process_group("nccl" if where.type == "cuda" else "gloo")
        return cls(rank, world_size, where)

    @property
    def first(self) -> bool:
        """Whether this process writes files."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over processes."""
        if self.world_size > 1:
            values = values.clone()
            dist.all_reduce(values)
        return values

    def gather(self, value: Any) -> list[Any]:
        """Return the value of every process, in order."""
        if self.world_size == 1:
            return [value]
        values = [None] * self.world_size
        dist.all_gather_object(values, value)
        return values

    def wait(self) -> None:
        """Wait for all processes."""
        if self.world_size > 1:
            dist.barrier()

    def leave(self) -> None:
        """Leave the process group."""
        if self.world_size > 1 and dist.is_initialized():
            dist.destroy_process_group()


@contextmanager
def gpu_products(device: torch.device, *, deterministic: bool) -> Iterator[None]:
    """On a GPU, compute float32 products in TF32, with deterministic algorithms if requested."""
    if device.type != "cuda":
        yield
        return
    precision, strict = torch.get_float32_matmul_precision(), torch.are_deterministic_algorithms_enabled()
    torch.set_float32_matmul_precision("high")
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(precision)
        torch.use_deterministic_algorithms(strict)


#: glibc's M_TRIM_THRESHOLD and M_MMAP_THRESHOLD, with the largest values that it accepts.
_SETTINGS = ((-1, 2**31 - 2), (-3, 32 * 1024 * 1024))


def keep_freed_memory() -> bool:
    """Reuse freed memory instead of returning it to the kernel.

    Every step frees activations of the same sizes. By default glibc returns them to the kernel,
    which zeroes the pages again for the next step: a third of the time on two cores. Use it only in
    processes dedicated to training. Returns whether the C library is glibc and accepted the
    settings.
    """
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    return all(library.mallopt(name, value) == 1 for name, value in _SETTINGS)
