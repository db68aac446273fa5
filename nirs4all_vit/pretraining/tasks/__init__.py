"""Label-free calibration tasks: each turns an episode into spectra and known answers."""

from .corruption import corrupt
from .functionals import LinearFunctionals, NonlinearFunctionals
from .spikes import LinearSpikes

#: Task generators by the name that a recipe gives them.
TASKS = {
    "linear_spikes": LinearSpikes,
    "linear_functionals": LinearFunctionals,
    "nonlinear_functionals": NonlinearFunctionals,
}

__all__ = ["TASKS", "LinearFunctionals", "LinearSpikes", "NonlinearFunctionals", "corrupt"]
