"""Data sets as `LightningDataModule`s: raw files in, whole batches out.

A data module reads the publisher's own files, prepares them once (vocabularies and statistics from train only, encoded
columns on disk) and loads whole batches from there. Its `schema` is all that a model needs:

    from mtlzoo import MMoE
    from mtlzoo.datamodules import KuaiRand

    data = KuaiRand("data/kuairand", version="pure", tasks=["is_click", "long_view"])
    model = MMoE(data.schema)

Data sets
    KuaiRand            short-video exposures, eight binary labels and the watched time; CC BY-SA 4.0, downloads itself
    KuaiRec             watched ratios, and a matrix without gaps to test on; CC BY-SA 4.0, downloads itself
    CensusIncome        both task groups of the MMoE paper; CC BY 4.0, downloads itself
    TikTok              ICME 2019, track 1 and 2: videos finished and liked; academic use
    Tenrec              videos and articles in two of Tencent's feeds, one file or scenario each; CC BY-NC 4.0
    AliExpress          a shop's search in four countries, click and conversion; Tianchi login
    MovieLens           films: ratings, genres and interactions; GroupLens' terms, downloads itself
    AliCCP              Taobao's impressions, click and conversion, multi-valued fields whole; Tianchi login
    Ciao, Epinions      ratings of products, trust among users, categories; research, by hand
    LastFM              artists that users listened to, friends, tags; non-commercial, downloads itself
    AmazonReviews       ratings of products, 2014, 2018 and 2023, viewed and bought together; research, by hand
    Yelp                reviews of businesses, friends, categories; Yelp's agreement, by hand
    Synthetic           KuaiRand-shaped rows from a seed, with set correlation and conflict of the tasks; not data

Your own data
    TabularDataModule   Parquet or CSV files, or pandas or polars tables, and a short schema
    MultiTaskDataModule base class of a data set that needs code: say its files, its rows and its columns
    RankingDataModule   the same for users and items: negatives, links among them, batches of users to rank items for

The columns of a data set are declared by a `Recipe` of `CategoricalColumn`, `NumericColumn`, `SequenceColumn` and
`Label`, divided by a `TimeSplit`, `RandomSplit`, `UserSplit` or `GivenSplit`. Bad files raise `DataError`, missing ones
`DatasetNotFoundError`; both say what to do. What looks wrong in data that are prepared is a `DataWarning`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mtlzoo.datamodules.aliccp import AliCCP as AliCCP
    from mtlzoo.datamodules.aliexpress import AliExpress as AliExpress
    from mtlzoo.datamodules.amazon import AmazonReviews as AmazonReviews
    from mtlzoo.datamodules.base import MultiTaskDataModule as MultiTaskDataModule
    from mtlzoo.datamodules.census import CensusIncome as CensusIncome
    from mtlzoo.datamodules.ciao import Ciao as Ciao
    from mtlzoo.datamodules.columns import CategoricalColumn as CategoricalColumn
    from mtlzoo.datamodules.columns import GivenSplit as GivenSplit
    from mtlzoo.datamodules.columns import Label as Label
    from mtlzoo.datamodules.columns import NumericColumn as NumericColumn
    from mtlzoo.datamodules.columns import RandomSplit as RandomSplit
    from mtlzoo.datamodules.columns import Recipe as Recipe
    from mtlzoo.datamodules.columns import SequenceColumn as SequenceColumn
    from mtlzoo.datamodules.columns import TimeSplit as TimeSplit
    from mtlzoo.datamodules.columns import UserSplit as UserSplit
    from mtlzoo.datamodules.epinions import Epinions as Epinions
    from mtlzoo.datamodules.errors import DataError as DataError
    from mtlzoo.datamodules.errors import DatasetNotFoundError as DatasetNotFoundError
    from mtlzoo.datamodules.errors import DataWarning as DataWarning
    from mtlzoo.datamodules.kuairand import KuaiRand as KuaiRand
    from mtlzoo.datamodules.kuairec import KuaiRec as KuaiRec
    from mtlzoo.datamodules.lastfm import LastFM as LastFM
    from mtlzoo.datamodules.movielens import MovieLens as MovieLens
    from mtlzoo.datamodules.ranking import RankingDataModule as RankingDataModule
    from mtlzoo.datamodules.synthetic import Synthetic as Synthetic
    from mtlzoo.datamodules.tabular import TabularDataModule as TabularDataModule
    from mtlzoo.datamodules.tenrec import Tenrec as Tenrec
    from mtlzoo.datamodules.tiktok import TikTok as TikTok
    from mtlzoo.datamodules.yelp import Yelp as Yelp

# Imported on first use: rows are encoded without torch where a model is served.
DATA_SETS = {
    "AliCCP": "aliccp",
    "AliExpress": "aliexpress",
    "AmazonReviews": "amazon",
    "CensusIncome": "census",
    "Ciao": "ciao",
    "Epinions": "epinions",
    "KuaiRand": "kuairand",
    "KuaiRec": "kuairec",
    "LastFM": "lastfm",
    "MovieLens": "movielens",
    "Synthetic": "synthetic",
    "TabularDataModule": "tabular",
    "Tenrec": "tenrec",
    "TikTok": "tiktok",
    "Yelp": "yelp",
}
"""Data sets by their names, and the module of each."""
_HOMES = {
    **DATA_SETS,
    "CategoricalColumn": "columns",
    "DataError": "errors",
    "DataWarning": "errors",
    "DatasetNotFoundError": "errors",
    "GivenSplit": "columns",
    "Label": "columns",
    "MultiTaskDataModule": "base",
    "NumericColumn": "columns",
    "RandomSplit": "columns",
    "RankingDataModule": "ranking",
    "Recipe": "columns",
    "SequenceColumn": "columns",
    "TimeSplit": "columns",
    "UserSplit": "columns",
}
__all__ = (*_HOMES,)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mtlzoo.datamodules' has no attribute {name!r}; it has {sorted(_HOMES)}")
    return getattr(import_module(f"mtlzoo.datamodules.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
