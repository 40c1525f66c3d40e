"""Answers the rows of a file, in a process that has neither torch nor lightning: FOLDER ROWS ANSWERS [--block]."""

import sys
from pathlib import Path


def main() -> None:
    """Loads, answers, and looks that nobody has imported them."""
    import polars as pl

    from mtlzoo import serving

    model = serving.load(Path(sys.argv[1]))
    rows = pl.read_parquet(sys.argv[2], glob=False)
    model.predict(rows).write_parquet(sys.argv[3])
    assert not [name for name in ("torch", "lightning") if sys.modules.get(name)]


if "--block" in sys.argv:  # an import of None is an ImportError
    for name in ("torch", "lightning", "pytorch_lightning", "torchmetrics"):
        sys.modules[name] = None  # type: ignore[assignment]
main()
