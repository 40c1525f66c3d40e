"""`DistributedModule`: one model in several processes. With one process all is as it was."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mtlzoo import precision
from mtlzoo.callbacks import collectives
from mtlzoo.constants import constant_buffers
from mtlzoo.optim import coalesce
from mtlzoo.schema import Batch
from mtlzoo.training.resumable import ResumableModule


class DistributedModule(ResumableModule):
    """The same weights and buffers in every process, beside what DDP sends.

    Tables with sparse gradients are not for DDP, whose reducer makes them dense or (NCCL) refuses them; constants it
    would send with every forward.
    """

    sparse: bool
    """Whether the gradients of tables are sparse."""

    def tables(self) -> dict[str, Tensor]:
        """Weights of all embedding tables, by parameter name."""
        return {
            f"{name}.weight": module.weight
            for name, module in self.named_modules()
            if isinstance(module, nn.Embedding | nn.EmbeddingBag)
        }

    def setup(self, stage: str) -> None:
        """Meets the data, keeps them exact, and takes away from DDP what is not for it: constants and sparse tables.

        Raises:
            ValueError: Data that mean something else than those of the training, or nothing is left for DDP.
        """
        super().setup(stage)
        precision.keep_exact(self)
        self._ddp_params_and_buffers_to_ignore = constant_buffers(self)
        if not self.sparse:
            return
        tables = self.tables()
        trained = [name for name, parameter in self.named_parameters() if parameter.requires_grad]
        if self.trainer.world_size > 1 and set(trained) <= set(tables):
            raise ValueError(
                f"{type(self).__name__}: sparse=True in {self.trainer.world_size} processes, and nothing but tables to "
                "train, which DDP does not wrap. Leave sparse out, or train in one process."
            )
        self._ddp_params_and_buffers_to_ignore += tables

    def teardown(self, stage: str) -> None:
        """Leaves the trainer as it was."""
        super().teardown(stage)
        precision.give_back(self)

    def on_fit_start(self) -> None:
        """Starts every process from the same tables, as DDP does for the rest."""
        super().on_fit_start()
        if self.sparse:
            collectives.agree(self.tables().values())

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Lets the step begin with the first process's buffers."""
        collectives.send_buffers(self.trainer.strategy.model)

    def on_validation_start(self) -> None:
        """Lets the validation begin with the first process's buffers."""
        super().on_validation_start()
        collectives.send_buffers(self.trainer.strategy.model)

    def on_train_end(self) -> None:
        """Gives every process the buffers of the first: a test that follows has no DDP to do so."""
        constant = set(constant_buffers(self))
        collectives.agree(buffer for name, buffer in self.named_buffers() if name not in constant)


def mean_sparse_gradients(tables: Sequence[Tensor]) -> None:
    """Replaces every sparse gradient by its mean over the processes; only touched rows travel.

    A table that one process alone looked up gets its gradient in all of them; one that none did, in none. The host
    waits for the device once.
    """
    if collectives.world_size() == 1 or not tables:
        return
    owns = [_nothing(table) if table.grad is None else coalesce(table.grad) for table in tables]
    facts = [
        [table.grad is not None, *collectives.in_its_place(len(own._values()))]
        for table, own in zip(tables, owns, strict=True)
    ]
    found = collectives.largest(facts, tables[0].device)
    looked_up = [(table, own) for table, own, (there, *_) in zip(tables, owns, found, strict=True) if there]
    lengths = [its for there, *its in found if there]
    number = torch.int32 if all(len(table) < 2**31 for table in tables) else torch.int64
    index = collectives.gather_known([own._indices()[0].to(number) for _, own in looked_up], lengths)
    values = collectives.gather_known([own._values() for _, own in looked_up], lengths)
    for (table, _), rows, parts in zip(looked_up, index, values, strict=True):
        mean = torch.cat(parts) / collectives.world_size()
        table.grad = torch.sparse_coo_tensor(torch.cat(rows).long()[None], mean, table.shape, check_invariants=False)


def _nothing(table: Tensor) -> Tensor:
    """The gradient of a table that was not looked up."""
    index = torch.empty(1, 0, dtype=torch.int64, device=table.device)
    none = table.detach().new_empty(0, *table.shape[1:])
    return torch.sparse_coo_tensor(index, none, table.shape, is_coalesced=True, check_invariants=False)
