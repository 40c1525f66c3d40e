"""Closed-form rules against numbers of torchjd and LibMTL, and against the papers' formulas on the gradients.

Every matrix of every ``rules*.json`` is held against formulas that see J, not its Gramian. A reference's number is then
compared wherever the reference is right, which properties of J decide: never the name of a matrix.
"""

import math
import re
from itertools import permutations
from typing import Any

import pytest
import torch
from golden_matrices import EPS, Case, each_matrix, orders_of, pinv
from golden_rules import Entry, tensor
from torch import Tensor

from mtlzoo.callbacks import rules
from mtlzoo.callbacks.rules.gradvac import vaccinate
from mtlzoo.callbacks.rules.linalg.cosines import cosines_of
from mtlzoo.callbacks.rules.linalg.rounding import tolerance
from mtlzoo.callbacks.rules.pcgrad import project

pytestmark = pytest.mark.every_case


@each_matrix
def test_constant_weights(matrix: Entry) -> None:
    case = Case(matrix)
    fixed = rules.Fixed([1.0 + t for t in range(case.tasks)])
    for name, rule in {"Mean": rules.Mean(), "Sum": rules.Sum(), r"Constant_1\.\.T": fixed}.items():
        for entry, _ in case.reference("torchjd", name):
            case.compare(rule(case.gramian), entry["grad"])


@each_matrix
@pytest.mark.parametrize("scale", ["min", "median", "rmse"])
def test_aligned_mtl(matrix: Entry, scale: Any) -> None:
    case = Case(matrix)
    weights = rules.AlignedMTL(scale)(case.gramian)
    # The formula, by the singular values of J. A Gramian knows the squares of the small ones to eps of the largest.
    left, values, _ = torch.linalg.svd(case.rows, full_matrices=False)
    kept = values > tolerance(case.tasks) ** 0.5 * values[0]
    left, values = left[:, kept], values[kept]
    if len(values):
        squares = values.square()
        size = {"min": squares.min(), "median": squares.median(), "rmse": squares.mean()}[scale].sqrt()
        expected = left @ (left.sum(0) / values) * size / case.tasks
        conditioned = 1e-10 + 16 * EPS * float(squares[0] / squares[-1])
    else:
        expected, conditioned = torch.zeros(case.tasks, dtype=torch.float64), 1e-10
    case.compare(weights, (expected @ case.rows).tolist(), conditioned)
    if case.doubtful(case.gramian):
        return
    for entry, _ in case.reference("torchjd", f"AlignedMTL_{scale}"):
        case.compare(weights, entry["grad"], conditioned)
    for entry, _ in case.reference("libmtl", "Aligned_MTL" if scale == "min" else "(?!)"):
        case.compare(case.tasks * weights, entry["grad"], conditioned)


@each_matrix
def test_imtlg(matrix: Entry) -> None:
    case = Case(matrix)
    weights = rules.IMTLG()(case.gramian)
    inverse = pinv(case.units)
    x = inverse.T @ (inverse @ case.active.double())
    expected = torch.where(case.active, x / torch.where(case.active, case.norms, 1.0), 0.0)
    if float((case.units.T @ x).norm()) < 1e-9:  # no common direction
        assert not weights.any()
        return
    expected = expected / expected.sum()
    case.compare(weights, (expected @ case.rows).tolist(), case.solved)
    if case.regular:
        torch.testing.assert_close(weights.sum(), tensor(1.0))
        along = (case.units @ (weights @ case.rows))[case.active]
        torch.testing.assert_close(along, along[:1].expand_as(along), rtol=case.solved, atol=case.noise(weights))
    # The references solve with the Gramian itself, in which small gradients are below rounding, and where gradients
    # depend on each other its pseudo-inverse weighs them by their norms: the same only if these are equal.
    spectrum = case.spectrum(case.gramian[case.active][:, case.active])
    lengths = case.norms[case.active]
    alike = bool((lengths.max() - lengths.min()) <= 1e-12 * lengths.max())
    resolved = spectrum > 3 * tolerance(case.tasks)
    if bool(resolved.all()) if case.regular else alike and not case.doubtful(case.gramian):
        smallest = float(spectrum[resolved].min())
        for entry, _ in case.reference("torchjd", "IMTLG"):
            case.compare(weights, entry["grad"], 1e-10 + 64 * EPS / smallest)
    if case.regular and bool(case.active.all()):
        for entry, _ in case.reference("libmtl", "IMTL_loss_scale=0"):
            # Its first weight is 1 minus the others: with a long first gradient that is rounding. How unequal its
            # projections are tells.
            along = case.units @ tensor(entry["grad"])
            unequal = float((along.max() - along.min()) / along.abs().max())
            case.compare(weights, entry["grad"], case.solved * (1 + unequal / EPS))


@each_matrix
def test_config(matrix: Entry) -> None:
    case = Case(matrix)
    weights = rules.ConFIG()(case.gramian)
    direction = pinv(case.units) @ torch.ones(case.tasks, dtype=torch.float64)
    if float(direction.norm()) < 1e-9:  # none: torchjd gives rounding the length of the gradients
        assert not weights.any()
        return
    direction = direction / direction.norm()
    expected = (case.rows @ direction).sum() * direction
    case.compare(weights, expected.tolist(), case.solved)
    if case.doubtful(cosines_of(case.gramian, case.active)):  # whether two gradients are parallel is within rounding
        return
    for library, name in (("torchjd", "ConFIG"), ("exact", "config_from_gramian")):
        for entry, _ in case.reference(library, name):
            case.compare(weights, entry["grad"], case.solved)


def projected(case: Case, orders: Tensor, eps: float = 0.0) -> Tensor:
    """PCGrad of the paper, vector by vector; LibMTL adds `eps` to the squared norms."""
    total: Tensor = torch.zeros_like(case.rows[0])
    for own, order in zip(case.rows, orders.tolist(), strict=True):
        for other in order:
            inner = own @ case.rows[other]
            if inner < 0:
                own = own - inner / (case.rows[other].square().sum() + eps) * case.rows[other]
        total = total + own
    return total


@each_matrix
def test_pcgrad_in_given_orders(matrix: Entry) -> None:
    case = Case(matrix)
    for entry, match in case.reference("torchjd", r"PCGrad_((?:order|torch_manual_seed)_\w+)"):
        orders = orders_of(match[1], case.tasks)
        weights = project(case.gramian, orders)
        case.compare(weights, projected(case, orders).tolist(), 1e-9)
        case.compare(weights, entry["grad"])
    torch.testing.assert_close(
        rules.PCGrad("fixed")(case.gramian),
        torch.where(case.active, project(case.gramian, orders_of("order_identity", case.tasks)), 0.0),
    )
    # LibMTL goes through all tasks, i itself among them.
    everyone = torch.arange(case.tasks).expand(case.tasks, -1)
    for name, orders in {"identity": everyone, "reversed": everyone.flip(1)}.items():
        for entry, _ in case.reference("libmtl", f"PCGrad_order_{name}"):
            torch.testing.assert_close(
                projected(case, orders, 1e-8), tensor(entry["grad"]), rtol=1e-10, atol=case.noise()
            )
            case.compare(project(case.gramian, orders), projected(case, orders).tolist(), 1e-9)


@each_matrix
def test_pcgrad_mean_over_all_orders(matrix: Entry) -> None:
    case = Case(matrix)
    if case.tasks > 9:
        with pytest.raises(ValueError, match="at most 9 tasks"):
            rules.PCGrad("mean")(case.gramian)
        return
    weights = rules.PCGrad("mean")(case.gramian)
    for entry, _ in case.reference("torchjd", "PCGrad_mean_over_all_orders"):
        case.compare(weights, entry["grad"])
    added = 1e-8 * case.tasks / float(case.norms[case.active].min().square()) if bool(case.active.any()) else 0.0
    everyone = "PCGrad_mean_over_all_T!_orders" if case.tasks <= 8 else "(?!)"  # 9! of them take long
    for entry, _ in case.reference("libmtl", everyone):
        orders = torch.tensor(list(permutations(range(case.tasks))))
        with_itself = project(case.gramian, orders[:, None, :].expand(-1, case.tasks, -1)).mean(0)
        case.compare(with_itself, entry["grad"], 1e-10 + added)


def vaccinated(rows: Tensor, targets: Tensor, orders: Tensor, beta: float, eps: float) -> tuple[Tensor, Tensor, float]:
    """GradVac of the paper, vector by vector; `eps` is what the libraries add.

    Without `eps`, pairs without a gradient, or with one that was cancelled, are left alone. The third result is the
    smallest sine of a pair that was corrected.
    """
    total, targets, smallest = torch.zeros_like(rows[0]), targets.clone(), 1.0
    for i, (own, order) in enumerate(zip(rows, orders.tolist(), strict=True)):
        parts = float(own.norm())
        for j in order:
            norms = float(own.norm()), float(rows[j].norm())
            if norms[0] <= tolerance(len(rows)) ** 0.5 * parts or not norms[1]:
                if not eps:
                    continue
                smallest = 0.0 if parts and norms[1] else smallest
            cosine, target = float(own @ rows[j]) / (norms[0] * norms[1] + eps), float(targets[i, j])
            cosine = max(-1.0, min(1.0, cosine))
            sine, target_sine = math.sqrt(1 - cosine**2), math.sqrt(max(0.0, 1 - target**2))
            if cosine < target:
                smallest = min(smallest, sine)
                step = norms[0] * (target * sine - cosine * target_sine) / (norms[1] * target_sine + eps)
                own = own + step * rows[j]
                parts += abs(step) * norms[1]
            targets[i, j] = (1 - beta) * target + beta * cosine
        total = total + own
    return total, targets, smallest


@each_matrix
def test_gradvac_two_calls(matrix: Entry) -> None:
    case = Case(matrix)
    second = case.rows.roll(1, 0) * torch.linspace(0.5, 1.5, case.tasks, dtype=torch.float64)[:, None]
    for kind in ("order_identity", "order_reversed"):
        orders = orders_of(kind, case.tasks)
        expected, targets = torch.zeros(2, case.tasks, case.tasks, dtype=torch.float64)
        for rows in (case.rows, second):
            weights, targets = vaccinate(rows @ rows.T, rows.norm(dim=1) > 0, targets, orders, 0.5)
            gradient, expected, sine = vaccinated(rows, expected, orders, 0.5, 0.0)
            # Beside parallel gradients the sine is a difference of almost equal numbers.
            relative = 1e-9 if sine > 1e-3 else 1e-5
            bound = relative * float((weights.abs()[:, None] * rows.abs()).max())
            torch.testing.assert_close(weights @ rows, gradient, rtol=0.0, atol=bound)
            torch.testing.assert_close(targets, expected, rtol=0.0, atol=relative)
    for library, calls, targets_name in (
        ("torchjd", ("call1_on_J", "call2_on_roll1(J)*linspace(.5,1.5)"), "phi_after"),
        ("libmtl", ("call1", "call2"), "rho_after"),
    ):
        for entry, match in case.reference(library, r"GradVac_(order_\w+)"):
            targets = torch.zeros(case.tasks, case.tasks, dtype=torch.float64)
            for rows, call in zip((case.rows, second), calls, strict=True):
                gradient, targets, sine = vaccinated(rows, targets, orders_of(match[1], case.tasks), 0.5, 1e-8)
                expected = tensor(entry[call]["grad"] if library == "torchjd" else entry[call])
                bound = (1e-10 if sine > 1e-3 else 1e-5) * float(expected.abs().max()) + 100 * case.noise()
                torch.testing.assert_close(gradient, expected, rtol=0.0, atol=bound)
                if (
                    sine < 1e-3
                ):  # a gradient was cancelled, and the reference averages the cosines of what rounding left
                    break
            else:
                torch.testing.assert_close(targets, tensor(entry[targets_name]), rtol=0.0, atol=1e-9)


@each_matrix
def test_gradnorm(matrix: Entry) -> None:
    case = Case(matrix)
    pattern = r"GradNorm_alpha=([\d.]+)_losses=linspace\(([\d.]+),([\d.]+)\)_initial=linspace\(([\d.]+),([\d.]+)\)"
    for entry, match in case.reference("libmtl", pattern):
        alpha, *ends = map(float, match.groups())
        losses, initial = (torch.linspace(ends[i], ends[i + 1], case.tasks, dtype=torch.float64) for i in (0, 2))
        rule = rules.GradNorm(alpha, lr=0.0)
        rule.allocate(1, case.tasks)
        rule(case.gramian, losses=initial)
        rule.lr = 1.0
        case.compare(rule(case.gramian, losses=losses), entry["grad"])
        mean = float(case.norms.mean())
        if not bool(case.active.all()):  # the reference counts tasks without gradient in its means
            assert not rule.logits[0, ~case.active].any()
            continue
        rate = losses / initial
        distance = case.norms / mean - (rate / rate.mean()) ** alpha
        if float(distance.abs().min()) > 1e-9:  # at the target the sign is rounding
            expected = -tensor(entry["grad_of_loss_scale_logits"]) / mean
            torch.testing.assert_close(rule.logits[0], expected, rtol=0.0, atol=1e-10 * float(expected.abs().max()))


@each_matrix
def test_db_mtl(matrix: Entry) -> None:
    case = Case(matrix)
    for entry, match in case.reference("libmtl", r"DB_MTL_beta=([\d.]+)_sigma=0_losses=linspace\(([\d.]+),([\d.]+)\)"):
        beta, low, high = map(float, match.groups())
        losses = torch.linspace(low, high, case.tasks, dtype=torch.float64)
        # The reference adds 1e-8 to the losses and to the norms of its averages, and begins these at 0.
        gradients = []
        for eps in (1e-8, 0.0):
            average = (1 - beta) * case.rows / (losses[:, None] + eps)
            norms = average.norm(dim=1)
            gradients.append((norms.max() / torch.where(case.active, norms + eps, 1.0)) @ average)
        weights = (1 - beta) * rules.DBMTL()(case.gramian, losses=losses)
        torch.testing.assert_close(gradients[0], tensor(entry["call1"]), rtol=1e-10, atol=case.noise(weights))
        case.compare(weights, gradients[1].tolist())


@each_matrix
def test_every_entry_is_known(matrix: Entry) -> None:
    """A name that no pattern above matches would silently not be compared."""
    known = {
        "torchjd": r"Mean|Sum|Constant_1\.\.T|AlignedMTL_(min|median|rmse)|IMTLG|ConFIG|PCGrad_mean_over_all_orders|"
        r"PCGrad_(order_(identity|reversed)|torch_manual_seed_\d+)|GradVac_order_(identity|reversed)",
        "libmtl": r"Aligned_MTL|IMTL_loss_scale=0|PCGrad_order_(identity|reversed)|PCGrad_mean_over_all_T!_orders|"
        r"GradVac_order_(identity|reversed)|GradNorm_alpha=[\d.]+_losses=linspace\(.*\)_initial=linspace\(.*\)|"
        r"DB_MTL_beta=[\d.]+_sigma=0_losses=linspace\(.*\)",
    }
    ours = ["Mean", "Sum", "Constant", "Aligned", "IMTL", "ConFIG", "PCGrad", "GradVac", "GradNorm", "DB_MTL"]
    for library, names in known.items():
        for name in matrix.get(library, {}):
            if name.startswith(tuple(ours)):
                assert re.fullmatch(names, name), f"{library}: {name}"
