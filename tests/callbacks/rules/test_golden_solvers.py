"""Rules with a solver against the numbers of every ``rules*.json`` in `MTLZOO_GOLDEN`.

What "exact" says holds to 1e-8 of the largest gradient entry. The libraries' own solvers are only compared where their
numbers satisfy their own problem, which a property of the numbers decides and never a matrix's name; elsewhere the
answer that our documentation promises is checked.
"""

from typing import Any

import pytest
import torch
from golden_matrices import Problem
from golden_rules import F64, Entry, finite, parametrized, tensor
from torch import Tensor

from mtlzoo.callbacks.rules import MGDA, PCD, CAGrad, DualProj, FairGrad, MoCo, NashMTL, SDMGrad, UPGrad
from mtlzoo.callbacks.rules.graddrop import drop

each_matrix = parametrized("matrices")


@each_matrix
def test_exact_min_norm(name: str, entry: Entry) -> None:
    problem = Problem(entry)
    weights = MGDA()(problem.gramian)
    torch.testing.assert_close(weights.sum(), problem.active.any().double())
    for _, exact in problem.references("exact", "min_norm"):
        if finite(exact) and problem.active.all():
            problem.close(weights, exact["grad"])
            square = weights @ problem.gramian @ weights
            assert float(square) <= exact["norm"] ** 2 * (1 + 1e-9) + 1e-12 * float(problem.norms.min()) ** 2
    # A task without gradient is left out: the shortest of the others', which opposes none of them.
    direction = weights @ problem.rows
    products = problem.rows @ direction - direction @ direction
    assert (products >= -1e-8 * problem.norms * (weights @ problem.norms))[problem.active].all()


@each_matrix
def test_exact_projections(name: str, entry: Entry) -> None:
    problem = Problem(entry)
    for key, rule in (("upgrad", UPGrad()), ("dualproj", DualProj())):
        weights = rule(problem.gramian)
        for _, exact in problem.references("exact", key):
            if finite(exact):
                problem.close(weights, exact["grad"])
        assert (weights[problem.active] >= 1 / problem.tasks).all()
        direction = weights @ problem.rows
        assert (problem.rows @ direction >= -1e-8 * problem.norms * (weights @ problem.norms)).all()
    ramp = torch.arange(1.0, problem.tasks + 1, dtype=F64)
    for _, torchjd in problem.references("torchjd", "UPGrad_pref_1..T_normalised"):
        # torchjd adds a ridge of 1e-4 of the trace: the same on the Gramian with the ridge.
        if finite(torchjd) and problem.gramian.trace() > 1e-4:
            ridge = 1e-4 * problem.gramian.trace() * torch.eye(problem.tasks, dtype=F64)
            weights = UPGrad((ramp / ramp.sum()).tolist())(problem.gramian + ridge)
            torch.testing.assert_close(weights, tensor(torchjd["weights"]), rtol=1e-6, atol=1e-6)


@each_matrix
def test_exact_cagrad(name: str, entry: Entry) -> None:
    problem = Problem(entry)
    for match, exact in problem.references("exact", r"cagrad_c=([\d.]+)"):
        weights = CAGrad(float(match[1]))(problem.gramian)
        moved = weights @ problem.rows - problem.rows.mean(0)
        # Within the radius, the problem has several solutions, of which ours is the nearest to the mean.
        unique = moved.norm() > 0.999 * float(match[1]) * problem.rows.mean(0).norm()
        if finite(exact) and problem.active.all() and unique:
            problem.close(weights, exact["grad"])
        cagrad_promises(problem, weights, float(match[1]))
    for match, torchjd in problem.references("torchjd", r"CAGrad_c=([\d.]+)(?:_norm_eps=.*)?"):
        c = float(match[1])
        weights = CAGrad(c)(problem.gramian)
        cagrad_promises(problem, weights, c)
        # Its solver is good to 1e-4 where it does not give up (zero weights) or meets a zero row.
        if c == 0:
            torch.testing.assert_close(weights, problem.active.double() / problem.tasks)
        elif finite(torchjd) and any(torchjd["weights"]) and problem.active.all():
            better = cagrad_worst(problem, weights) - cagrad_worst(problem, tensor(torchjd["weights"]))
            assert float(better) >= -1e-6 * float(problem.norms.min() * (weights.abs() @ problem.norms))


def cagrad_worst(problem: Problem, weights: Tensor) -> Tensor:
    return (problem.gramian @ weights)[problem.active].min()


def cagrad_promises(problem: Problem, weights: Tensor, c: float) -> None:
    """The vector is within the radius, and the best for the worst task there: its dual has the same value."""
    mean = problem.rows.mean(0)
    moved = weights @ problem.rows - mean
    radius = c * mean.norm()
    rounding = 1e-8 * (weights.abs() @ problem.norms)
    assert moved.norm() <= radius * (1 + 1e-8) + rounding
    if not problem.active.any() or c == 0:
        return
    worst = cagrad_worst(problem, weights)
    share = (weights - problem.active.double() / problem.tasks).clamp(min=0)
    assert share.any()
    x = share / share.sum()
    bound = (x @ problem.rows) @ mean + radius * (x @ problem.rows).norm()
    assert bound - worst <= 1e-7 * (x @ problem.norms) * (mean.norm() + weights.abs() @ problem.norms)


@each_matrix
def test_libmtl_cagrad_rescale(name: str, entry: Entry) -> None:
    """LibMTL's three forms of one solution have the ratios of ours."""
    problem = Problem(entry)
    found = {match.groups(): value for match, value in problem.references("libmtl", r"CAGrad_calpha=(.*)_rescale=(\d)")}
    names: dict[str, Any] = {"0": "none", "1": "1+c^2", "2": "1+c"}
    for (text, rescale), value in found.items():
        if (text, "0") not in found or not finite(value):
            continue
        c = float(text)
        plain, ours = CAGrad(c)(problem.gramian), CAGrad(c, names[rescale])(problem.gramian)
        ratio = (plain @ torch.ones_like(plain)) / (ours @ torch.ones_like(ours)) if ours.any() else torch.tensor(1.0)
        theirs, reference = tensor(value["grad"]), tensor(found[text, "0"]["grad"])
        torch.testing.assert_close(theirs * ratio, reference, rtol=1e-9, atol=1e-12 * float(problem.largest))


@each_matrix
def test_libmtl_mgda(name: str, entry: Entry) -> None:
    """Our vector is at least as short; it is LibMTL's where that is optimal."""
    problem = Problem(entry)
    losses = torch.arange(1.0, problem.tasks + 1, dtype=F64)
    for match, value in problem.references("libmtl", r"MGDA_(none|l2|loss\+|loss)_losses=1\.\.T"):
        kind: Any = match[1]
        weights = MGDA(kind)(problem.gramian, losses=losses)
        divisor = torch.ones_like(losses) * (losses if "loss" in kind else 1)
        divisor = divisor * (problem.norms if kind in ("l2", "loss+") else 1)
        divisor = torch.where(problem.active, divisor, 1.0)
        rows = problem.rows / divisor[:, None]
        ours = weights @ rows
        size = rows.norm(dim=1)[problem.active]
        if not problem.active.any():
            assert not weights.any()
            continue
        products = (rows @ ours)[problem.active]
        assert (products - ours @ ours >= -1e-12 * size * (weights @ rows.norm(dim=1))).all()
        if finite(value) and problem.active.all():
            theirs = tensor(value["grad"])
            assert ours.norm() <= theirs.norm() * (1 + 1e-9) + 1e-7 * size.min()
            gap = theirs @ theirs - (rows @ theirs).min()
            if 0 <= gap <= 1e-12 * theirs @ theirs:
                torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5 * float(theirs.norm()))


@each_matrix
def test_exact_nash(name: str, entry: Entry) -> None:
    problem = Problem(entry)
    free, limited = NashMTL(0.0)(problem.gramian), NashMTL(1.0)(problem.gramian)
    count = problem.active.double().sum()
    length = (free @ problem.rows).norm()
    assert length <= count.sqrt() * (1 + 1e-6)
    assert (limited @ problem.rows).norm() <= 1 + 1e-6
    for _, exact in problem.references("exact", "nash"):
        solved = finite(exact) and "alpha" in exact and all(value > 0 for value in exact["alpha"])
        if solved and problem.active.all() and problem.fair_residual(tensor(exact["alpha"]), 1.0) < 1e-8:
            # The ridge moves weights by 1e-13 (w |g|)^2.
            relative = max(1e-8, 1e-12 * float((tensor(exact["alpha"]) * problem.norms).max()) ** 2)
            problem.close(free, exact["grad"], relative)
            problem.close(limited, (tensor(exact["grad"]) / max(1.0, float(count.sqrt()))).tolist(), relative)
    if not problem.positive_null():
        assert problem.fair_residual(free, 1.0) < 1e-6
        torch.testing.assert_close(length, count.sqrt())
    for match, value in problem.references("torchjd", r"NashMTL_max_norm=([\d.]+)(?:_optim.*)?"):
        # torchjd falls back to ones, or stops early: its own equation tells.
        if finite(value) and not float(match[1]):
            residual = problem.fair_residual(tensor(value["weights"]), 1.0)
            if residual < 1e-5:
                problem.close(free, value["grad"], relative=10 * max(residual, 1e-9))


@each_matrix
def test_fairgrad(name: str, entry: Entry) -> None:
    problem = Problem(entry)
    for match, value in problem.references("torchjd", r"FairGrad_alpha=([\d.]+)"):
        power = 1 / float(match[1])
        weights = FairGrad(float(match[1]))(problem.gramian)
        assert torch.isfinite(weights).all()
        assert (weights > 0).eq(problem.active).all()
        if not problem.positive_null():
            assert problem.fair_residual(weights, power) < 1e-6
            if finite(value):
                # Its solver stops at an absolute 1e-8 or so: where the residual is small, the gradient is that near.
                residual = problem.fair_residual(tensor(value["weights"]), power)
                if residual < 1e-5:
                    problem.close(weights, value["grad"], relative=10 * max(residual, 1e-9))


@each_matrix
def test_torchjd_sdmgrad(name: str, entry: Entry) -> None:
    """The same two calls; torchjd's absolute 1e-8 in the mean square is the same as a smaller lr."""
    problem = Problem(entry)
    square = problem.norms.mean() ** 2
    for _, value in problem.references("torchjd", "SDMGrad_on_gramian"):
        lr = float(10 * square / (square + 1e-8)) or 10.0
        rule, shaken = SDMGrad(lr), SDMGrad(lr * (1 + 1e-12))
        for each in (rule, shaken):
            each.allocate(1, problem.tasks)
        for key in ("w1", "w2"):
            weights, nearly = rule(problem.gramian), shaken(problem.gramian * (1 + 1e-12 * problem.cosines))
            assert torch.isfinite(weights).all()
            assert (weights >= 0).all()
            # The steps are long: from ties, rounding alone leads elsewhere.
            certain = (weights - nearly).abs().max() < 1e-9
            if problem.active.all() and finite(value) and certain:
                torch.testing.assert_close(weights, tensor(value[key]), rtol=0, atol=1e-8)


@each_matrix
def test_torchjd_pcd(name: str, entry: Entry) -> None:
    """The same two calls; torchjd's absolute 1e-8 beside the averages is set into ours."""
    problem = Problem(entry)
    beta = 0.999
    for _, value in problem.references("torchjd", "PCD"):
        rule = PCD()
        rule.allocate(1, problem.tasks)
        squares = problem.gramian.diagonal()
        for number, call in enumerate(("call1", "call2_on_-J"), start=1):
            # The averages before this call such that the ones after it are |g|^2 + 1e-8.
            share = 1 - beta**number
            rule.squares[0] = ((squares + 1e-8) * share - (1 - beta) * squares) / beta
            rule.seen.fill_(number - 1)
            sign = -1.0 if number == 2 else 1.0
            weights = rule(problem.gramian)
            assert torch.isfinite(weights).all()
            if finite(value):
                expected = sign * tensor(value[call]["grad"])
                # Its solver takes gradients for dependent, and demands for met, at 1e-9.
                problem.close(weights, expected.tolist(), relative=1e-7)
    if problem.active.all():
        fresh = PCD()
        fresh.allocate(1, problem.tasks)
        direction = fresh(problem.gramian) @ problem.rows
        assert float((direction.norm() / problem.norms[0] - 1).abs()) < 1e-8 or not direction.any()


@each_matrix
def test_libmtl_moco(name: str, entry: Entry) -> None:
    """The same two calls; LibMTL's 1e-8 beside the norms shortens what it averages."""
    problem = Problem(entry)
    for match, value in problem.references("libmtl", r"MoCo_losses=linspace\((.+),(.+)\)"):
        losses = torch.linspace(float(match[1]), float(match[2]), problem.tasks, dtype=F64)
        rule = MoCo(projection="softmax")
        for number, call in enumerate(("call1", "call2_on_2J"), start=1):
            gradient = rule(number * problem.rows, losses=losses)
            assert torch.isfinite(gradient).all()
            error = float((1e-8 / torch.where(problem.active, problem.norms, 1.0)).max())
            if finite(value) and error < 1e-3:
                tolerance = 2 * error + 1e-10
                torch.testing.assert_close(rule.weights, tensor(value[f"w{number}"]), rtol=0, atol=tolerance)
                torch.testing.assert_close(gradient, tensor(value[call]), rtol=0, atol=tolerance)


@each_matrix
def test_torchjd_graddrop(name: str, entry: Entry) -> None:
    problem = Problem(entry)
    uniform = None
    for _, value in problem.references("torchjd", "GradDrop_given_U"):
        uniform = tensor(value["U"])
    if uniform is None:
        pytest.skip("no uniform numbers in this file")
    for match, value in problem.references("torchjd", r"GradDrop_(?:leak=([\d.]+)_)?given_U"):
        ours = drop(problem.rows, uniform, torch.full((problem.tasks,), float(match[1] or 0), dtype=F64))
        expected = tensor([float("nan") if x is None else x for x in value["grad"]])
        # Where no task has a gradient, torchjd's 0/0 drops all: 0 either way, or NaN there.
        expected = torch.where(expected.isnan() & (problem.rows == 0).all(0), 0.0, expected)
        torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12 * float(problem.largest))
