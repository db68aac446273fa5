"""Hooks that make nirs4all pass wavelengths to `SpectralEmbedder`.

nirs4all's default engine passes ``wavelengths=`` (nm) to operators whose ``_requires_wavelengths`` is True. The legacy
engine does so only for its own base class or for operators with a controller. This module provides that controller, and
lets both engines run on datasets without a usable axis. It does not import nirs4all at module level; the hooks are
installed when nirs4all is imported.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import wrapt

from ..errors import SpectralAxisError
from ..spectra.data import MIN_WAVELENGTH, parse_axis_labels, to_nanometres
from ..spectra.order import is_ordered


def is_plausible_axis(nm: Sequence[float] | np.ndarray) -> bool:
    """Return whether a host's axis (nm) is a wavelength axis, not an artefact of a missing header.

    In a table without a header nirs4all reads the first spectrum as the axis; an array without a header gets column
    numbers. Neither is a valid axis in any order. The unit is inferred from the range, because nirs4all reads CSV
    headers as wavenumbers unless the dataset says otherwise, and then passes 1e7 / nm.
    """
    axis = np.asarray(nm, dtype=float)
    if axis.size == 0 or not np.isfinite(axis).all() or axis.max() < MIN_WAVELENGTH:
        return False
    try:
        return is_ordered(to_nanometres(axis))
    except SpectralAxisError:
        return False


def _refuse_explicit_unit(operator: Any) -> None:
    if operator.axis_unit != "auto":
        raise SpectralAxisError(
            f"axis_unit={operator.axis_unit!r} does not apply to the wavelengths that nirs4all passes; leave it at "
            "'auto', or give SpectralEmbedder(wavelengths=..., axis_unit=...)."
        )


def _warn_implausible() -> None:
    warnings.warn(
        "the dataset's header is not a wavelength axis (a file without a header, or a mistyped wavelength?); "
        "SpectralEmbedder ignores it.",
        UserWarning,
        stacklevel=3,
    )


def register_embedder(_: ModuleType) -> None:
    """Register a controller for SpectralEmbedder with the legacy engine."""
    from nirs4all.controllers.registry import register_controller
    from nirs4all.controllers.transforms.transformer import TransformerMixinController

    from ..embedder import SpectralEmbedder

    @register_controller
    class SpectralEmbedderController(TransformerMixinController):
        """Controller that passes the dataset's wavelengths to SpectralEmbedder if they are usable."""

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
            framed = None if axis is not None and is_plausible_axis(axis) else _framed_headers(dataset, source_index)
            if framed is not None:
                return framed
            if axis is None or is_plausible_axis(axis):
                return axis
            # Arrays without a header arrive with column numbers, which need no warning.
            if not np.array_equal(axis, np.arange(len(axis))):
                _warn_implausible()
            return None


def read_framed_headers(module: ModuleType) -> None:
    """Let the default engine read headers such as ``"spc.1100"``, which nirs4all does not parse."""
    if hasattr(module, "_numeric_feature_axis"):
        wrapt.wrap_function_wrapper(module, "_numeric_feature_axis", _numeric_feature_axis)


def _numeric_feature_axis(
    wrapped: Callable[..., Any], _: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]
) -> list[str] | None:
    def call(dataset: Any, source_index: int) -> list[str] | None:
        coordinates = wrapped(dataset, source_index)
        nm = _framed_headers(dataset, source_index) if coordinates is None else None
        return coordinates if nm is None else [f"{1e7 / value!r}{_CARRIED}" for value in nm.tolist()]

    return call(*arguments, **keywords)


def _framed_headers(dataset: Any, source_index: int) -> np.ndarray | None:
    """Return the axis (nm) of headers such as ``"spc.1100"``; None for plain numbers and other text."""
    try:
        headers = [str(header) for header in dataset.headers(source_index) or ()]
        parsed = parse_axis_labels(headers)
        if parsed is None or all(header.replace(".", "", 1).isdigit() for header in headers):
            return None
        nm = to_nanometres(*parsed)
    except (SpectralAxisError, ValueError, TypeError, IndexError, AttributeError):
        return None
    return nm if is_ordered(nm) else None


def tolerate_missing_axis(module: ModuleType) -> None:
    """Let the default engine fit SpectralEmbedder on datasets without a usable axis.

    This includes steps that crop or resample before it. nirs4all rejects wavelength-aware operators in these cases;
    SpectralEmbedder has a fallback and warns.
    """
    for name, wrapper in (
        ("_coordinate_chain", _coordinate_chain),
        ("_axis_after_step", _axis_after_step),
        ("_CoordinateTransform.fit", _fit_on_coordinates),
    ):
        if hasattr(module, name.partition(".")[0]):
            wrapt.wrap_function_wrapper(module, name, wrapper)


def _coordinate_chain(wrapped: Callable[..., Any], _: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    from ..embedder import SpectralEmbedder

    def call(steps: list[Any], axes: list[Any] | None, source_index: int = 0) -> Any:
        axis = axes[source_index] if axes and source_index < len(axes) else None
        if not any(isinstance(step, SpectralEmbedder) and step.wavelengths is None for step in steps):
            if axes and _is_carried(axis):
                axes = [*axes[:source_index], None, *axes[source_index + 1 :]]
            return wrapped(steps, axes, source_index)
        for step in steps:
            if isinstance(step, SpectralEmbedder) and step.wavelengths is None:
                # The engine stores coordinates in cm-1 and passes nm to operators.
                usable = axis is not None and is_plausible_axis(_reciprocal(axis))
                if axis is not None and not usable:
                    _warn_implausible()
                if usable:
                    _refuse_explicit_unit(step)
                step.expect_host_axis(usable)
            axis = _after(step, axis)
        return wrapped(steps, axes, source_index)

    return call(*arguments, **keywords)


def _axis_after_step(wrapped: Callable[..., Any], _: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """Carry the axis through steps that crop or resample, where nirs4all drops it, for SpectralEmbedder."""

    def call(step: Any, current: tuple[str, ...] | None, source_index: int) -> Any:
        after = wrapped(step, current, source_index)
        return _after(step, current) if after is None else after

    return call(*arguments, **keywords)


#: Suffix of coordinates that nirs4all would have dropped; they are not passed to its other operators.
_CARRIED = " "


def _is_carried(axis: tuple[str, ...] | None) -> bool:
    return bool(axis) and str(axis[0]).endswith(_CARRIED)  # type: ignore[index] # a bool of None is False


def _after(step: Any, axis: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Return the coordinates after a step that crops or resamples; other steps leave them unchanged."""
    from nirs4all.operators.transforms.features import CropTransformer, ResampleTransformer

    if axis is None:
        return None
    if isinstance(step, CropTransformer):
        return tuple(f"{value}".rstrip() + _CARRIED for value in axis[step.start : step.end])
    if isinstance(step, ResampleTransformer) and step.num_samples is not None:
        # ResampleTransformer interpolates linearly at even steps of the column number.
        places = np.linspace(0, len(axis) - 1, step.num_samples)
        nm = np.interp(places, np.arange(len(axis)), _reciprocal(axis))
        return tuple(f"{1e7 / value!r}{_CARRIED}" for value in nm.tolist())
    return axis


def _fit_on_coordinates(
    wrapped: Callable[..., Any], instance: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]
) -> Any:
    """Raise a clear error if a step before SpectralEmbedder changed the number of columns."""
    from ..embedder import SpectralEmbedder

    n_columns = np.asarray(arguments[0] if arguments else keywords["X"]).shape[1]
    if isinstance(instance.transformer, SpectralEmbedder) and n_columns != len(instance.coordinates):
        raise SpectralAxisError(
            f"a step before SpectralEmbedder makes {n_columns} columns of {len(instance.coordinates)} wavelengths; "
            "give their axis, SpectralEmbedder(wavelengths=...), or put that step behind it."
        )
    return wrapped(*arguments, **keywords)


def _reciprocal(coordinates: Sequence[str]) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return 1e7 / np.asarray(coordinates, dtype=float)
