"""PMTRec: recommendation as the main one of several tasks of users and items (Yang et al., IEEE BigData 2024)."""

from typing import Any, Literal, TypeAlias, cast

import torch
from torch import Tensor, nn

from mtlzoo.layers import MLP, module_keys
from mtlzoo.module import Schema
from mtlzoo.precision import single
from mtlzoo.ranking.encoders import NGCF, Encoder, GraphEncoder, LightGCN, MatrixFactorization
from mtlzoo.ranking.full_ranking import top_items
from mtlzoo.ranking.vector_losses import RANKINGS, AlignmentUniformity, Link, Ranking, VectorLoss, Vectors
from mtlzoo.recommending import RecommendingModule
from mtlzoo.schema import Batch
from mtlzoo.tasks import KINDS, VECTOR_KINDS, Task

EncoderName: TypeAlias = Literal["mf", "lightgcn", "ngcf"]
RankingLoss: TypeAlias = Literal["bpr", "softmax", "directau"]


class PMTRec(RecommendingModule):
    """One vector per user and item, ``s(u, i) = e_u . e_i``, learned from every source that the schema names.

    The loss of a task follows from its kind:

    * ranking: `ranking_loss` over positive interactions and sampled items; evaluated on the full ranking of all items
      that the user has no positive interaction with in train (recall, hit rate, NDCG, MRR at 5, 10, 20, 40);
    * link: logistic losses of the dot products of a linked pair and of one that is not;
    * alignment: DirectAU's alignment and uniformity of the batch's positive interactions;
    * regression: squared error of the dot product, ``(e_u . e_i - r)^2``; one per model;
    * binary: logistic loss of a linear function of ``e_u * e_i``;
    * multiclass, multilabel: attribute of the item, linear in ``e_i``.

    The paper prints none of these losses; they are what its names, its citations and its sibling's code say. Its method
    is how their gradients become one: ``GradientSurgery(PMTRecRule(main_task=...), level="row")``. Without it the
    losses are summed ("EW"). Users and items are rows of one table, so that every row has a gradient of every task, be
    it zero, as in the paper's Algorithm 1.

    Source: Yang et al., "Personalized Multi-task Training for Recommender System", IEEE BigData 2024; encoders: BPR
    (UAI 2009), LightGCN (SIGIR 2020), NGCF (SIGIR 2019).

    Args:
        schema: User, item, tasks and links; other features are not used.
        embedding_dim: Width of the table.
        encoder: ``mf`` (the table itself), ``lightgcn`` or ``ngcf`` (messages along the interactions of train).
        layers: Layers of a graph encoder.
        ranking_loss: ``bpr``, ``softmax`` (over the sampled items), or ``directau`` (alignment and uniformity).
        gamma: Weight of the uniformity in every alignment.
        dropout: Of messages, for ``ngcf``.
        **base: Options of `MultiTaskModule`.

    Raises:
        ValueError: An option out of range, or a schema without user and item.
    """

    task_kinds = frozenset(KINDS)

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: int = 32,
        encoder: EncoderName = "mf",
        layers: int = 3,
        ranking_loss: RankingLoss = "bpr",
        gamma: float = 0.4,
        dropout: float = 0.0,
        **base: Any,
    ) -> None:
        super().__init__(schema, **base)
        if encoder not in ("mf", "lightgcn", "ngcf") or ranking_loss not in (*RANKINGS, "directau"):
            raise ValueError(
                f"PMTRec: encoder={encoder!r}, ranking_loss={ranking_loss!r}; allowed are 'mf', 'lightgcn' and 'ngcf'; "
                f"{[*RANKINGS, 'directau']}."
            )
        if self.compiled != "none":
            raise ValueError(
                f"PMTRec: compile={self.compiled!r}, but it looks up vectors and compares them, which leaves a "
                "compiler nothing to make kernels of; allowed is 'none'."
            )
        if layers < 1 or not gamma >= 0:
            raise ValueError(f"PMTRec: layers={layers}, gamma={gamma}; allowed are layers >= 1, gamma >= 0.")
        if encoder != "mf" and self.sparse:
            raise ValueError(f"PMTRec: sparse=True with encoder={encoder!r}, whose gradients are dense; leave it out.")
        if dropout and encoder != "ngcf":
            raise ValueError(f"PMTRec: dropout={dropout} with encoder={encoder!r}; only 'ngcf' has any.")
        self.places = tuple(self._place(role) for role in ("user", "item"))
        users, items = (self.schema.categorical[place].cardinality for place in self.places)
        self.encoder: Encoder = _encoder(encoder, users, items, embedding_dim, layers, dropout, sparse=self.sparse)
        kinds = [task.kind for task in self.schema.tasks]
        for kind in ("ranking", "regression"):
            if kinds.count(kind) > 1:
                raise ValueError(
                    f"PMTRec: {kinds.count(kind)} tasks of kind {kind!r}, and one dot product; choose one of them."
                )
        self.vector_losses = self._vector_losses(ranking_loss, gamma)
        if self.accumulate > 1 and any(isinstance(loss, AlignmentUniformity) for loss in self.vector_losses.values()):
            raise ValueError(
                f"PMTRec: accumulate={self.accumulate} with uniformity, which is of all pairs of a batch and not the "
                "sum of its parts. Leave accumulate at 1."
            )
        predicted = [task for task in self.schema.tasks if task.kind in ("binary", "multiclass", "multilabel")]
        self.head_keys = module_keys(task.name for task in predicted)
        self.heads = nn.ModuleDict(
            {self.head_keys[task.name]: MLP(self.encoder.width, (), task.outputs) for task in predicted}
        )
        self._everything: Tensor | None = None

    def _place(self, role: str) -> int:
        name = getattr(self.schema, role)
        for place, feature in enumerate(self.schema.categorical):
            if feature.name == name:
                return place
        raise ValueError(f"PMTRec: the schema names no {role}; it compares users with items.")

    def _vector_losses(self, ranking_loss: RankingLoss, gamma: float) -> dict[str, VectorLoss]:
        columns = {task.name: columns.start for task, columns in self.schema.label_columns}
        positive = next((columns[task.name] for task in self.schema.tasks if task.kind == "ranking"), None)
        losses: dict[str, VectorLoss] = {}
        for task in self.schema.tasks:
            if task.kind == "link":
                losses[task.name] = Link(task.name)
            elif task.kind == "alignment" or (task.kind == "ranking" and ranking_loss == "directau"):
                losses[task.name] = AlignmentUniformity(positive, gamma)
            elif task.kind == "ranking":
                losses[task.name] = Ranking(columns[task.name], RANKINGS[ranking_loss])
        return losses

    # ---- the network

    @property
    def shared_modules(self) -> list[str]:
        """The encoder's vectors."""
        return ["encoder"]

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Scores of rankings, dot products of regressions, logits of the rest; none of links and alignments."""
        users, items = (batch["categorical"][:, place] for place in self.places)
        if self._everything is None:
            return self._logits(*self.encoder(users, items))
        user, item = (self._everything.index_select(0, ids) for ids in (users, items + self.encoder.users))
        return self._logits(user, item)

    def _logits(self, user: Tensor, item: Tensor) -> dict[str, Tensor]:
        both = user * item
        return {task.name: self._logit(task, both, item) for task in self.schema.tasks if task.label_width}

    def _logit(self, task: Task, both: Tensor, item: Tensor) -> Tensor:
        if task.name not in self.head_keys:
            return both.sum(-1)
        head = cast(MLP, self.heads[self.head_keys[task.name]])
        x = both if task.kind == "binary" else item
        logits: Tensor = head(x.to(next(head.parameters()).dtype))
        return logits.squeeze(-1)

    # ---- training

    def batch_losses(self, batch: Batch, counts: Tensor) -> list[Tensor]:
        """Weighted loss of every task, T scalars."""
        vectors = self._vectors(batch)
        logits = self._logits(vectors.user, vectors.item)
        masks = self.observed(batch).unbind(1)
        rows = [
            self.vector_losses[task.name](vectors, batch, mask)
            if task.kind in VECTOR_KINDS
            else task.row_losses(logits[task.name], batch["labels"][:, columns])[0]
            for (task, columns), mask in zip(self.schema.label_columns, masks, strict=True)
        ]
        return self.mean_losses(rows, batch, counts)

    def observed(self, batch: Batch) -> Tensor:
        """Which rows observe each task: bool [B, T]."""
        masks = super().observed(batch)
        for i, task in enumerate(self.schema.tasks):
            if task.kind in VECTOR_KINDS:
                masks[:, i] = self.vector_losses[task.name].observed(batch)
        return masks

    def _vectors(self, batch: Batch) -> Vectors:
        """Vectors of everything that the batch names, by one lookup."""
        users, items = (batch["categorical"][:, place].unsqueeze(1) for place in self.places)
        of = {link.name: link.of for link in self.schema.links if link.name in self.vector_losses}
        user_ids = [users, *(batch[name] for name, kind in of.items() if kind == "user")]
        negative = [batch["negative"]] if "negative" in batch else []
        item_ids = [items, *negative, *(batch[name] for name, kind in of.items() if kind == "item")]
        user_vectors, item_vectors = self.encoder(*(torch.cat(ids, 1).flatten() for ids in (user_ids, item_ids)))
        user, *user_links = _split(user_vectors, user_ids)
        item, *rest = _split(item_vectors, item_ids)
        sampled = rest.pop(0) if negative else None
        links = {name: (user_links if kind == "user" else rest).pop(0) for name, kind in of.items()}
        return Vectors(user.squeeze(1), item.squeeze(1), sampled, links)

    def setup(self, stage: str) -> None:
        """Gives a graph encoder the interactions of train."""
        super().setup(stage)
        if isinstance(self.encoder, GraphEncoder) and not len(self.encoder.neighbours):
            data = getattr(self.trainer, "datamodule", None)
            pairs = getattr(data, "interactions", None)
            if pairs is None:
                raise ValueError(
                    f"PMTRec: encoder={type(self.encoder).__name__} passes messages along interactions, and "
                    f"{type(data).__name__} has none. Use a RankingDataModule, or call model.encoder.connect(users, "
                    "items) first."
                )
            self.encoder.connect(*pairs)

    # ---- evaluation

    @property
    def monitor(self) -> tuple[str, Literal["min", "max"]]:
        """The ranking's recall at 20, where there is a ranking."""
        ranking = next((task.name for task in self.schema.tasks if task.kind == "ranking"), None)
        return super().monitor if ranking is None else (f"val/{ranking}/recall@20", "max")

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor] | None:
        """Adds a batch to the metrics: users with what they should be shown, or rows, whose logits it returns."""
        if "relevant" in batch:
            self._rank(batch)
            return None
        logits: dict[str, Tensor] = self(batch)
        for (task, columns), metrics in zip(self.schema.label_columns, self._metrics(), strict=True):
            if task.kind not in VECTOR_KINDS:
                metrics.update(logits[task.name], batch["labels"][:, columns], batch.get("weight"), batch.get("group"))
        return logits

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _rank(self, batch: Batch) -> None:
        users, items = self.vectors()
        for task, metrics in zip(self.schema.tasks, self._metrics(), strict=True):
            if task.kind == "ranking":
                some = users[batch["user"]]
                top = top_items(some, items, metrics.ranking.largest, batch["seen"])
                # Items without a score are never shown, which would read as a bad ranking.
                broken = ~(some.isfinite().all(1) & items.isfinite().all())
                metrics.ranking.update(top, batch["relevant"], broken)

    def vectors(self) -> tuple[Tensor, Tensor]:
        """Vectors of all users and of all items, by id; those that were encoded once where predictions are made."""
        everything = single(self.encoder.everything()) if self._everything is None else self._everything
        users, items = everything.split([self.encoder.users, self.encoder.items])
        return users, items

    def on_validation_epoch_start(self) -> None:
        """Encodes everything once."""
        with torch.no_grad():
            self._everything = single(self.encoder.everything())

    def on_validation_epoch_end(self) -> None:
        """Logs the metrics."""
        self._everything = None
        super().on_validation_epoch_end()

    def on_test_epoch_start(self) -> None:
        """Encodes everything once."""
        self.on_validation_epoch_start()

    def on_test_epoch_end(self) -> None:
        """Logs the metrics."""
        self._everything = None
        super().on_test_epoch_end()

    def on_predict_epoch_start(self) -> None:
        """Encodes everything once."""
        self.on_validation_epoch_start()

    def on_predict_epoch_end(self) -> None:
        """Forgets it."""
        self._everything = None


def _encoder(
    name: EncoderName, users: int, items: int, dim: int, layers: int, dropout: float, *, sparse: bool
) -> Encoder:
    if name == "mf":
        return MatrixFactorization(users, items, dim, sparse=sparse)
    if name == "lightgcn":
        return LightGCN(users, items, dim, layers=layers)
    return NGCF(users, items, dim, layers=layers, dropout=dropout)


def _split(vectors: Tensor, ids: list[Tensor]) -> list[Tensor]:
    """Vectors [B * columns, d] of ids side by side, as [B, columns, d] each."""
    widths = [part.shape[1] for part in ids]
    return list(vectors.view(len(ids[0]), sum(widths), -1).split(widths, 1))
