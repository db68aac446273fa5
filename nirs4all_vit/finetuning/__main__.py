"""Command line ``nirs4all-vit finetune --config FILE``, with every setting also as an option."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ..errors import needed_by


def main(arguments: Sequence[str] | None = None) -> int:
    """Fine-tune an encoder on labelled datasets from the command line; returns the exit status."""
    from .multitask_config import FinetuningConfig

    with needed_by("finetune", "nirs4all-vit[pretraining]"):
        from jsonargparse import ArgumentParser
    parser = ArgumentParser(
        prog="nirs4all-vit finetune",
        description="Fine-tune an encoder on the targets of many datasets.",
        allow_abbrev=False,
    )
    parser.add_argument("--config", action="config", help="settings (YAML)")
    parser.add_class_arguments(FinetuningConfig, as_group=False)
    settings = parser.parse_args(list(sys.argv[1:] if arguments is None else arguments))
    settings.pop("config", None)
    from .multitask import finetune

    try:
        path = finetune(FinetuningConfig(**settings.as_dict()))
    except (ValueError, OSError) as error:
        print(f"nirs4all-vit finetune: {error}", file=sys.stderr)
        return 1
    print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
