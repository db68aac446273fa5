"""What makes nirs4all hand over the wavelengths.

nirs4all's default engine passes ``wavelengths=`` (nm) to an operator whose ``_requires_wavelengths`` is
True; the legacy engine does so for its own base class only, or for an operator with a controller. This
module ships that controller, and lets both engines run where a dataset has no usable axis. Nothing here
imports nirs4all: the parts are put in place when nirs4all itself is.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import wrapt

from ..errors import SpectralAxisError
from ..spectra.data import MIN_WAVELENGTH, is_monotonic, to_nanometres


def is_plausible_axis(nm: Sequence[float] | np.ndarray) -> bool:
    """Tell a wavelength axis (nm) from what a host made of a file without a header.

    A table without a header has its first spectrum read as the axis; an array without one gets column
    numbers. Neither is a monotonic sequence of wavelengths. The unit is told by range, not believed: nirs4all
    takes the header of a CSV for wavenumbers unless the dataset says otherwise, and hands over 1e7 / nm.
    """
    axis = np.asarray(nm, dtype=float)
    if axis.size == 0 or not np.isfinite(axis).all() or axis.max() < MIN_WAVELENGTH:
        return False
    try:
        return is_monotonic(to_nanometres(axis))
    except SpectralAxisError:
        return False


def _refuse_explicit_unit(operator: Any) -> None:
    if operator.axis_unit != "auto":
        raise SpectralAxisError(
            f"axis_unit={operator.axis_unit!r} says nothing of the wavelengths that nirs4all hands over; leave it at "
            "'auto', or give SpectralEmbedder(wavelengths=..., axis_unit=...)."
        )


def _warn_implausible() -> None:
    warnings.warn(
        "the dataset's header is not a wavelength axis (a file without a header?); SpectralEmbedder ignores it.",
        UserWarning,
        stacklevel=3,
    )


def register_embedder(_: ModuleType) -> None:
    """Give the legacy engine a controller for SpectralEmbedder."""
    from nirs4all.controllers.registry import register_controller
    from nirs4all.controllers.transforms.transformer import TransformerMixinController

    from ..embedder import SpectralEmbedder

    @register_controller
    class SpectralEmbedderController(TransformerMixinController):
        """Hand the dataset's wavelengths to SpectralEmbedder where they are usable."""

        priority = TransformerMixinController.priority - 1

        @classmethod
        def matches(cls, step: Any, operator: Any, keyword: str) -> bool:  # noqa: ARG003 - nirs4all's signature
            return isinstance(step if operator is None else operator, SpectralEmbedder)

        @staticmethod
        def _needs_wavelengths(operator: Any) -> bool | str:
            if operator.wavelengths is not None:
                return False
            _refuse_explicit_unit(operator)
            return "optional"

        @staticmethod
        def _extract_wavelengths(
            dataset: Any, source_index: int, operator_name: str, required: bool = True
        ) -> np.ndarray | None:
            extract = TransformerMixinController._extract_wavelengths
            axis = extract(dataset, source_index, operator_name, required=required)
            if axis is None or is_plausible_axis(axis):
                return axis
            # Arrays without a header arrive with column numbers, of which there is nothing to say.
            if not np.array_equal(axis, np.arange(len(axis))):
                _warn_implausible()
            return None


def tolerate_missing_axis(module: ModuleType) -> None:
    """Let the default engine fit SpectralEmbedder on datasets without a usable axis.

    nirs4all refuses a wavelength-aware operator there; this one has a fallback and says so.
    """
    if hasattr(module, "_coordinate_chain"):
        wrapt.wrap_function_wrapper(module, "_coordinate_chain", _coordinate_chain)


def _coordinate_chain(wrapped: Callable[..., Any], _: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    from ..embedder import SpectralEmbedder

    def call(steps: list[Any], axes: list[Any] | None, source_index: int = 0) -> Any:
        embedders = [step for step in steps if isinstance(step, SpectralEmbedder) and step.wavelengths is None]
        if embedders:
            axis = axes[source_index] if axes and source_index < len(axes) else None
            # The engine keeps coordinates in cm-1 and hands operators nm.
            usable = axis is not None and is_plausible_axis(_reciprocal(axis))
            if axis is not None and not usable:
                _warn_implausible()
            for step in embedders:
                if usable:
                    _refuse_explicit_unit(step)
                step.expect_host_axis(usable)
        return wrapped(steps, axes, source_index)

    return call(*arguments, **keywords)


def _reciprocal(coordinates: Sequence[str]) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return 1e7 / np.asarray(coordinates, dtype=float)
