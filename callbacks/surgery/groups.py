"""Which parameters of a module are embedding tables: matrices whose rows belong to one user, item or value each."""

from collections.abc import Sequence

from torch import Tensor, nn


def find_tables(module: nn.Module, names: Sequence[str]) -> list[Tensor]:
    """The weights of `nn.Embedding` and `nn.EmbeddingBag`, however the module reads them, and parameters by name.

    Args:
        module: The module.
        names: Of matrices that are tables as well.

    Raises:
        ValueError: A name that is no matrix of the module.
    """
    matrices = {name: p for name, p in module.named_parameters() if p.dim() == 2}
    if missing := [name for name in names if name not in matrices]:
        raise ValueError(
            f"GradientSurgery: tables={missing}, but {type(module).__name__} has no such matrices; allowed are "
            f"{list(matrices)}."
        )
    found = [m.weight for m in module.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag)]
    return found + [matrices[name] for name in names]
