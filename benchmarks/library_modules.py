"""Other people's libraries with their losses handed over: one function each, on a few made-up rows.

Each takes the trainer's callbacks and trains for a few steps: the library as it stands, or with what a user changes to
hand its losses over. What is in classes and under `handed_over` is that change; all else is how the library is used.
"""

from collections.abc import Sequence
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

STEPS = 6
QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "enable_checkpointing": False,
    "enable_model_summary": False,
    "enable_progress_bar": False,
    "logger": False,
}
Callbacks = Sequence[L.Callback]


def fit(module: L.LightningModule, data: Any, callbacks: Callbacks, **more: Any) -> None:
    trainer = L.Trainer(max_steps=STEPS, max_epochs=1, callbacks=list(callbacks), **QUIET, **more)
    trainer.fit(module, data)


def chemprop(handed_over: bool, callbacks: Callbacks) -> None:
    """A message passing network with three properties to predict, some of them not measured."""
    from chemprop import data, models
    from chemprop import nn as layers

    class PerTask(models.MPNN):  # type: ignore[misc]
        def training_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
            bmg, V_d, X_d, targets, weights, *bounds = batch  # noqa: N806  # chemprop's names
            mask = targets.isfinite()
            preds = self.predictor.train_step(self.fingerprint(bmg, V_d, X_d))
            each = self.criterion._calc_unreduced_loss(preds, targets.nan_to_num(), mask, weights, *bounds)
            return {"loss": (each * weights * self.criterion.task_weights * mask).sum(0) / mask.sum()}

    draw = np.random.default_rng(0)
    smiles = ["C" * n + end for n in range(1, 13) for end in ("O", "N", "C(=O)O", "c1ccccc1")]
    targets = draw.normal(size=(len(smiles), 3))
    targets[draw.random(targets.shape) < 0.2] = np.nan
    rows = data.MoleculeDataset([data.MoleculeDatapoint.from_smi(s, y) for s, y in zip(smiles, targets, strict=True)])
    ffn = layers.RegressionFFN(n_tasks=3, input_dim=16, hidden_dim=16)
    parts = (layers.BondMessagePassing(d_h=16), layers.MeanAggregation(), ffn)
    module = (PerTask if handed_over else models.MPNN)(*parts, batch_norm=True, init_lr=0.01, max_lr=0.02)
    fit(module, data.build_dataloader(rows, batch_size=8, num_workers=0, shuffle=False), callbacks)


class _Bert(L.LightningModule):
    """BERT's own two tasks; the output layer of the words is the table that they are looked up in."""

    def __init__(self, handed_over: bool) -> None:
        from transformers import BertConfig, BertForPreTraining

        super().__init__()
        self.handed_over = handed_over
        sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
        self.bert = BertForPreTraining(BertConfig(vocab_size=50, max_position_embeddings=12, **sizes))

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        ids, words, follows = batch
        if not self.handed_over:
            return self.bert(input_ids=ids, labels=words, next_sentence_label=follows).loss
        out = self.bert(input_ids=ids)
        word = F.cross_entropy(out.prediction_logits.flatten(0, 1), words.flatten())
        return {"loss": torch.stack([word, F.cross_entropy(out.seq_relationship_logits, follows)])}

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


def _tokens(*more: Tensor) -> DataLoader[Any]:
    rows = STEPS * 8
    return DataLoader(TensorDataset(torch.randint(0, 50, (rows, 10)), torch.randint(0, 50, (rows, 10)), *more), 8)


def transformers_bert(handed_over: bool, callbacks: Callbacks) -> None:
    """Masked words and the next sentence."""
    fit(_Bert(handed_over), _tokens(torch.randint(0, 2, (STEPS * 8,))), callbacks, precision="64-true")


class _T5(L.LightningModule):
    """T5 translates, and a head on its encoder tells a number; the decoder is one task's, the table all's."""

    def __init__(self, handed_over: bool) -> None:
        from transformers import T5Config, T5ForConditionalGeneration

        super().__init__()
        self.handed_over = handed_over
        sizes = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
        self.t5 = T5ForConditionalGeneration(T5Config(vocab_size=50, decoder_start_token_id=0, **sizes))
        self.number = nn.Linear(16, 1)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        ids, words, y = batch
        out = self.t5(input_ids=ids, labels=words)
        number = self.number(out.encoder_last_hidden_state.mean(1)).squeeze(1)
        losses = {"words": out.loss, "number": F.mse_loss(number, y)}
        return {"loss": sum(losses.values()), "losses": losses} if self.handed_over else sum(losses.values())

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


def transformers_t5(handed_over: bool, callbacks: Callbacks) -> None:
    """Words out of words, and a number."""
    fit(_T5(handed_over), _tokens(torch.randn(STEPS * 8)), callbacks, precision="64-true")


class _GPT2(L.LightningModule):
    """The next word, and which of two endings is right, with the blocks' activations made again in the passes."""

    def __init__(self, handed_over: bool) -> None:
        from transformers import GPT2Config, GPT2DoubleHeadsModel

        super().__init__()
        self.handed_over = handed_over
        self.gpt2 = GPT2DoubleHeadsModel(GPT2Config(vocab_size=50, n_positions=12, n_embd=16, n_layer=2, n_head=2))
        self.gpt2.gradient_checkpointing_enable({"use_reentrant": False})

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        ids, other, right = batch
        endings = torch.stack([ids, other], 1)
        out = self.gpt2(input_ids=endings, labels=endings, mc_labels=right)
        if self.handed_over:
            return {"loss": torch.stack([out.loss, out.mc_loss])}
        return out.loss + out.mc_loss

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


def transformers_gpt2(handed_over: bool, callbacks: Callbacks) -> None:
    """The next word, and the right ending."""
    fit(_GPT2(handed_over), _tokens(torch.randint(0, 2, (STEPS * 8,))), callbacks, precision="64-true")


def anomalib_ganomaly(handed_over: bool, callbacks: Callbacks) -> None:
    """A generator with three losses, and the discriminator against it with one of its own."""
    from anomalib.data import ImageBatch
    from anomalib.models import Ganomaly
    from anomalib.models.image.ganomaly.loss import GeneratorLoss
    from anomalib.pre_processing import PreProcessor
    from torchvision.transforms.v2 import Resize

    class Apart(GeneratorLoss):  # type: ignore[misc]
        def forward(self, z: Tensor, z_again: Tensor, real: Tensor, fake: Tensor, *judged: Tensor) -> Tensor:
            parts = [
                self.loss_adv(*judged) * self.wadv,
                self.loss_con(real, fake) * self.wcon,
                self.loss_enc(z, z_again) * self.wenc,
            ]
            self.parts = torch.stack(parts)
            return self.parts.sum()

    class PerTask(Ganomaly):  # type: ignore[misc]
        def manual_backward(self, loss: Tensor, **kwargs: Any) -> None:
            of_generator = kwargs.get("retain_graph", False)
            super().manual_backward(self.generator_loss.parts if of_generator else loss, **kwargs)

    off = {"post_processor": False, "evaluator": False, "visualizer": False}
    kind = PerTask if handed_over else Ganomaly
    module = kind(8, 4, 8, lr=0.001, pre_processor=PreProcessor(Resize((32, 32))), **off)
    if handed_over:
        module.generator_loss = Apart(
            module.generator_loss.wadv, module.generator_loss.wcon, module.generator_loss.wenc
        )
    rows: Any = [ImageBatch(image=torch.rand(8, 3, 32, 32)) for _ in range(STEPS // 2)]
    fit(module, DataLoader(rows, batch_size=None), callbacks)


def scvi_totalvi(handed_over: bool, callbacks: Callbacks) -> None:
    """Genes and proteins of cells, each with a reconstruction and a divergence, in manual optimisation."""
    import anndata
    from scvi.model import TOTALVI
    from scvi.train import AdversarialTrainingPlan

    class PerTask(AdversarialTrainingPlan):  # type: ignore[misc]
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            *outputs, found = super().forward(*args, **kwargs)
            each, warm = found.reconstruction_loss | found.kl_local, self.loss_kwargs["kl_weight"]
            weights = {"reconst_loss_gene": 1, "reconst_loss_protein": warm, "kl_div_z": warm, "kl_div_back_pro": warm}
            self.parts = torch.stack([weight * each[name].mean() for name, weight in weights.items()])
            return *outputs, found

        def manual_backward(self, loss: Tensor, **kwargs: Any) -> None:
            super().manual_backward(self.parts, **kwargs)

    draw = np.random.default_rng(0)
    cells = anndata.AnnData(draw.poisson(2.0, (80, 30)).astype("float32"))
    cells.obs["batch"] = np.arange(80) % 2
    cells.obs["batch"] = cells.obs["batch"].astype(str)
    cells.obsm["proteins"] = draw.poisson(5.0, (80, 6)).astype("float32")
    TOTALVI.setup_anndata(cells, batch_key="batch", protein_expression_obsm_key="proteins")
    model = TOTALVI(cells, n_latent=4, n_hidden=16)
    if handed_over:
        model._training_plan_cls = PerTask
    model.train(
        max_epochs=1,
        max_steps=STEPS,
        batch_size=12,
        train_size=0.9,
        shuffle_set_split=False,
        early_stopping=False,
        reduce_lr_on_plateau=False,
        adversarial_classifier=False,
        lr=0.05,
        n_steps_kl_warmup=3,
        callbacks=list(callbacks),
        **QUIET,
    )
