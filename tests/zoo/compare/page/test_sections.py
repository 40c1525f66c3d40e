"""What the page says, on made-up cells of which it is known."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from compare import made_up
from compare.page.simple import rows_of

from mtlzoo.compare.leaderboard import Leaderboard
from mtlzoo.compare.page import boards
from mtlzoo.compare.page.board import DRAWN, Board
from mtlzoo.compare.page.gains import points, seesaws
from mtlzoo.compare.page.look import looks
from mtlzoo.compare.page.parts import Panel, Section
from mtlzoo.compare.page.sections import (
    calibration,
    cold_start,
    comparable,
    conflicts,
    cost,
    curves,
    embeddings,
    gates,
    headline,
    ranks,
    tradeoff,
    words,
)
from mtlzoo.compare.page.text import amount, interval, listed, number, probability, signed
from mtlzoo.compare.statistics.ranks import Ranks

SEESAW = made_up.Contender("Seesaw", gains=(0.9, -0.9))


def board_of(folder: Path, contenders: Sequence[made_up.Contender], seeds: int = 2, monitors: bool = True) -> Board:
    results = made_up.write_cells(folder, contenders, seeds=seeds, monitors=monitors, rows=600, users=60)
    return boards(Leaderboard(rows_of(results), [], []), results, folder)[0]


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Board:
    contenders = (*made_up.CONTENDERS, SEESAW, *made_up.frontier(made_up.TASKS, 3))
    return board_of(tmp_path_factory.mktemp("board"), contenders)


def panel(section: Section, board: Board) -> Panel:
    assert section.draw is not None
    found = section.draw(board)
    assert found is not None
    return found


def column(table_of: Panel, name: str, which: str | None = None) -> dict[str, str]:
    """Texts of a column of a table, by contender."""
    tables = table_of.tables or {}
    table = tables[which] if which is not None else next(iter(tables.values()))
    place = [head.name for head in table.columns].index(name)
    return {row[0].text: row[place].text for row in table.rows}


def test_the_table_holds_the_numbers_of_the_leaderboard(board: Board) -> None:
    shown = panel(headline.SECTION, board)
    means = {row["name"]: row["value"] for row in board.rows if (row["task"], row["metric"]) == ("click", "auc")}
    assert column(shown, "click (auc)") == {name: f"{value:.4f}" for name, value in means.items()}
    assert set(shown.tables or {}) == {"main metrics", "logloss"}
    (ple,) = (row for row in (shown.tables or {})["main metrics"].rows if row[0].text == "PLE")
    assert ple[3].bold
    assert ple[3].mood == "good"
    (shared,) = (row for row in (shown.tables or {})["main metrics"].rows if row[0].text == "SharedBottom")
    assert "negative transfer" in shared[5].more


def test_lower_is_better_where_it_is(board: Board) -> None:
    table = (panel(headline.SECTION, board).tables or {})["logloss"]
    assert {head.name: head.first for head in table.columns}["click (logloss)"] == "up"
    best = {row["name"] for row in board.rows if (row["task"], row["metric"]) == ("click", "logloss") and row["best"]}
    assert {row[0].text for row in table.rows if row[4].bold} == best


def test_who_seesaws_is_named(board: Board) -> None:
    said = seesaws(board)
    assert "Seesaw seesaws: better on click, worse on like." in said
    assert not any(sentence.startswith("PLE ") for sentence in said)
    assert said == [note for note in panel(tradeoff.SECTION, board).notes if "seesaws" in note]


def test_the_frontier_is_a_line_in_the_order_of_its_weights(board: Board) -> None:
    found = [point for point in points(board) if point["kind"] == "frontier"]
    assert [point["share"] for point in found] == [0.25, 0.5, 0.75]
    assert {point["colour"] for point in found} == {board.looks["SharedBottom"].colour}
    assert not set(board.frontier) & set(board.drawn)
    (base,) = (point for point in points(board) if point["name"] == "SingleTask")
    assert base["g"] == [0.0, 0.0, 0.0]


def test_verdicts_on_the_frontier_are_told(board: Board) -> None:
    told = replace(board, verdicts=("CAGrad does not leave it",))
    assert "CAGrad does not leave it." in panel(tradeoff.SECTION, told).notes


def test_the_dead_expert_is_named(board: Board) -> None:
    notes = panel(gates.SECTION, board).notes
    assert "PLE, layer1: expert 3 is dead: every gate gives less than 10% of an equal share." in notes
    assert "PLE, layer0: every expert is used by some task." in notes
    assert len([note for note in notes if "dead" in note]) == 1


def test_the_worst_pair_is_named(board: Board) -> None:
    shown = panel(conflicts.SECTION, board)
    assert [chart.title for chart in shown.charts] == ["MMoE + PCGrad"]
    assert "the pair that agrees least is like · follow" in shown.notes[0]


def test_surgery_costs_what_it_adds(board: Board) -> None:
    shown = panel(cost.SECTION, board)
    assert column(shown, "Step against sum")["MMoE + PCGrad"] == "1.70 ×"
    assert column(shown, "Step against sum")["MMoE"] == "–"
    assert column(shown, "Parameters of tables")["SingleTask"] == "192,000"
    assert float(column(shown, "Rows/s")["MMoE"].replace(",", "")) == pytest.approx(9000, rel=0.05)


def test_of_cost_only_what_was_measured_is_shown(board: Board) -> None:
    without = replace(board, results=[replace(result, folder=Path("nowhere")) for result in board.results])
    tables = panel(cost.SECTION, without).tables or {}
    heads = [head.name for head in tables[""].columns]
    assert "Rows/s" not in heads
    assert "Fit, s" in heads


def test_curves_have_the_mean_and_the_band_of_the_seeds(board: Board) -> None:
    (chart,) = (chart for chart in panel(curves.SECTION, board).charts if chart.title.startswith("click"))
    (last,) = (v for v in chart.spec["data"]["values"] if (v["name"], v["x"]) == ("MMoE", 3))
    logs = [pl.read_csv(cell.folder / "metrics.csv").drop_nulls("val/click/auc") for cell in board.cells["MMoE"]]
    values = pl.Series([log["val/click/auc"][-1] for log in logs])
    assert last["value"] == pytest.approx(values.mean(), abs=1e-5)
    assert last["high"] - last["low"] == pytest.approx(2 * float(str(values.std())), abs=1e-5)


@pytest.mark.parametrize("section", [embeddings.SECTION, calibration.SECTION, cold_start.SECTION])
def test_every_contender_is_drawn(board: Board, section: Section) -> None:
    shown = panel(section, board)
    for chart in shown.charts:
        assert {value["name"] for value in chart.spec["data"]["values"]} == set(board.drawn)
    assert set(shown.legend or {}) == set(board.drawn)


def test_two_whose_bars_do_not_meet_differ() -> None:
    found = Ranks(("A", "B", "C"), (1.2, 2.0, 2.8), 6, 0.01, 1.4)
    shown = ranks.draw(Leaderboard([], [], [], found))
    assert shown is not None
    first, middle, last = shown.charts[0].spec["data"]["values"]
    assert middle["low"] < first["high"] < last["low"]
    assert [value["best"] for value in (first, middle, last)] == [True, False, False]
    assert ranks.draw(Leaderboard([], [], [])) is None


def test_comparable_samples_are_those_of_the_command(board: Board) -> None:
    assert comparable.draw(board) is None
    folder = board.folder / comparable.FOLDER / board.data
    folder.mkdir(parents=True)
    lines = ["task,bin,rows,keys,positives,model,metric,value,reference,transfer,low,high"]
    lines += [f"click,{name},10,5,3,MMoE,auc,.7,.69,.01,.0,.02" for name in ("all", "comparable")]
    (folder / "transfer.csv").write_text("\n".join(lines))
    (chart,) = panel(comparable.SECTION, board).charts
    assert [value["y"] for value in chart.spec["data"]["values"]] == ["all", "comparable"]


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    many = board_of(tmp_path, made_up.many(80), seeds=1, monitors=False)
    assert len(many.drawn) == DRAWN
    assert many.baseline in many.drawn
    assert "70 more are in the table." in panel(curves.SECTION, many).notes[0]
    shown = panel(tradeoff.SECTION, many)
    assert "20 more are in the table." in " ".join(shown.notes)
    assert len(json.dumps(shown.charts[0].spec)) < 40_000
    assert len(column(panel(headline.SECTION, many), "Rank")) == 80


def test_a_long_list_of_words_keeps_the_smallest_p(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "MOST", 4)
    shown = panel(words.SECTION, board)
    rows = (shown.tables or {})[""].rows
    assert len(rows) == 4
    assert all(row[4].text == "p 0.020" for row in rows)
    assert "the 4 lines of" in shown.notes[0]


def test_no_two_look_the_same() -> None:
    contenders = [(f"{model} {rule}", str(model), str(rule)) for model in range(10) for rule in range(6)]
    found = looks(contenders)
    assert len({(look.colour, look.shape) for look in found.values()}) == 60
    assert found["3 1"].colour == found["3 2"].colour
    assert found["3 1"].shape == found["4 1"].shape


def test_numbers() -> None:
    assert number(0.72314) == "0.7231"
    assert number(-0.5, 2) == "−0.50"
    assert number(None) == number(float("nan")) == signed(None) == amount(None) == "–"
    assert signed(0.0021) == "+0.0021"
    assert interval(0.1, 0.2, 1) == "0.1 to 0.2"
    assert interval(None, 0.2) == interval(float("nan"), 0.2) == ""
    assert probability(0.0004) == "p < 0.001"
    assert probability(0.0421) == "p 0.042"
    assert [amount(value) for value in (1234.5, 12.34, 1.234, 7.0)] == ["1,234", "12.3", "1.23", "7"]
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"], most=2) == "a, b and 1 more"
