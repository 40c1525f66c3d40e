"""What rules do to the tasks on real data: a short training of the same model per rule, seed for seed.

    python benchmarks/rules.py --root DIR [--epochs 2] [--seeds 0] [--rules Sum PCGrad ...]

MMoE of configs/experiment/kuairand_mmoe.yaml on KuaiRand-Pure (click, long view, like), without averaged weights and
without `past`, each rule with its defaults at level `model` (those with a main task: click), `PCGrad row` at level
`row`. What is reported is the validation AUC after the last epoch: nothing is chosen on it. No rule got a learning rate
of its own, which some would need (see docs/surgery.md), so this shows what a rule does and not how good it can be.

Result: benchmarks/results/rules.json, written after each training; benchmarks/pictures.py draws it.
"""

import argparse
import time
from typing import Any

import lightning as L
import torch
from report import show, write

from mtlzoo import MMoE
from mtlzoo.callbacks import GradientSurgery, LossBalancing, rules
from mtlzoo.datamodules import KuaiRand

NETWORK = {"embedding_dim": 32, "experts": 4, "expert_units": [128, 64], "tower_units": [], "dropout": 0.1}
RULES = [
    *("Sum", "PCGrad", "PCGrad row", "CAGrad", "MGDA", "IMTLG", "NashMTL", "UPGrad", "AlignedMTL", "ConFIG"),
    *("MetaBalance", "UW", "DWA", "GLS", "RLW"),
]


def measure(name: str, data: KuaiRand, seed: int, epochs: int) -> dict[str, Any]:
    """Validation AUC of the tasks."""
    L.seed_everything(seed, verbose=False)
    rule, _, level = name.partition(" ")
    made = getattr(rules, rule)()
    callback = LossBalancing(made) if isinstance(made, rules.LossRule) else GradientSurgery(made, level or "model")  # type: ignore[arg-type]
    model = MMoE(data.schema, table_weight_decay=8e-3, **NETWORK)  # type: ignore[arg-type]
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=[callback],
    )
    start = time.perf_counter()
    trainer.fit(model, data)
    found = {task: float(trainer.callback_metrics[f"val/{task}/auc"]) for task in model.task_names}
    return {"rule": name, "seed": seed, **{task: round(auc, 4) for task, auc in found.items()}} | {
        "seconds": round(time.perf_counter() - start)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--root", required=True, help="Folder of KuaiRand.")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--rules", nargs="+", default=RULES)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = KuaiRand(options.root, batch_size=1024, eval_batch_size=8192)
    table: list[dict[str, Any]] = []
    for seed in options.seeds:
        for name in options.rules:
            table.append(measure(name, data, seed, options.epochs))
            about = {"data": "KuaiRand-Pure", "epochs": options.epochs, "seeds": options.seeds}
            write("rules", about, table)
            print(table[-1], flush=True)
    show("Validation AUC", table)


if __name__ == "__main__":
    main()
