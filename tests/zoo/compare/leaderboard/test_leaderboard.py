"""Made-up cells whose better contenders are known, from their files to the leaderboard."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from compare.made_up import CONTENDERS, TASKS, Contender, frontier, write_cells

from mtlzoo.compare.leaderboard import Leaderboard, leaderboard
from mtlzoo.compare.leaderboard.build import enough_draws
from mtlzoo.compare.leaderboard.rows import COLUMNS, Row
from mtlzoo.compare.leaderboard.tables import as_frame, as_markdown, show, write
from mtlzoo.compare.results import TESTED, Result


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[Result]:
    folder = tmp_path_factory.mktemp("cells")
    return write_cells(folder, data=("A", "B"), seeds=5, rows=2000, users=200, epochs=1, monitors=False)


@pytest.fixture(scope="module")
def board(results: list[Result]) -> Leaderboard:
    return leaderboard(results, "SingleTask", draws=200)


def row(board: Leaderboard, name: str, task: str, metric: str = "auc", data: str = "A") -> Row:
    keys = (data, name, task, metric)
    (found,) = (r for r in board.rows if (r["data"], r["name"], r["task"], r["metric"]) == keys)
    return found


def without_rows(result: Result, **metrics: float) -> Result:
    """As if no rows were kept; its metrics by ``task/metric``."""
    record = dict(result.record) | {"metrics": {f"test/{k.replace('__', '/')}": v for k, v in metrics.items()}}
    return replace(result, folder=result.folder / "nowhere", record=record)


def test_every_contender_has_a_row_on_every_task(board: Leaderboard) -> None:
    auc = [r for r in board.rows if r["metric"] == "auc"]
    assert len(auc) == 2 * len(CONTENDERS) * (len(TASKS) + 1)
    assert all(tuple(r) == COLUMNS for r in board.rows)


def test_the_value_is_the_mean_of_results_json(board: Leaderboard, results: list[Result]) -> None:
    own = [r.metrics["test/click/auc"] for r in results if (r.name, r.data) == ("MMoE", "A")]
    found = row(board, "MMoE", "click")
    assert found["value"] == pytest.approx(np.mean(own))
    assert found["std"] == pytest.approx(np.std(own, ddof=1))
    assert found["low"] < found["value"] < found["high"]
    assert found["seeds"] == 5


def test_what_is_better_is_said_to_be(board: Leaderboard) -> None:
    ple = row(board, "PLE", "mean")
    assert ple["p_holm"] < 0.05
    assert ple["best"]
    assert ple["words"].startswith("better than SingleTask by 0.0")
    assert ple["delta_m_low"] > 0
    assert ple["rank"] < row(board, "SingleTask", "mean")["rank"]
    assert ple["best_p_holm"] is None
    assert row(board, "PLE", "mean", "logloss")["difference"] < 0  # lower is better
    assert row(board, "PLE", "mean", "logloss")["words"].startswith("better")
    assert row(board, "PLE", "mean", "logloss")["delta_m"] > 0


def test_what_is_worse_is_negative_transfer(board: Leaderboard) -> None:
    assert row(board, "SharedBottom", "like")["negative_transfer"] is True
    assert row(board, "SharedBottom", "like")["words"].startswith("worse than SingleTask by 0.0")
    assert row(board, "SharedBottom", "like")["best"] is False
    assert row(board, "PLE", "mean")["negative_transfer"] is False


def test_what_is_alike_is_said_not_to_differ(board: Leaderboard) -> None:
    alike = row(board, "MMoE", "follow")
    assert alike["words"].startswith("no difference from SingleTask shown")
    assert alike["p_holm"] > 0.05
    assert alike["seeds_for_001"] is None or alike["seeds_for_001"] > 5


def test_the_baseline_is_compared_with_the_best_alone(board: Leaderboard) -> None:
    base = row(board, "SingleTask", "click")
    assert base["difference"] is base["p"] is base["relaimpr"] is base["negative_transfer"] is None
    assert base["words"] == "the baseline"
    assert base["best_difference"] < 0


def test_alone_seeds_say_more_than_users_do(results: list[Result], board: Leaderboard) -> None:
    single = leaderboard([r for r in results if r.seed == 0], "SingleTask", draws=200)
    found = row(single, "PLE", "click")
    assert found["p"] is found["p_holm"] is found["std"] is None
    assert found["low"] < found["value"] < found["high"]
    assert "over users alone: one seed" in found["words"]
    assert not any(r["best"] for r in single.rows)


def test_without_rows_intervals_are_over_seeds(results: list[Result]) -> None:
    cells = [without_rows(r, click__auc=r.metrics["test/click/auc"]) for r in results if r.data == "A"]
    found = leaderboard(cells, "SingleTask", draws=10)
    assert "over seeds alone: no rows" in row(found, "PLE", "click")["words"]
    assert row(found, "PLE", "mean")["delta_m"] is not None  # of one task, too
    assert any("No rows of test were kept" in note for note in found.notes)


def test_rows_that_do_not_give_the_metric_are_not_believed(board: Leaderboard, results: list[Result]) -> None:
    name = "test/click/gauc_impressions"
    records = [dict(r.record) | {"metrics": dict(r.metrics) | {name: 0.1}} for r in results if r.data == "A"]
    wrong = [replace(r, record=record) for r, record in zip(results, records, strict=False)]
    found = leaderboard(wrong, "SingleTask", draws=10)
    assert any(f"{name}: the rows of 25 cells do not give" in note for note in found.notes)
    assert not any("do not give" in note for note in board.notes)


def test_rankings_and_mixed_kinds(results: list[Result]) -> None:
    draw = np.random.default_rng(0)
    cells = [
        without_rows(r, buy__auc=0.7 + draw.normal(0, 0.01), stars__rmse=0.9 + draw.normal(0, 0.01), stars__mae=0.7)
        for r in results
        if r.data == "A"
    ]
    found = leaderboard(cells, "SingleTask")
    overall = row(found, "PLE", "mean", "main")
    assert overall["value"] is None
    assert overall["delta_m"] is not None
    assert row(found, "PLE", "stars", "rmse")["higher_is_better"] is False
    ranked = leaderboard([without_rows(r, **{"like__recall@20": 0.1 + 0.01 * r.seed}) for r in results], None)
    assert row(ranked, "PLE", "like", "recall@20")["value"] == pytest.approx(0.12)
    assert row(ranked, "PLE", "like", "recall@20")["difference"] is None


def test_undefined_metrics_stay_empty(results: list[Result]) -> None:
    def cut(result: Result) -> Result:
        metrics = dict(result.record["metrics"])
        if result.name == "MMoE" or result.seed == 0:
            metrics["test/follow/auc"] = None
        return replace(result, record=dict(result.record) | {"metrics": metrics})

    found = leaderboard([cut(r) for r in results if r.data == "A"], "SingleTask", draws=20)
    assert row(found, "PLE", "follow")["seeds"] == 4
    assert not [r for r in found.rows if (r["name"], r["task"], r["metric"]) == ("MMoE", "follow", "auc")]
    assert row(found, "MMoE", "click")["value"] is not None
    assert "MMoE" in as_markdown(found)


def test_results_that_cannot_be_compared_are_refused_or_apart(results: list[Result]) -> None:
    other = [
        replace(r, record=dict(r.record) | {"data_fingerprint": "new", "versions": {"mtlzoo": "9.9"}}) if r.seed else r
        for r in results
    ]
    with pytest.raises(ValueError, match=r"A: these results can't .* mtlzoo 0.2.0 \| data fingerprint new; mtlzoo 9.9"):
        leaderboard(other, "SingleTask", draws=10)
    found = leaderboard(other, "SingleTask", draws=10, apart=True)
    assert "A (data fingerprint new; mtlzoo 9.9)" in {r["data"] for r in found.rows}
    with pytest.raises(ValueError, match=r"A: several results of one contender and seed, \[\('MMoE', 0\)"):
        leaderboard([*results, *results], "SingleTask", draws=10)


def test_static_weights_are_the_front_of_rules(tmp_path: Path) -> None:
    beyond, behind = Contender("SharedBottom", "CAGrad", (0.9, 0.9)), Contender("SharedBottom", "FAMO", (-0.5, -0.5))
    contenders = (Contender("SingleTask"), *frontier(TASKS, 3), beyond, behind)
    results = write_cells(tmp_path, contenders, seeds=5, rows=2000, users=200, epochs=1, monitors=False)
    verdicts = {v.name: v for v in leaderboard(results, "SingleTask", draws=100).frontier}
    assert set(verdicts) == {beyond.name, behind.name}
    assert verdicts[beyond.name].leaves
    low = verdicts[beyond.name].low
    assert low is not None
    assert 0 < low < verdicts[beyond.name].margin
    assert not verdicts[behind.name].leaves
    assert "FAMO does not leave what 3 static weights of click and like reach" in verdicts[behind.name].words


def test_files_say_the_same(board: Leaderboard, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(board, tmp_path)
    frame = pl.read_parquet(tmp_path / "leaderboard.parquet")
    assert frame.equals(as_frame(board.rows))
    assert frame.to_dicts() == list(board.rows)
    assert pl.read_csv(tmp_path / "leaderboard.csv").shape == frame.shape
    text = (tmp_path / "leaderboard.md").read_text()
    assert f"| **{row(board, 'PLE', 'click')['value']:.4f}** (" in text
    assert "▼" in next(line for line in text.splitlines() if line.startswith("| SharedBottom |"))
    assert "MMoE: no difference shown on " in text
    show(board)
    assert f"{row(board, 'PLE', 'click')['value']:.4f} (" in capsys.readouterr().out


def kept(results: Sequence[Result], folder: Path, columns: Any, **metrics: float) -> list[Result]:
    """The results with other rows and metrics."""
    made = []
    for number, result in enumerate(results):
        here = folder / str(number)
        (here / TESTED).mkdir(parents=True)
        pl.DataFrame(columns).write_parquet(here / TESTED / "part-00000.parquet")
        made.append(replace(without_rows(result, **metrics), folder=here))
    return made


def test_all_kinds_of_tasks_are_known_by_user(results: list[Result], tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    n, classes = 400, 3
    stars = draw.normal(size=n)
    guess = stars + draw.normal(size=n)
    kind, logits = draw.integers(0, classes, n), draw.normal(size=(n, classes))
    tags, scores = draw.integers(0, 2, (n, classes)).astype(np.float32), draw.normal(size=(n, classes))
    tags[0, 1] = np.nan
    columns: dict[str, Any] = {
        "row": np.arange(n),
        "user": draw.integers(0, 50, n),
        "stars": guess,
        "label:stars": stars,
    }
    columns |= {"kind": logits, "label:kind": kind.astype(np.float32), "tags": scores, "label:tags": tags}
    aucs = [_auc(scores[:, c], tags[:, c]) for c in range(classes)]
    right = float((logits.argmax(1) == kind).mean())
    rmse = float(np.sqrt(np.mean((guess - stars) ** 2)))
    metrics = {"stars__rmse": rmse, "kind__accuracy": right, "kind__f1_macro": 0.3, "tags__auc": float(np.mean(aucs))}
    cells = kept([r for r in results if (r.data, r.name) == ("A", "PLE")][:2], tmp_path, columns, **metrics)
    found = leaderboard(cells, None, draws=50)
    assert not [note for note in found.notes if "alone" in note]
    for task, metric in (("stars", "rmse"), ("kind", "accuracy"), ("tags", "auc")):
        value = row(found, "PLE", task, metric)
        assert value["std"] == 0
        assert value["low"] < value["value"] < value["high"]  # the seeds agree: these are the users


def _auc(scores: Any, labels: Any) -> float:
    from sklearn.metrics import roc_auc_score

    seen = ~np.isnan(labels)
    return float(roc_auc_score(labels[seen], scores[seen]))


def test_what_is_the_same_with_every_seed_is_bold_together(results: list[Result]) -> None:
    """Nothing differs and nothing can be tested; that is a tie, and neither of the two is worse."""
    own = [result for result in results if result.data == "A" and result.name == "SingleTask"]
    twins = [replace(result, name="Twin", model="Twin") for result in own]
    board = leaderboard([*own, *twins], "SingleTask", draws=50)
    assert [row(board, name, "click")["best"] for name in ("SingleTask", "Twin")] == [True, True]
    assert row(board, "Twin", "click")["words"] == "the same as SingleTask with every seed"
    assert row(board, "Twin", "click")["negative_transfer"] is not True


def test_many_cells_get_fewer_draws_and_a_note(results: list[Result], board: Leaderboard) -> None:
    pairs = len(results) * len(TASKS)
    assert enough_draws(results) == 2000
    assert enough_draws(results * (4000 // pairs)) == pytest.approx(1000, rel=0.1)
    assert enough_draws(results * (40_000 // pairs)) == 500
    assert "Of the users 200 draws were made, as the cells are many." in board.notes


def test_one_contender_is_compared_with_nobody(results: list[Result], board: Leaderboard) -> None:
    alone = [result for result in results if result.name == "SingleTask"]
    assert not [note for note in leaderboard(alone, None, draws=20).notes if "adjusted" in note]
    assert [note for note in board.notes if "adjusted together (Holm)" in note]


def test_average_ranks_are_told_of_five_data_sets_and_tasks_or_more(results: list[Result], board: Leaderboard) -> None:
    (ranks, friedman) = [note for note in board.notes if note.startswith(("Average", "Friedman"))]
    assert f"over {2 * len(TASKS)} data sets x tasks: " in ranks
    assert all(contender.name in ranks for contender in CONTENDERS)
    assert "p " in friedman
    few = leaderboard([result for result in results if result.data == "A"], "SingleTask", draws=20)
    assert not [note for note in few.notes if note.startswith("Average")]
