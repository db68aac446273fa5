"""Optimizer steps: gradients, learning-rate schedule, weight decay and moving average."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from .config import PretrainingConfig
from .distributed import Processes
from .inputs import Inputs
from .model import PretrainingModel
from .preparation import on_device

#: Largest number of consecutive steps skipped for a non-finite gradient; one more ends the run.
_MAX_SKIPPED = 10


class Optimisation:
    """Optimizer, learning-rate schedule, gradient scaler and moving average of a run.

    On a GPU a step does not synchronise: it returns tensors, which `numbers` converts.

    Parameters
    ----------
    config : PretrainingConfig
    model : PretrainingModel
    processes : Processes
    steps : int
        Number of steps of the run.
    """

    def __init__(self, config: PretrainingConfig, model: PretrainingModel, processes: Processes, steps: int) -> None:
        optim = config.optim
        self.config, self.model, self.processes, self.steps = config, model, processes, steps
        self.on_gpu = processes.device.type == "cuda"
        self.optimizer = torch.optim.AdamW(
            parameter_groups(model, optim.weight_decay, optim.learning_rate), lr=optim.learning_rate, fused=self.on_gpu
        )
        factor = learning_rate_factor(steps, optim.warmup)
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, factor)
        self.scaler = torch.amp.GradScaler(processes.device.type, enabled=config.run.precision == "fp16")
        self.average = None
        if optim.ema > 0:
            self.average = AveragedModel(model.encoder, multi_avg_fn=get_ema_multi_avg_fn(optim.ema))
        self._replica: Any = model
        if processes.world_size > 1:
            self._replica = DistributedDataParallel(model, find_unused_parameters=True)
        self.step_done, self.skipped = 0, 0

    def autocast(self) -> Any:
        """Return the autocast context of forward passes."""
        precision = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.config.run.precision)
        return torch.autocast(self.processes.device.type, dtype=precision, enabled=precision is not None)

    def step(self, batches: Iterable[dict[str, Inputs]]) -> dict[str, Any]:
        """Take one step over micro-batches; return losses and the like, as numbers or tensors."""
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        processes, local = self.processes, self.config.optim.accumulate // self.processes.world_size
        names = list(self.model.objectives)
        # The total loss; then the sum of each objective's losses; then its number of micro-batches.
        sums = torch.zeros(1 + 2 * len(names), dtype=torch.float64, device=processes.device)
        spectra = 0
        for micro, batch in zip(range(local), batches, strict=False):
            prepared = on_device(batch, processes.device, self.step_done / self.steps)
            last = micro == local - 1
            with nullcontext() if last or processes.world_size == 1 else self._replica.no_sync(), self.autocast():
                loss, losses = self._replica(prepared)
                self.scaler.scale(loss / local).backward()
            zero = torch.zeros((), device=processes.device)
            parts = torch.stack([loss.detach(), *(losses.get(name, zero) for name in names)]).double()
            asked = torch.tensor([name in losses for name in names]).to(processes.device, non_blocking=True)
            sums = sums + torch.cat([parts, asked])
            spectra += sum(len(view) for inputs in prepared.values() for view in inputs.views)
        sums = processes.sum(sums)
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.optim.clip)
        rate = self.scheduler.get_last_lr()[0]
        usable = self._update(norm)
        self.scheduler.step()
        if self.average is not None and usable:
            self.average.update_parameters(self.model.encoder)
        self.step_done += 1
        n = self.config.optim.accumulate
        losses = {f"loss/{name}": sums[1 + i] / sums[1 + len(names) + i] for i, name in enumerate(names)}
        return {
            "step": self.step_done,
            "loss": sums[0] / n,
            **losses,
            "gradient": norm,
            "learning_rate": float(rate),
            "spectra": spectra * processes.world_size,
        }

    def _update(self, norm: Tensor) -> bool:
        """Update the weights if the gradient is finite; return whether they may have changed.

        On a GPU without gradient scaling the fused kernel checks the gradient, so it returns True.
        """
        if self.on_gpu and not self.scaler.is_enabled():
            # As in gradient scaling: with 1 the fused kernel changes neither weights nor moments.
            self.optimizer.found_inf = (~torch.isfinite(norm)).float()  # type: ignore[attr-defined]
            self.optimizer.step()
            return True
        # The fp16 scaler skips such steps itself.
        usable = self.scaler.is_enabled() or bool(torch.isfinite(norm))
        if usable:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        return usable

    def numbers(self, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Convert the results of steps to numbers, without objectives that did not apply.

        Raises
        ------
        FloatingPointError
            A loss is not finite, or eleven consecutive gradients are not finite.
        """
        tensors = [value.double() for row in rows for value in row.values() if isinstance(value, Tensor)]
        values = iter(torch.stack(tensors).tolist() if tensors else [])
        plain = [{k: next(values) if isinstance(v, Tensor) else v for k, v in row.items()} for row in rows]
        for row in plain:
            for name in [name for name, value in row.items() if name.startswith("loss/") and math.isnan(value)]:
                if math.isfinite(row["loss"]):
                    del row[name]  # it applied to no micro-batch
            if not math.isfinite(row["loss"]):
                raise self.not_finite(row["step"], str(row["loss"]))
            if self.scaler.is_enabled():
                continue
            self.skipped = 0 if math.isfinite(row["gradient"]) else self.skipped + 1
            if self.skipped:
                row["skipped"] = self.skipped
            if self.skipped > _MAX_SKIPPED:
                raise self.not_finite(row["step"], f"the gradient, {self.skipped} steps in a row")
        return plain

    def not_finite(self, step: int, what: str) -> FloatingPointError:
        """Return the FloatingPointError for a step."""
        return FloatingPointError(
            f"the loss of step {step} is not finite ({what}); the last checkpoint in {self.config.run.out} "
            "is intact. Lower optim.learning_rate or use run.precision=fp32."
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the complete state of the optimisation."""
        return {
            "step": self.step_done,
            "skipped": self.skipped,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "scaler": self.scaler.state_dict(),
            "average": self.average.state_dict() if self.average is not None else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a saved state."""
        self.step_done, self.skipped = state["step"], state["skipped"]
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])


def learning_rate_factor(steps: int, warmup: float) -> Callable[[int], float]:
    """Return the schedule: linear warm-up, then cosine decay to zero."""
    rising = warmup * steps if warmup < 1 else warmup

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / (rising + 1)
        return 0.5 * (1.0 + math.cos(math.pi * min(1.0, (step - rising) / max(1.0, steps - rising))))

    return factor


def parameter_groups(model: nn.Module, weight_decay: float, learning_rate: float) -> list[dict[str, Any]]:
    """Split the parameters into groups with and without weight decay.

    Biases, norms, scalars and latents have no weight decay. Neither have the scales of the local
    contrast, and their learning rate is ten times higher: they are a few hundred logarithms of
    factors, and every spectrum contributes to their gradient.
    """
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    scales: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if "contrast.log_" in name:
            scales.append(parameter)
        else:
            (plain if parameter.dim() < 2 or name.endswith("encoder.latents") else decayed).append(parameter)
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": plain, "weight_decay": 0.0},
        {"params": scales, "weight_decay": 0.0, "lr": 10.0 * learning_rate},
    ]
