"""PMTRec: losses against formulas, metrics against loops, training in one process and in two."""

import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from chosen_device import ACCELERATOR
from torch import Tensor

from fixtures.friends import Friends
from mtlzoo import PMTRec, load
from mtlzoo.callbacks import GradientSurgery, PMTRecRule

KINDS = ("recommend", "friends", "category", "rating", "alignment")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Friends:
    root = tmp_path_factory.mktemp("friends")
    return Friends(root, prepared=root, batch_size=64, negatives=3, kinds=KINDS)


def model(data: Friends, **options: Any) -> PMTRec:
    torch.manual_seed(0)
    return PMTRec(data.schema, **{"embedding_dim": 8, "lr": 0.01, **options})


def batch_of(data: Friends, number: int = 1) -> dict[str, Tensor]:
    batches = list(data.train_dataloader())
    return {name: column.double() if column.is_floating_point() else column for name, column in batches[number].items()}


def vectors(module: PMTRec, ids: Any, of: str) -> Tensor:
    """Vectors of ids from the whole table, one by one."""
    first = 0 if of == "user" else module.encoder.users
    return module.encoder.everything()[torch.as_tensor(ids).long() + first]


def by_hand(module: PMTRec, batch: dict[str, Tensor], task: str) -> Tensor:
    """The loss of a task, row by row from its formula."""
    user, item = batch["categorical"].long().T
    rows = []
    for i in range(len(user)):
        u, v = vectors(module, [user[i]], "user")[0], vectors(module, [item[i]], "item")[0]
        if task == "recommend" and batch["labels"][i, 0] == 1:
            scores = [u @ vectors(module, [n], "item")[0] for n in batch["negative"][i] if n]
            rows.append(torch.stack([-((u @ v - s).sigmoid().log()) for s in scores]).mean())
        if task == "softmax" and batch["labels"][i, 0] == 1:
            scores = [u @ vectors(module, [n], "item")[0] for n in batch["negative"][i] if n]
            rows.append(-torch.stack([u @ v, *scores]).log_softmax(0)[0])
        if task == "rating":
            rows.append((u @ v - batch["labels"][i, 1]) ** 2)
        if task in ("friends", "category"):
            kind = "user" if task == "friends" else "item"
            a, p, n = batch[task][i].tolist()
            if a:
                a, p, n = vectors(module, [a, p, n], kind)
                rows.append(-((a @ p).sigmoid().log() + (1 - (a @ n).sigmoid()).log()) / 2)
        if task == "alignment" and batch["labels"][i, 0] == 1:
            rows.append((u / u.norm() - v / v.norm()).square().sum())
    if task != "alignment":
        return torch.stack(rows).mean()
    positive = batch["labels"][:, 0] == 1
    parts = []
    for kind, ids in (("user", user), ("item", item)):
        x = torch.nn.functional.normalize(vectors(module, ids[positive], kind), dim=1)
        parts.append(torch.pdist(x).square().mul(-2).exp().mean().log())
    return torch.stack(rows).mean() + module.hparams["gamma"] * sum(parts) / 2  # type: ignore[no-any-return]


@pytest.mark.parametrize("encoder", ["mf", "lightgcn"])
def test_losses_are_their_formulas(data: Friends, encoder: Any) -> None:
    module = model(data, encoder=encoder).double()
    if encoder == "lightgcn":
        module.encoder.connect(*data.interactions)  # type: ignore[operator]
    batch = batch_of(data)
    losses = module.batch_losses(batch, module.count_observed(batch))
    parameters = list(module.parameters())
    for task, loss in zip(KINDS, losses, strict=True):
        expected = by_hand(module, batch, task)
        torch.testing.assert_close(loss, expected, msg=partial("{}: {}".format, task))
        got, wanted = (torch.autograd.grad(value, parameters, retain_graph=True) for value in (loss, expected))
        for one, other in zip(got, wanted, strict=True):
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize(("name", "task"), [("softmax", "softmax"), ("directau", "alignment")])
def test_other_losses_of_the_ranking(data: Friends, name: Any, task: str) -> None:
    module = model(data, ranking_loss=name).double()
    batch = batch_of(data)
    torch.testing.assert_close(module.task_losses(batch)[0], by_hand(module, batch, task))


def test_rows_without_what_a_task_needs_take_no_part(data: Friends) -> None:
    module = model(data).double()
    batch = batch_of(data)
    batch["negative"][:, 1:] = 0
    expected = by_hand(module, batch, "recommend")
    torch.testing.assert_close(module.task_losses(batch)[0], expected)
    nothing = {
        **batch,
        "labels": batch["labels"] * math.nan,
        "friends": batch["friends"] * 0,
        "category": batch["category"] * 0,
    }
    losses = module.task_losses(nothing)
    assert not losses.any()
    losses.sum().backward()
    assert not any(p.grad.any() for p in module.parameters() if p.grad is not None)


def trained(data: Friends, folder: Path, module: PMTRec, **options: Any) -> L.Trainer:
    trainer = L.Trainer(
        default_root_dir=folder,
        accelerator=ACCELERATOR,
        logger=False,
        enable_progress_bar=False,
        log_every_n_steps=1,
        enable_model_summary=False,
        enable_checkpointing=False,
        **{"max_epochs": 3, **options},
    )
    trainer.fit(module, data)
    return trainer


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ["mf", "lightgcn", "ngcf"])
@pytest.mark.parametrize("rule", [None, "pmtrec"])
def test_trains_and_ranks_everything(data: Friends, tmp_path: Path, encoder: Any, rule: str | None) -> None:
    module = model(data, encoder=encoder, lr=0.04)
    callbacks = [GradientSurgery(PMTRecRule("recommend", tau=1e-2), level="row")] if rule else []
    first = model(data, encoder=encoder)
    if encoder != "mf":
        first.encoder.connect(*data.interactions)  # type: ignore[operator]
    batch = {name: c.float() if c.is_floating_point() else c for name, c in batch_of(data).items()}
    before = first.task_losses(batch)
    trainer = trained(data, tmp_path, module, callbacks=callbacks, max_epochs=5)
    assert module.task_losses(batch).sum() < before.sum()
    (found,) = trainer.test(module, data, verbose=False)
    expected = ranked_by_hand(module, data)
    for name, value in expected.items():
        assert found[f"test/recommend/{name}"] == pytest.approx(value, abs=1e-6), name
    assert 0 < found["test/recommend/recall@40"] < 1
    assert found["test/rating/rmse"] < 2.5
    assert not any("friends" in name or "alignment" in name for name in found)


def ranked_by_hand(module: PMTRec, data: Friends) -> dict[str, float]:
    """Recall and NDCG over users, one score at a time."""
    users, items = module.encoder.everything().detach().split([module.encoder.users, module.encoder.items])
    sums: dict[str, list[float]] = {}
    for batch in data.test_dataloader():
        if "relevant" not in batch:
            continue
        for user, relevant, seen in zip(batch["user"], batch["relevant"], batch["seen"], strict=True):
            scores = users[user] @ items.T
            scores[:2] = -math.inf
            scores[seen.long()] = -math.inf
            order = [i for i in scores.argsort(descending=True, stable=True).tolist() if scores[i] > -math.inf]
            wanted = [i for i in relevant.tolist() if i]
            for k in (5, 20):
                hits = [i in wanted for i in order[:k]]
                ideal = sum(1 / math.log2(j + 2) for j in range(min(k, len(wanted))))
                gain = sum(hit / math.log2(j + 2) for j, hit in enumerate(hits))
                sums.setdefault(f"recall@{k}", []).append(sum(hits) / len(wanted))
                sums.setdefault(f"ndcg@{k}", []).append(gain / ideal)
                sums.setdefault(f"hr@{k}", []).append(float(any(hits)))
                sums.setdefault(f"mrr@{k}", []).append(next((1 / (j + 1) for j, hit in enumerate(hits) if hit), 0.0))
    return {name: sum(values) / len(values) for name, values in sums.items()}


@pytest.mark.slow
def test_sparse_gradients_train_the_same(data: Friends, tmp_path: Path) -> None:
    dense, sparse = (model(data, sparse=sparse, optimizer="sgd", lr=0.1) for sparse in (False, True))
    for module in (dense, sparse):
        trained(data, tmp_path, module)
    torch.testing.assert_close(sparse.encoder.table.weight, dense.encoder.table.weight)


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_low_precision_trains(data: Friends, tmp_path: Path, precision: Any) -> None:
    module = model(data)
    trainer = trained(data, tmp_path, module, precision=precision)
    assert all(torch.isfinite(parameter).all() for parameter in module.parameters())
    assert float(trainer.callback_metrics["val/recommend/recall@20"]) > 0


def test_half_precision_rounds_weights_alone(data: Friends, tmp_path: Path) -> None:
    """Losses, ranking and metrics are those of single precision with the same weights."""
    rounded = model(data).bfloat16().float()
    batch = next(iter(data.train_dataloader()))
    expected = rounded.task_losses(batch)
    torch.testing.assert_close(model(data).bfloat16().task_losses(batch), expected, rtol=1e-6, atol=0)
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    runs: list[tuple[Any, PMTRec]] = [("32-true", rounded), ("bf16-true", model(data))]
    found = []
    for precision, module in runs:
        trainer = L.Trainer(default_root_dir=tmp_path, accelerator=ACCELERATOR, precision=precision, **quiet)
        found += trainer.test(module, data, verbose=False)
    assert found[1] == pytest.approx(found[0], rel=1e-6)


def test_a_checkpoint_holds_the_graph(data: Friends, tmp_path: Path) -> None:
    module = model(data, encoder="lightgcn")
    trainer = trained(data, tmp_path, module, max_epochs=1)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    loaded = load(tmp_path / "last.ckpt")
    assert isinstance(loaded, PMTRec)
    batch = next(iter(data.predict_dataloader()))
    for name, scores in module.eval()(batch).items():
        torch.testing.assert_close(loaded(batch)[name], scores)
    (again,) = trainer.test(loaded, data, verbose=False)
    assert again["test/recommend/recall@20"] == trainer.test(module, data, verbose=False)[0]["test/recommend/recall@20"]


def test_predicts_a_score_per_row(data: Friends, tmp_path: Path) -> None:
    module = model(data)
    trainer = trained(data, tmp_path, module, max_epochs=1)
    predictions: Any = trainer.predict(module, data)
    assert torch.cat([p["recommend"] for p in predictions]).shape == (data.data.manifest["rows"]["test"],)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder": "gcn"}, "encoder='gcn'"),
        ({"ranking_loss": "hinge"}, "ranking_loss='hinge'"),
        ({"gamma": -1.0}, "gamma=-1.0"),
        ({"encoder": "lightgcn", "sparse": True}, "gradients are dense"),
        ({"encoder": "mf", "dropout": 0.1}, "only 'ngcf'"),
        ({"accumulate": 2}, "all pairs of a batch"),
    ],
)
def test_refuses_what_it_cannot_do(data: Friends, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model(data, **options)


def test_other_models_refuse_its_tasks(data: Friends) -> None:
    from mtlzoo import MMoE

    with pytest.raises(ValueError, match=r"MMoE does not learn the tasks .*PMTRec learns rankings"):
        MMoE(data.schema)


def test_a_graph_encoder_needs_interactions(toy: Any, tmp_path: Path) -> None:
    module = PMTRec(toy.SCHEMA, encoder="lightgcn")
    trainer = L.Trainer(
        default_root_dir=tmp_path, accelerator=ACCELERATOR, logger=False, max_epochs=1, enable_checkpointing=False
    )
    with pytest.raises(ValueError, match="LightGCN passes messages along interactions, and InMemory has none"):
        trainer.fit(module, toy.InMemory(32))


CASES: dict[str, dict[str, Any]] = {
    "mf_surgery": {"arguments": {}, "rule": True},
    "softmax_sparse": {"arguments": {"sparse": True, "ranking_loss": "softmax"}, "kinds": ["like", *KINDS[:4]]},
    "mf_accumulate": {"arguments": {"accumulate": 2}, "kinds": KINDS[:4]},
    "lightgcn": {"arguments": {"encoder": "lightgcn"}},
    "lightgcn_surgery": {"arguments": {"encoder": "lightgcn"}, "rule": True},
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_ranks_equal_one(tmp_path: Path, run: Any, case: str) -> None:
    script = Path(__file__).with_name("pmtrec_script.py")
    (one,) = run(tmp_path / "one", 1, CASES[case] | {"batch_size": 64}, script)
    for rank in run(tmp_path / "two", 2, CASES[case] | {"batch_size": 32}, script):
        assert set(rank["weights"]) == set(one["weights"])
        for name, weight in one["weights"].items():
            torch.testing.assert_close(
                rank["weights"][name], weight, rtol=1e-9, atol=1e-11, msg=partial("{}: {}".format, name)
            )
        assert json.dumps(sorted(rank["metrics"])) == json.dumps(sorted(one["metrics"]))
        for name, value in one["metrics"].items():
            torch.testing.assert_close(
                rank["metrics"][name].double(), value.double(), rtol=0, atol=1e-9, msg=partial("{}: {}".format, name)
            )
