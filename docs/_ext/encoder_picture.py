"""Picture of the encoder: what a spectrum passes through, with the sizes of the bundled checkpoint."""

from __future__ import annotations

import numpy as np

_BLUE, _ORANGE, _GREY, _INK = "#0072b2", "#d55e00", "#7892ab", "#223"
_FILL, _READOUT = "hsl(210 45% 94%)", "hsl(32 80% 92%)"


def encoder_picture() -> str:
    """Return the picture as SVG."""
    from nirs4all_vit import SpectralEmbedder, load_checkpoint

    encoder = load_checkpoint(SpectralEmbedder().checkpoint).encoder
    config, contrast = encoder.config, encoder.tokenizer.contrast
    scales, n_learned = contrast.scales(), contrast.network.last.out_features
    counts = [scales.count(k) for k in range(contrast.n_scales)]
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 960 400" font-family="sans-serif">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0 L8 4 L0 8 z" fill="{_GREY}"/></marker></defs>',
        *_spectrum(40, 34, 270, 110),
        *_patches(40, 176, 270, counts),
        _arrow(322, 186, 362, 186),
        _box(366, 124, 250, 124, _FILL, f"{contrast.n_patches} patches", [
            "each without its mean (and slope),", "divided by its own contrast:",
            f"{contrast.n_features - n_learned} cosine coefficients,",
            f"{n_learned} outputs of a shared network",
        ]),
        _arrow(628, 186, 668, 186),
        _box(672, 124, 252, 124, _FILL, "Perceiver", [
            f"{config.n_latents} latents and CLS, {config.d_model} wide:",
            f"{config.n_cross_layers} cross-attention to the patches,",
            f"{config.n_self_layers} layers of self-attention",
        ]),
        *(_arrow(x, 250, x, 300) for x in (442, 566, 735, 861)),
        _box(366, 304, 152, 60, _READOUT, "contrast", [f"{encoder.width('contrast'):,} columns (default)"]),
        _box(526, 304, 90, 60, _READOUT, "compact", [f"{encoder.width('compact')} columns"]),
        _box(672, 304, 122, 60, _READOUT, "mean", [f"{encoder.width('mean')} columns"]),
        _box(802, 304, 122, 60, _READOUT, "cls", [f"{encoder.width('cls')} columns"]),
        _text(645, 390, "read-outs of SpectralEmbedder, whose columns fit then weights", 13),
        "</svg>\n",
    ]  # fmt: skip
    return "\n".join(parts)


def _spectrum(x: float, y: float, width: float, height: float) -> list[str]:
    place = np.linspace(0.0, 1.0, 120)
    bands = [(0.12, 0.05, 0.25), (0.34, 0.04, 0.55), (0.45, 0.07, 0.3), (0.71, 0.05, 0.8), (0.88, 0.06, 0.45)]
    curve = 0.15 + 0.2 * place + sum(h * np.exp(-0.5 * ((place - c) / s) ** 2) for c, s, h in bands)
    points = " ".join(
        f"{x + width * p:.1f},{y + height * (1.0 - v / 1.2):.1f}" for p, v in zip(place, curve, strict=True)
    )
    return [
        _text(x + width / 2, y - 14, "spectrum: any range and sampling", 14, bold=True),
        f'<path d="M{x} {y} V{y + height} H{x + width}" fill="none" stroke="{_GREY}"/>',
        f'<polyline points="{points}" fill="none" stroke="{_BLUE}" stroke-width="2"/>',
        f'<text transform="translate({x - 12} {y + height / 2}) rotate(-90)" text-anchor="middle" font-size="12" '
        f'fill="{_INK}">absorbance</text>',
        _text(x + width / 2, y + height + 17, "ln(wavelength)", 12),
    ]


def _patches(x: float, y: float, width: float, counts: list[int]) -> list[str]:
    parts = []
    for k, n in enumerate(counts):
        top, share = y + 50 * k, 0.5 ** (k + 1)
        for i in range(n):
            left, opacity = x + width * share * i / 2 + 0.5, 0.45 + 0.25 * (i % 2)
            parts.append(
                f'<rect x="{left:.1f}" y="{top + 10 * (i % 2)}" width="{width * share - 1:.1f}" height="8" rx="2" '
                f'fill="{_ORANGE}" fill-opacity="{opacity:.2f}"/>'
            )
        parts.append(_text(x + width / 2, top + 34, f"{n} patches of 1/{2 ** (k + 1)} of the range", 12))
    return parts


def _box(x: float, y: float, width: float, height: float, fill: str, title: str, lines: list[str]) -> str:
    middle = x + width / 2
    texts = [_text(middle, y + 25, title, 15, bold=True)]
    texts += [_text(middle, y + 47 + 19 * i, line, 12) for i, line in enumerate(lines) if line]
    shape = f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="{fill}" stroke="{_GREY}"/>'
    return "\n".join([shape, *texts])


def _text(x: float, y: float, text: str, size: int, *, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="middle" font-size="{size}"{weight} fill="{_INK}">{text}</text>'


def _arrow(x: float, y: float, to_x: float, to_y: float) -> str:
    return f'<path d="M{x} {y} L{to_x} {to_y}" stroke="{_GREY}" stroke-width="2" marker-end="url(#tip)"/>'
