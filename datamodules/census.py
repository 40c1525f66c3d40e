"""Census-Income (KDD): the two task groups of the MMoE paper."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from lightning.pytorch.utilities import rank_zero_warn

from mtlzoo.datamodules.base import MultiTaskDataModule
from mtlzoo.datamodules.columns import CategoricalColumn, GivenSplit, Label, NumericColumn, RandomSplit, Recipe
from mtlzoo.datamodules.download import obtain
from mtlzoo.datamodules.download.archive import extract
from mtlzoo.datamodules.download.finding import there
from mtlzoo.datamodules.errors import DatasetNotFoundError
from mtlzoo.datamodules.reading import read_csv
from mtlzoo.datamodules.values.domains import number, one_of, text, whole

NAMES = (  # noqa: SIM905  (easier to compare with the documentation)
    "age,class_worker,det_ind_code,det_occ_code,education,wage_per_hour,hs_college,marital_stat,major_ind_code,"
    "major_occ_code,race,hisp_origin,sex,union_member,unemp_reason,full_or_part_emp,capital_gains,capital_losses,"
    "stock_dividends,tax_filer_stat,region_prev_res,state_prev_res,det_hh_fam_stat,det_hh_summ,instance_weight,"
    "mig_chg_msa,mig_chg_reg,mig_move_reg,mig_same,mig_prev_sunbelt,num_emp,fam_under_18,country_father,"
    "country_mother,country_self,citizenship,own_or_self,vet_question,vet_benefits,weeks_worked,year,income_50k"
).split(",")
"""The 42 fields in the order of the files, which have no header."""
AMOUNTS = ("wage_per_hour", "capital_gains", "capital_losses", "stock_dividends")
NUMBERS = ("age", *AMOUNTS, "num_emp", "weeks_worked")
SOURCES = ("income_50k", "education", "marital_stat")
"""Fields that labels are made of; never features, whichever labels are chosen."""
INCOMES = {"- 50000.": 0, "50000+.": 1}
COLLEGE = (
    "Associates degree-academic program",
    "Associates degree-occup /vocational",
    "Bachelors degree(BA AB BS)",
    "Masters degree(MA MS MEng MEd MSW MBA)",
    "Prof school degree (MD DDS DVM LLB JD)",
    "Doctorate degree(PhD EdD)",
)
"""A college degree. Its correlation with "never married" on the test file is -.2376; the paper states .2373."""
EDUCATIONS = (
    *COLLEGE,
    "Children",
    "Less than 1st grade",
    "1st 2nd 3rd or 4th grade",
    "5th or 6th grade",
    "7th and 8th grade",
    "9th grade",
    "10th grade",
    "11th grade",
    "12th grade no diploma",
    "High school graduate",
    "Some college but no degree",
)
MARITAL = (
    "Never married",
    "Married-civilian spouse present",
    "Married-spouse absent",
    "Married-A F spouse present",
    "Separated",
    "Divorced",
    "Widowed",
)
CODES = {"det_ind_code": range(52), "det_occ_code": range(47), "own_or_self": range(3), "vet_benefits": range(3)}
DOMAINS = {
    **dict.fromkeys(NAMES, text()),
    **dict.fromkeys(NUMBERS, whole()),
    **{name: one_of([str(code) for code in codes]) for name, codes in CODES.items()},
    "education": one_of(EDUCATIONS),
    "marital_stat": one_of(MARITAL),
    "instance_weight": number(0),
    "year": one_of(["94", "95"]),
    "income_50k": one_of(list(INCOMES)),
}
"""What the fields may hold: none may be empty, as ``?`` and "Not in universe" are values. Codes stay texts."""
TASKS = {"income": ("income", "never_married"), "education": ("education", "never_married")}


class CensusIncome(MultiTaskDataModule):
    """Persons of the US Current Population Surveys of 1994 and 1995, with two binary tasks.

    The tasks are those of Ma et al. (MMoE, KDD 2018, section 6.2): `income` (above 50,000 dollars) or `education` (a
    college degree: associate and up), each with `never_married`. Education and marital status are no features in either
    group, as in the paper, nor is income. `tax_filer_stat` and the household fields stay and still tell much of the
    marital status. ``?`` is a value of its own.

    Looks for ``census-income.data`` and ``census-income.test``, plain or ``.gz``, at `root`. If neither is there, the
    archive (``census+income+kdd.zip`` or ``census.tar.gz``) is unpacked, and downloaded first where it is missing
    (9.8 MB; UCI publishes no checksum).

    Licence: CC BY 4.0. Source: UCI Machine Learning Repository, data set 117. Citation: Census-Income (KDD), doi
    10.24432/C5N30T.

    Args:
        root: Folder of the files.
        task_group: ``income`` (with never_married) or ``education`` (with never_married).
        split: ``official``: the .data file is train, each row of the .test file is validation or test with equal
            chance. ``random``: 80 % train, 10 % validation and 10 % test of the rows that are there. None: official if
            both files are there, else random with a warning, as numbers on it can't be compared with published ones.
        split_seed: Seed of the random parts of the split.
        use_instance_weight: Weigh rows in the loss by the survey's `instance_weight`. It is never a feature.
        download: Download the archive where the files are missing.
        base: `prepared`, `batch_size`, `eval_batch_size`, `shuffle_seed`: see `MultiTaskDataModule`.

    Raises:
        ValueError: An unknown task group or split.
    """

    licence = "CC BY 4.0"
    citation = "Census-Income (KDD), UCI Machine Learning Repository, doi 10.24432/C5N30T"
    url = "https://archive.ics.uci.edu/static/public/117/census+income+kdd.zip"

    def __init__(
        self,
        root: str | PathLike[str] = "data/census-income",
        *,
        task_group: Literal["income", "education"] = "income",
        split: Literal["official", "random"] | None = None,
        split_seed: int = 0,
        use_instance_weight: bool = False,
        download: bool = True,
        **base: Any,
    ) -> None:
        super().__init__(root, **base)
        if task_group not in TASKS:
            raise ValueError(f"CensusIncome: task_group={task_group!r}; allowed are {list(TASKS)}.")
        if split not in ("official", "random", None):
            raise ValueError(f"CensusIncome: split={split!r}; allowed are 'official', 'random' and None.")
        self.task_group, self.download = task_group, download
        self.split, self.split_seed, self.use_instance_weight = split, split_seed, use_instance_weight

    @cached_property
    def recipe(self) -> Recipe:
        """7 numeric and 31 categorical features, two binary labels."""
        categorical = [n for n in NAMES if n not in (*NUMBERS, *SOURCES, "instance_weight")]
        return Recipe(
            columns=(
                *(CategoricalColumn(name) for name in categorical),
                *(NumericColumn(name, transform="log1p" if name in AMOUNTS else "standardize") for name in NUMBERS),
            ),
            labels=tuple(Label(f"label_{name}", name=name) for name in TASKS[self.task_group]),
            split=GivenSplit("split") if self._official else RandomSplit(seed=self.split_seed),
            weight="instance_weight" if self.use_instance_weight else None,
        )

    def options(self) -> Mapping[str, Any]:
        """What `read` depends on beyond the recipe."""
        return {"split": "official" if self._official else "random", "split_seed": self.split_seed}

    def files(self) -> tuple[Path, ...]:
        """The .data and the .test file, or the one that is there.

        Raises:
            DatasetNotFoundError: No file, or with ``split="official"`` not both.
        """
        self._unpack()
        present = self._present
        if not present or (self.split == "official" and len(present) == 1):
            raise DatasetNotFoundError(
                f"CensusIncome: found {sorted(present)} in {self.root}, need census-income.data(.gz) and "
                f"census-income.test(.gz). Put them there or unpack {self.url} there, give their folder as root=, or "
                "allow download=True" + (" or split='random'." if present else ".")
            )
        return tuple(present.values())

    def read(self) -> Iterator[pl.DataFrame]:
        """Rows of .data, then of .test, with labels and the official split."""
        for path in self.files():
            is_test = path.name.startswith("census-income.test")
            draw = np.random.default_rng(self.split_seed)
            for rows in read_csv(path, columns=DOMAINS, header=NAMES, strip=True, quote=False):
                half = np.where(draw.random(rows.height) < 0.5, "val", "test")
                split = pl.Series("split", half if is_test else np.full(rows.height, "train"))
                yield _labelled(rows).with_columns(split)

    @property
    def _present(self) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for part in ("data", "test"):
            for path in (self.root / f"census-income.{part}.gz", self.root / f"census-income.{part}"):
                if there(path):
                    found[part] = path
        return found

    @cached_property
    def _official(self) -> bool:
        if self.split is None and len(self.files()) == 1:
            rank_zero_warn(
                f"CensusIncome: only {self.files()[0].name} is in {self.root}, so its rows are split 80/10/10 at "
                "random. Numbers on it can't be compared with published ones; split='random' says that you know."
            )
            return False
        return self.split != "random"

    def _unpack(self) -> None:
        inner = self.root / "census.tar.gz"  # UCI's archive is an archive in an archive
        zipped = self.root / "census+income+kdd.zip"
        obtain(self.url, zipped, there=lambda: self._present or inner.is_file(), allowed=self.download)
        if inner.is_file() and not self._present:
            extract(inner, self.root)


def _labelled(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(
        pl.col("income_50k").replace_strict(INCOMES, return_dtype=pl.Int8).alias("label_income"),
        pl.col("education").is_in(list(COLLEGE)).alias("label_education"),
        (pl.col("marital_stat") == "Never married").alias("label_never_married"),
    )
