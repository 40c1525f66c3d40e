"""One gradient from T: in one matrix, whatever the groups, as parameter by parameter."""

import pytest
import torch

from mtlzoo.callbacks.surgery.combine import combine, private
from mtlzoo.callbacks.surgery.groups import Groups
from mtlzoo.callbacks.surgery.rows import Rows
from mtlzoo.callbacks.surgery.task_gradients import ParameterGradients


def test_combine_parameters_of_several_types() -> None:
    parameters = [torch.nn.Parameter(torch.zeros(5, dtype=kind)) for kind in (torch.bfloat16, torch.float32)]
    gradients = [torch.randn(2, 5).to(parameter.dtype) for parameter in parameters]
    shared: dict[torch.Tensor, ParameterGradients] = {
        parameter: ParameterGradients(0b11, dense={0: pair[0], 1: pair[1]})
        for parameter, pair in zip(parameters, gradients, strict=True)
    }
    groups = Groups.of("model", parameters, [])
    made = combine(shared, 2, groups, lambda gramians, numbers: gramians.new_tensor([[2.0, -1.0]]))
    for parameter, pair in zip(parameters, gradients, strict=True):
        torch.testing.assert_close(made[parameter], 2 * pair[0].float() - pair[1].float())


@pytest.mark.parametrize("level", ["model", "parameter", "row"])
def test_combine_in_one_matrix_as_parameter_by_parameter(level: str) -> None:
    """Neighbouring tables of one width, another width, a table that is read densely, tasks that reach only some."""
    tables = [torch.nn.Parameter(torch.zeros(9000 + k, dim)) for k, dim in enumerate((4, 4, 3))]
    whole, matrix = torch.nn.Parameter(torch.zeros(6, 3)), torch.nn.Parameter(torch.zeros(70, 80))
    shared: dict[torch.Tensor, ParameterGradients] = {}
    dense: dict[torch.Tensor, torch.Tensor] = {}
    for number, table in enumerate(tables):
        index = torch.randperm(len(table))[: 7000 * (number != 1)].sort().values
        values = {task: torch.randn(len(index), table.shape[1]) for task in range(3) if task != number}
        shared[table] = ParameterGradients(0b111, rows=[Rows(index, values)])
        zeros = torch.zeros(3, *table.shape)
        for task, gradient in values.items():
            zeros[task, index] = gradient
        dense[table] = zeros
    for other in (whole, matrix):
        values = {task: torch.randn(other.shape) for task in range(3)}
        shared[other] = ParameterGradients(0b111, dense=dict(values))
        dense[other] = torch.stack(list(values.values()))
    groups = Groups.of(level, shared, [*tables, whole])  # type: ignore[arg-type]

    def rule(gramians: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        assert len(gramians) == len(numbers) == len(numbers.unique())
        return gramians.sum(-1) / gramians.diagonal(dim1=1, dim2=2).sum(1, keepdim=True).clamp_min(1e-30)

    def weights(block: torch.Tensor) -> torch.Tensor:
        rows = block.flatten(1).double()
        return rule((rows @ rows.T)[None], torch.zeros(1))[0].float()

    made = combine(shared, 3, groups, rule)
    model = weights(torch.cat([block.flatten(1) for block in dense.values()], 1))
    for parameter, block in dense.items():
        if level == "row" and parameter is not matrix:
            expected = torch.stack([weights(row) @ row for row in block.unbind(1)])
        else:
            weight = model if level == "model" else weights(block)
            expected = (weight @ block.flatten(1)).view_as(parameter)
        torch.testing.assert_close(made[parameter], expected, rtol=1e-5, atol=1e-5)


def test_tasks_that_an_earlier_step_showed_count_as_zero() -> None:
    parameters = [torch.nn.Parameter(torch.zeros(3)) for _ in range(3)]
    first, second = (ParameterGradients(0b01, dense={0: torch.ones(3)}, certain=False) for _ in range(2))
    third = ParameterGradients(0b00, certain=False)
    first.tasks |= 0b10  # what the steps before have shown
    third.tasks |= 0b10
    assert first.shared
    groups = Groups.of("parameter", parameters, [])
    made = combine({parameters[0]: first}, 2, groups, lambda gramians, numbers: gramians.new_tensor([[2.0, 5.0]]))
    assert made[parameters[0]].tolist() == [2, 2, 2]
    for parameter, entry, wanted in ((parameters[1], second, 1.0), (parameters[2], third, 0.0)):
        gradient = private(parameter, entry)
        assert not entry.shared
        assert gradient is not None
        assert gradient.tolist() == [wanted] * 3
    assert private(parameters[2], ParameterGradients(0b10)) is None
