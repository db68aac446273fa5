"""Phases of the benchmark and their tasks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any, TypeGuard

from .calibrations import Calibration, bank_families
from .encoders import DEFAULT, LABELLED, N_FOLDS, fold_families
from .methods.base import Unavailable
from .methods.registry import UNTRAINED_VIEWS, VIEW_HEADS, suits
from .pooled import covering, members
from .problems import KINDS, Problems
from .tasks import Task
from .transfer import instrument_pairs, is_narrower, shared_targets

#: Methods without an encoder, and the embedding.
PHASE0 = (
    "mean", "pls", "snv-pls", "sg1-pls", "asls-snv-pls", "asls-snv-ridge", "best-pls", "best-ridge", "gp",
    "pca-ridge", "pca-tabpfn", "aom-pls", "aom-ridge", "tabpfn-nirs", "multirocket-ridge", "ridge@untrained",
    f"ridge@{DEFAULT}", f"committee@{DEFAULT}",
)  # fmt: skip

SEEDS = (0, 1, 2)

#: Recipe of the encoders of strict transfer. It trains the part of the bundled checkpoint behind
#: the read-outs `contrast` and `compact`.
TRANSFER_RECIPE = "local-contrast"


@dataclass(frozen=True)
class StrictPhase:
    """Encoders trained for a phase and scored on the families left out of their training.

    Attributes
    ----------
    methods : tuple of str
        Methods without these encoders, on the same targets.
    encoders : tuple of str
        Recipes. ``~K`` at the end of a recipe stands for the fold. ``:READOUT`` after it selects a
        read-out other than that of a ridge; ``HEAD@`` before it selects a head other than a ridge.
    folds : sequence of int
        Numbers of the folds.
    sizes : tuple of int
        Largest numbers of calibration samples.
    """

    methods: tuple[str, ...]
    encoders: tuple[str, ...]
    folds: Sequence[int] = (0,)
    sizes: tuple[int, ...] = (200,)

    def named(self, fold: int | None = None) -> list[str]:
        """Return the methods of a fold, or, without a fold, with ``~K`` as in the tables."""
        suffix = "~K" if fold is None else f"~{fold}"
        named = (encoder if "@" in encoder else f"ridge@{encoder}" for encoder in self.encoders)
        return [*self.methods, *(method.replace("~K", suffix) for method in named)]


#: Ablation recipe with the objective of the bundled encoder, and other read-outs to compare.
_OBJECTIVE, _OTHER_READOUTS = "ablation-hidden-components~K", ("compact", "mean", "cls")


def _ablations(*names: str, readouts: Sequence[str] = ("contrast", "mean")) -> tuple[str, ...]:
    """Return encoders of ablations, each with read-outs of the patches and of the Perceiver."""
    encoders = (name if name == "untrained" else f"ablation-{name}" for name in names)
    return tuple(f"{encoder}:{readout}" for encoder in encoders for readout in readouts)


#: Objectives and task generators to compare.
_VARIED = (
    "untrained", "mae~K", "augmentation~K", "baseline~K", "contrastive~K", "adversary~K", "all~K", "episodic~K",
    "linear-spikes~K", "linear-functionals~K", "nonlinear-functionals~K", "region-to-region~K", "hidden-components~K",
)  # fmt: skip

#: Phases with their own encoders.
STRICT = {
    # Embedding + ridge against PCA + ridge: untrained, masked modelling only, episodes on real
    # spectra only.
    "phase1": StrictPhase(("mean", "best-pls", "pca-ridge"), _ablations("untrained", "mae~K", "episodic~K")),
    # Length of training: masked modelling and episodes on 10,000 to 1.8 million spectra.
    "training_length": StrictPhase(
        ("mean", "best-pls"),
        _ablations(
            "untrained",
            *(f"{name}{size}~K" for name in ("mae", "episodic") for size in ("+10k", "+50k", "", "+600k", "+1800k")),
        ),
    ),
    # Seeds of the initial weights and of training, for the bundled recipe.
    "seeds": StrictPhase(
        ("mean", "best-pls"),
        (
            *("untrained", "untrained-1", "untrained-2"),
            *(f"{TRANSFER_RECIPE}{seed}~K" for seed in ("", "+seed1", "+seed2")),
        ),
        folds=range(N_FOLDS),
    ),
    # Ablation: objectives, task generators, kind of tokens; and read-outs.
    "phase2": StrictPhase(
        ("mean", "best-pls", "best-ridge", "gp"),
        (
            *_ablations(*_VARIED),
            *_ablations(
                "mae-points~K", "augmentation-points~K", "baseline-points~K", "points~K", readouts=("compact", "mean")
            ),
            *(f"untrained-points:{readout}" for readout in ("compact", "mean")),
            # The bundled recipe: its objective on local contrast, three times the steps.
            f"{TRANSFER_RECIPE}~K",
            *(f"{encoder}:{readout}" for encoder in ("untrained", _OBJECTIVE) for readout in ("compact", "cls")),
        ),
        folds=range(N_FOLDS),
    ),
    # Strict transfer: five encoders, each without one fifth of the families. plain-ridge: without
    # column weighting.
    "phase3a": StrictPhase(
        ("mean", "best-pls", "best-ridge", "gp", "pca-ridge"),
        (
            "untrained",
            "untrained:compact",
            f"{TRANSFER_RECIPE}~K",
            f"{TRANSFER_RECIPE}~K:compact",
            "plain-ridge@untrained",
        ),
        folds=range(N_FOLDS),
        sizes=(200, 25),
    ),
    # The same encoders with the committee.
    "phase3a-heads": StrictPhase(
        ("mean", "best-pls", "best-ridge", "gp"),
        ("untrained", f"{TRANSFER_RECIPE}~K", f"committee@{TRANSFER_RECIPE}~K"),
        folds=range(N_FOLDS),
        sizes=(200, 25, 10),
    ),
    # The same encoders tuned on the targets of their training families, with labels only or
    # together with the label-free objective.
    "labels": StrictPhase(
        ("mean", "best-pls"), (f"{TRANSFER_RECIPE}~K", *(f"{name}~K" for name in LABELLED)), folds=range(N_FOLDS)
    ),
    # Synthetic spectra in pretraining: none, few, many.
    "phase4": StrictPhase(
        ("mean", "best-pls"), _ablations("untrained", "episodic~K", "synthetic-low~K", "synthetic-high~K"), folds=(0, 1)
    ),
    # Metadata for none, all or half of the spectra, in pretraining and in scoring.
    "phase5": StrictPhase(
        ("mean", "best-pls"),
        (
            *_ablations("untrained", "episodic~K", "metadata~K", "metadata-dropout~K"),
            *(
                f"{head}@{encoder}"
                for head in ("metadata-ridge", "half-metadata-ridge")
                for encoder in _ablations("metadata~K", "metadata-dropout~K", readouts=("mean",))
            ),
        ),
        folds=(0, 1),
    ),
}

#: The bundled encoder with several heads, and computationally expensive pipelines.
PHASE6 = (
    "mean", "best-pls", "best-ridge", "gp", "aom-ridge", "aom-ridge-blender", "tabpfn-nirs", "multirocket-ridge",
    *(
        f"{head}@{DEFAULT}"
        for head in (
            "committee", "ridge", "pls", "plsda", "gp", "krr", "svr", "svc", "logistic", "mlp", "tabpfn", "tabicl",
        )
    ),
)  # fmt: skip

#: Untrained views and the embedding under the same heads.
VIEWS = (
    "mean", "best-pls",
    *(f"{view}-{head}" for head in VIEW_HEADS for view in UNTRAINED_VIEWS),
    *(f"{head}@{encoder}" for head in VIEW_HEADS for encoder in ("untrained", DEFAULT)),
)  # fmt: skip

_CLASSICAL = ("snv-pls", "best-pls")
_EMBEDDED = ("ridge@untrained", f"ridge@{DEFAULT}", f"robust-ridge@{DEFAULT}")

#: Methods of the leak test on other splits and sizes.
_LEAK_DESIGNED = ("mean", "best-pls", "best-ridge", f"ridge@{DEFAULT}")

#: One fit on noise takes 1 to 17 minutes: the leak test uses a quarter of the families.
_SLOW_METHOD = "aom-ridge-blender"

#: Represents all encoders trained for phases in the leak test, because the same code trains and
#: scores them.
_LEAK_RECIPE = "ablation-episodic"

#: Recipes of the robustness curves: masked modelling, with augmentation, and with baseline consistency.
_PERTURBED_RECIPES = ("ablation-mae", "ablation-augmentation", "ablation-baseline")

#: Standardisation, number of transfer samples, methods.
_TRANSFER = (
    ("none", 0, (*_CLASSICAL, *_EMBEDDED)),
    ("native", 0, (*_CLASSICAL, *_EMBEDDED)),
    *((kind, k, ("snv-pls",)) for kind in ("ds", "pds", "sst") for k in (5, 10, 20)),
    *(("augment", k, ("snv-pls", *_EMBEDDED)) for k in (5, 10, 20)),
)


#: Population, standardisation, number of spectra, methods: unlabelled spectra of the second
#: instrument, from the whole population or its upper half.
_UNLABELLED = (
    ("all", "unlabelled", 30, ("ridge@untrained", f"ridge@{DEFAULT}")),
    ("upper", "unlabelled", 30, ("ridge@untrained", f"ridge@{DEFAULT}")),
    # For the whole population, `_TRANSFER` contains these rows.
    ("upper", "none", 0, ("snv-pls", "ridge@untrained", f"ridge@{DEFAULT}")),
    ("upper", "native", 0, (f"ridge@{DEFAULT}",)),
)


def _calibrations(
    problems: Iterable[Calibration],
    methods: Iterable[str],
    *,
    seeds: Sequence[int] = SEEDS,
    kinds: Sequence[str] = KINDS,
    families: Sequence[str] | None = None,
    experiment: str = "calibration",
    **settings: Any,
) -> Iterator[Task]:
    for problem in problems:
        if problem.task not in kinds or (families is not None and problem.family not in families):
            continue
        for seed in seeds:
            for method in methods:
                if suits(method, problem.task):
                    yield Task(experiment, problem.dataset, problem.target, method, seed=seed, **settings)


def phase0(problems: Problems) -> Iterator[Task]:
    """Baselines: methods without an encoder, compared with the bundled encoder."""
    return _calibrations(problems, PHASE0)


def splits(problems: Problems) -> Iterator[Task]:
    """Designed splits: main methods with Kennard-Stone and SPXY, and with random splits to compare."""
    methods = ("mean", "best-pls", "best-ridge", "pca-ridge", f"ridge@{DEFAULT}")
    yield from _calibrations(problems, methods)
    yield from _calibrations(problems, methods, split="kennard_stone")
    # SPXY needs distances between targets.
    yield from _calibrations(problems, methods, split="spxy", kinds=("regression",))


def small(problems: Problems) -> Iterator[Task]:
    """Small calibration sets: from 10 samples to all."""
    methods = ("mean", "best-pls", "best-ridge", "pca-ridge", "ridge@untrained", f"ridge@{DEFAULT}")
    for n in (10, 25, 50, 100, 200, None):
        yield from _calibrations(problems, methods, n_train=n)
    # The committee takes time with more samples; `phase3a-heads` has 200.
    for n in (10, 25):
        yield from _calibrations(problems, (f"committee@{DEFAULT}",), n_train=n, kinds=("regression",))


def phase3b(problems: Problems) -> Iterator[Task]:
    """Pooled calibration: one head per analyte, trained on all other datasets or on one of them."""
    single = ("snv-pls", f"ridge@{DEFAULT}")
    for analyte, measured in members(problems).items():
        for test in measured:
            try:
                others = [p.dataset for p in covering(measured, test)]
            except Unavailable:
                continue
            # A committee takes a minute per task: use one split.
            by_method = {
                **dict.fromkeys(("snv-pls", "pca-ridge", f"ridge@{DEFAULT}"), SEEDS),
                f"committee@{DEFAULT}": SEEDS[:1],
            }
            pairs = [(None, method, seed) for method, seeds in by_method.items() for seed in seeds]
            pairs += [(other, method, SEEDS[0]) for other in others for method in single]
            for trained_on, method, seed in pairs:
                options = {"analyte": analyte, "trained_on": trained_on}
                yield Task("pooled", test.dataset, test.target, method, seed=seed, n_train=None, options=options)


def phase6(problems: Problems) -> Iterator[Task]:
    """Heads on the bundled encoder, compared with expensive pipelines, with their costs."""
    return _calibrations(problems, PHASE6)


def views(problems: Problems) -> Iterator[Task]:
    """Columns of the embedding and of untrained views, under the same heads."""
    return _calibrations(problems, VIEWS)


def robustness(problems: Iterable[Calibration]) -> Iterator[Task]:
    """Robustness curves: perturbed test spectra, with increasing strength, on one target per family."""
    methods = ("pls", "snv-pls", "best-pls", "best-ridge", "gp", *_EMBEDDED)
    few = _one_per_family(problems)
    yield from _calibrations(few, methods, kinds=("regression",), experiment="robustness")
    # A committee takes half a minute: use one split.
    yield from _calibrations(
        few, (f"committee@{DEFAULT}",), kinds=("regression",), experiment="robustness", seeds=SEEDS[:1]
    )
    for fold, families in enumerate(_held_out(problems) if _has_bank(problems) else ()):
        trained = [f"ridge@{recipe}~{fold}" for recipe in _PERTURBED_RECIPES]
        yield from _calibrations(few, trained, kinds=("regression",), families=families, experiment="robustness")


def ranges(problems: Iterable[Calibration]) -> Iterator[Task]:
    """Test spectra on other axes (cut, with gaps, coarser, shifted, finer), on unseen families.

    One split suffices, because errors are compared within a split.
    """
    split: dict[str, Any] = {"seeds": SEEDS[:1], "kinds": ("regression",), "experiment": "ranges"}
    yield from _calibrations(problems, ("snv-pls", "ridge@untrained"), **split)
    for fold, families in enumerate(_held_out(problems) if _has_bank(problems) else ()):
        method = f"ridge@{TRANSFER_RECIPE}~{fold}"
        yield from _calibrations(problems, (method,), families=families, **split)


def intervals(problems: Iterable[Calibration]) -> Iterator[Task]:
    """Prediction intervals: nominal against empirical coverage."""
    yield from _calibrations(problems, (f"ridge@{DEFAULT}",), kinds=("regression",), experiment="intervals")
    # Twenty committees take half a minute: use one target per family and one split.
    few = _one_per_family(problems)
    yield from _calibrations(
        few, (f"committee@{DEFAULT}",), kinds=("regression",), experiment="intervals", seeds=SEEDS[:1]
    )


def finetuning(problems: Problems) -> Iterator[Task]:
    """Tuned and frozen encoder with 50, 200 and all samples, on one target per family."""
    methods = ("mean", "best-pls", f"ridge@{DEFAULT}", f"tuned@{DEFAULT}")
    for n, seeds in ((50, SEEDS), (200, SEEDS[:1]), (None, SEEDS[:1])):
        yield from _calibrations(_one_per_family(problems), methods, n_train=n, seeds=seeds)


def published(problems: Problems) -> Iterator[Task]:
    """Regression targets on the publishers' splits, with encoders on unseen families."""
    for fold, families in enumerate(_held_out(problems)):
        encoder = f"{TRANSFER_RECIPE}~{fold}"
        methods = ("mean", "pls", "best-pls", "gp", "aom-pls", f"ridge@{encoder}", f"committee@{encoder}")
        for problem in problems:
            if problem.published is not None:
                yield from _calibrations(
                    [problem],
                    methods,
                    seeds=range(len(problem.published)),
                    kinds=("regression",),
                    families=families,
                    n_train=None,
                    split="published",
                )


def transfer(problems: Problems) -> Iterator[Task]:
    """Calibration transfer between instruments, without and with transfer samples."""
    names = set(problems.names)
    for a, b in instrument_pairs():
        if a not in names or b not in names or problems.x_bank is None:
            continue
        targets = shared_targets(problems.x_bank, problems.y_bank, a, b)
        for target, seed in product(targets, SEEDS):
            for kind, k, methods in _TRANSFER:
                for method in methods:
                    options = {"to": b, "standardisation": kind, "n_transfer": k}
                    yield Task("transfer", a, target, method, seed=seed, options=options)
            # Keep the whole ranges if that of the second instrument is narrower.
            if is_narrower(problems.x_bank, problems.y_bank, a, b, target):
                for method in ("ridge@untrained", f"ridge@{DEFAULT}"):
                    options = {"to": b, "standardisation": "none", "n_transfer": 0, "range": "uncut"}
                    yield Task("transfer", a, target, method, seed=seed, options=options)
            for population, kind, k, methods in _UNLABELLED:
                for method in methods:
                    options = {"to": b, "standardisation": kind, "n_transfer": k, "population": population}
                    yield Task("transfer", a, target, method, seed=seed, options=options)


def leak(problems: Problems) -> Iterator[Task]:
    """Leak test: experiments with targets shuffled over samples; no method may show skill.

    To limit the number of tasks, one target of each kind per family is used, because shuffled
    targets of the same spectra are equivalent. One recipe represents all trained encoders, the
    smallest calibration sizes represent the others, and one dataset represents all in pooled
    calibration on one dataset.
    """
    representatives = _one_per_family(problems)
    permuted = partial(_calibrations, representatives, seeds=SEEDS[:1], permuted=True)
    readouts = [f"ridge@{DEFAULT}:{name}" for name in _OTHER_READOUTS]
    yield from permuted([m for m in dict.fromkeys((*PHASE0, *PHASE6, *VIEWS, *readouts)) if m != _SLOW_METHOD])
    few = representatives[: max(1, len(representatives) // 4)]
    yield from _calibrations(few, [_SLOW_METHOD, f"tuned@{DEFAULT}"], seeds=SEEDS[:1], permuted=True)
    yield from permuted(_LEAK_DESIGNED, split="kennard_stone")
    yield from permuted(_LEAK_DESIGNED, split="spxy", kinds=("regression",))
    for n in (10, 25):
        yield from permuted(_LEAK_DESIGNED, n_train=n)
    if problems.x_bank is not None:
        held_out = fold_families(bank_families(problems.x_bank))[0]
        yield from permuted([f"ridge@{_LEAK_RECIPE}~0"], families=held_out)
    pooled = list(phase3b(problems))
    others = (
        *robustness(representatives),
        *ranges(representatives),
        *intervals(representatives),
        *_first_of_each(transfer(problems), lambda t: (t.dataset, t.options["to"]), lambda t: t.target),
        *(t for t in pooled if t.options["trained_on"] is None),
        *_first_of_each(
            (t for t in pooled if t.options["trained_on"] is not None),
            lambda t: (t.dataset, t.target),
            lambda t: t.options["trained_on"],
        ),
    )
    yield from (dataclasses.replace(task, permuted=True) for task in others if task.seed == SEEDS[0])


def _first_of_each(
    tasks: Iterable[Task], key: Callable[[Task], object], value: Callable[[Task], object]
) -> Iterator[Task]:
    """Yield the tasks whose value is the first that occurs with their key."""
    first: dict[object, object] = {}
    return (task for task in tasks if first.setdefault(key(task), value(task)) == value(task))


def _one_per_family(problems: Iterable[Calibration]) -> list[Calibration]:
    """Return the first target of each kind of each family."""
    first: dict[tuple[str, str], Calibration] = {}
    for problem in problems:
        first.setdefault((problem.family, problem.task), problem)
    return list(first.values())


def _has_bank(problems: Iterable[Calibration]) -> TypeGuard[Problems]:
    return isinstance(problems, Problems) and problems.x_bank is not None


def _held_out(problems: Problems) -> list[list[str]]:
    """Return the families left out of training in each fold; raises ValueError without a bank."""
    if problems.x_bank is None:
        raise ValueError("encoders are trained on a bank for this phase; name it with --x-bank.")
    return fold_families(bank_families(problems.x_bank))


def strict(problems: Problems, phase: StrictPhase) -> Iterator[Task]:
    """Yield the tasks of a phase that trains encoders."""
    folds = _held_out(problems)
    for fold, n_train in product(phase.folds, phase.sizes):
        yield from _calibrations(problems, phase.named(fold), families=folds[fold], n_train=n_train)


#: Names of the phases that have a number.
NAMES = {
    "phase0": "baselines",
    "phase1": "feasibility",
    "phase2": "ablation",
    "phase3a": "strict_transfer",
    "phase3b": "pooled",
    "phase4": "synthetic",
    "phase5": "metadata",
    "phase6": "final",
}

#: Phases by number and by name, as on the command line.
PHASES: dict[str, Callable[[Problems], Iterator[Task]]] = {
    **{
        phase.__name__: phase
        for phase in (
            phase0,
            phase3b,
            phase6,
            views,
            robustness,
            ranges,
            intervals,
            published,
            finetuning,
            transfer,
            splits,
            small,
            leak,
        )
    },
    **{name: partial(strict, phase=phase) for name, phase in STRICT.items()},
}
PHASES |= {name: PHASES[number] for number, name in NAMES.items()}
