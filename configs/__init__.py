"""YAML files for the command ``mtlzoo``; they travel with the package.

``model/``, ``data/`` and ``trainer/`` hold one object each: ``--model configs/model/mmoe.yaml``. ``experiment/``,
``logger/`` and ``callbacks/`` hold parts of a whole config, which add up: ``-c configs/experiment/demo.yaml
-c configs/logger/wandb.yaml``. Where the working folder has no file of such a name, the one of the package is meant.
``sweep/`` holds sweeps of W&B, for ``wandb sweep``.
"""
