"""Users and items of a model of rankings as vectors, for programs that search the nearest ones."""

from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor

from mtlzoo.datamodules.prepare.encoding import Encoding
from mtlzoo.datamodules.prepare.known_names import KnownNames
from mtlzoo.datamodules.prepare.row_encoder import RowEncoder
from mtlzoo.export.contents import ENCODING, VECTORS
from mtlzoo.export.network import Network, Predictions, check_same
from mtlzoo.schema import FIRST_KNOWN


def write_vectors(folder: Path, net: Network) -> None:
    """Writes ``vectors/users.npy`` and ``items.npy``, float32 [N, d], and ``.parquet`` beside them with their names.

    Row by row they are the users and items that train knows; an inner product is the score of the ranking.

    Args:
        folder: Holds the encoding, which says what ids stand for.
        net: The model.

    Raises:
        ValueError: The model has no such vectors, nothing says whose they are, or products are not the scores.
    """
    model = net.model
    if not hasattr(model, "vectors"):
        raise ValueError(
            f"{type(model).__name__} has no vectors of users and items whose product is a score; vectors are of models "
            "of rankings (PMTRec). Export it without this format."
        )
    model.check_ranks()  # type: ignore[operator]
    if not (folder / ENCODING).is_dir():
        raise ValueError(
            f"{type(model).__name__} was not trained on data of mtlzoo, so nothing says whose vectors they are. Export "
            "it without this format."
        )
    plan = RowEncoder(Encoding(folder / ENCODING)).plan
    schema = model.schema
    (folder / VECTORS).mkdir()
    for name, column, rows in zip(("users", "items"), (schema.user, schema.item), model.vectors(), strict=True):  # type: ignore[operator]
        np.save(folder / VECTORS / f"{name}.npy", rows[FIRST_KNOWN:].float().numpy())
        names = KnownNames(plan, str(column)).values
        pl.DataFrame([names]).write_parquet(folder / VECTORS / f"{name}.parquet")
    users, items = (torch.from_numpy(np.load(folder / VECTORS / f"{name}.npy")) for name in ("users", "items"))
    places = [[each.name for each in schema.categorical].index(str(role)) for role in (schema.user, schema.item)]
    ranking = next(task.name for task in schema.tasks if task.kind == "ranking")

    def products(batch: dict[str, Tensor]) -> Predictions:
        user, item = (batch["categorical"][:, place].long() - FIRST_KNOWN for place in places)
        known = (user >= 0) & (item >= 0)
        found = net(batch)
        scores = (users[user.clamp(min=0)] * items[item.clamp(min=0)]).sum(1)
        return {**found, ranking: torch.where(known, scores, found[ranking])}

    check_same(VECTORS, net, products)
