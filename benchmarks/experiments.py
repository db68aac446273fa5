"""Experiments by name; each function measures one task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import intervals, pooled, ranges, robustness, transfer
from .context import Context, parts, scores
from .embeddings import EmbeddedView
from .measure import Measured
from .tasks import Task


def calibration(task: Task, context: Context) -> dict[str, Any]:
    """Fit on a calibration set and predict a test set of other samples."""
    train, test, about = parts(task, context)
    method = context.method(task.method)
    with Measured() as fitting:
        method.fit(train)
    with Measured() as predicting:
        predicted = method.predict(test)
    views = getattr(method, "views", None)
    # With cached embeddings, add the encoding time.
    encoding = views.seconds_per_spectrum(train.dataset) if isinstance(views, EmbeddedView) else 0.0
    return {
        **about,
        **scores(test, predicted),
        "fit_seconds": fitting.seconds,
        "predict_seconds": predicting.seconds,
        "encode_seconds": encoding * (len(train) + len(test)),
        "peak_memory_mb": max(fitting.peak_mb, predicting.peak_mb),
        **({"chosen": method.chosen} if hasattr(method, "chosen") else {}),
    }


#: Experiments by the name in `Task.experiment`.
EXPERIMENTS: dict[str, Callable[[Task, Context], dict[str, Any]]] = {
    "calibration": calibration,
    "robustness": robustness.measure,
    "ranges": ranges.measure,
    "transfer": transfer.measure,
    "pooled": pooled.measure,
    "intervals": intervals.measure,
}
