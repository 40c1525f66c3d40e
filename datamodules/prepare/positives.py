"""Positive interactions of users with items among prepared rows."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mtlzoo.datamodules.prepare.lists import Ids, Lists
from mtlzoo.schema import FIRST_KNOWN, FeatureSchema

if TYPE_CHECKING:  # as in prepared.py
    from torch import Tensor


def positive_pairs(columns: Mapping[str, "Tensor"], schema: FeatureSchema) -> tuple[Ids, Ids]:
    """Users and items of the positive interactions, without users that train does not know.

    An interaction is positive where the label of the ranking is 1; with no ranking among the tasks every row is.

    Args:
        columns: A prepared split.
        schema: With a user and an item.
    """
    names = [feature.name for feature in schema.categorical]
    ids = columns["categorical"]
    users, items = (ids[:, names.index(str(name))].numpy() for name in (schema.user, schema.item))
    ranking = [place for task, place in schema.label_columns if task.kind == "ranking"]
    kept = users >= FIRST_KNOWN
    if ranking:
        kept &= (columns["labels"][:, ranking[0]] == 1).all(1).numpy()
    return users[kept], items[kept]


def positive_items(columns: Mapping[str, "Tensor"], schema: FeatureSchema) -> Lists:
    """Of each user the items of the positive interactions."""
    users = next(feature for feature in schema.categorical if feature.name == schema.user)
    return Lists.of(*positive_pairs(columns, schema), users.cardinality)
