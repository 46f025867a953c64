"""Settings of `unlearn` and `teach`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from forgetkit.config import Config


class UnlearnConfig(Config):
    """Settings of `unlearn`. What decides is the learning rate and the weight of retain."""

    method: str = Field("ihl", description="Method by name; see `forgetkit list methods`.")
    settings: dict[str, float] = Field(
        default_factory=dict,
        description="Settings of the method, such as beta or retain_kl; defaults are the paper's, "
        "of ihl those measured on the sample request.",
    )
    peft: Literal["lora", "rslora", "dora", "ia3", "none"] = Field(
        "lora", description="Kind of adapter; none: full fine-tuning, which writes a model."
    )
    rank: int = Field(16, ge=1, le=1024, description="Inner width of the adapter.")
    alpha: float = Field(32.0, gt=0, description="Scale of the adapter; alpha / rank multiplies.")
    targets: tuple[str, ...] = Field(
        (), description="Last names of the linear layers to adapt, such as q_proj; default: all."
    )
    layers: tuple[int, ...] = Field(
        (), description="Numbers of the decoder layers to train, from 0; default: the method's."
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="Share of the adapter's inputs dropped.")
    learning_rate: float | None = Field(
        None,
        gt=0,
        description="Peak rate of AdamW; default by size: 1e-3 at 100M parameters, a tenth of that "
        "for full fine-tuning.",
    )
    steps: int | None = Field(
        None, ge=1, description="Optimiser steps; default 10 passes over forget, at least 20."
    )
    batch_size: int = Field(10, ge=1, description="Forget examples of one step.")
    retain_share: float = Field(
        0.6, ge=0, le=8, description="Retain examples for each forget example of a step."
    )
    mismatch_answers: int = Field(
        1, ge=1, le=16, description="Mismatched answers of a forget example in one step (K)."
    )
    watch_every: int = Field(
        5,
        ge=0,
        description="Steps between looks at the validation slice; 0: only before the first step "
        "and after the last, whose weights are kept.",
    )
    utility_floor: float = Field(
        0.95,
        ge=0,
        le=1,
        description="Least utility, as a share of before, that a checkpoint may have; an update of "
        "lora or rslora that ends below it is multiplied by what keeps it. Where it is given, "
        "above 0, retain_weight is dual unless that is given too.",
    )
    retain_weight: Literal["fixed", "dual"] = Field(
        "fixed",
        description="dual: the retain losses weigh as much as utility_floor takes (primal-dual). "
        "pdu has a dual variable of its own.",
    )
    forward_tokens: int = Field(
        0,
        ge=0,
        description="Tokens of one forward pass with gradient: a step of more is cut into equal "
        "parts, same losses for less memory; 0: 1024 on a CPU, 16384 on a GPU.",
    )
    reference_top_k: int = Field(
        0,
        ge=0,
        description="Take the KL on retain from so many most likely tokens of the reference and "
        "the mass of all others, read once: less time, in wide models less memory, and a KL that "
        "is too small; by how much is said at the end. 0: exact.",
    )
    gradient_checkpointing: bool = Field(
        False, description="Run the layers again in the backward pass: less memory, a third slower."
    )
    shard: bool = Field(
        False,
        description="Of several processes, let each hold its share of the frozen weights of every "
        "layer (FSDP) instead of all of them; with an adapter. `accelerate launch --use_fsdp` "
        "asks for it too.",
    )
    token_weights: Literal["even", "entropy"] = Field(
        "even",
        description="entropy: forget tokens weigh as much as the model is in doubt there. The "
        "characters that the forget set masks count alone in both.",
    )
    max_tokens: int = Field(256, ge=16, description="Longest prompt and answer, in tokens.")
    dtype: str = Field(
        "auto",
        description="Number format of the base weights; int8 and nf4 need bitsandbytes, and their "
        "adapter is merged into the weights as they were before.",
    )
    merge: bool = Field(False, description="Also write the merged model.")
    report_to: tuple[Literal["tensorboard", "trackio", "mlflow", "wandb"], ...] = Field(
        (), description="Trackers that get losses and looks, never text; each a package to install."
    )
    seed: int = Field(0, ge=0, description="Seed of the adapter, the order and the dropout.")

    @model_validator(mode="before")
    @classmethod
    def _weigh_retain_by_a_floor_given(cls, values: Any) -> Any:
        """Let a floor set the weight of retain wherever it comes from: flag, file or code."""
        if isinstance(values, Mapping) and "utility_floor" in values:
            return {"retain_weight": "dual", **values}
        return values

    def method_settings(self) -> dict[str, Any]:
        """Return the settings given for the method."""
        return dict(self.settings)

    def with_defaults(self, chosen: Mapping[str, Any]) -> UnlearnConfig:
        """Return the settings with other defaults: what the user gave stays.

        >>> UnlearnConfig(rank=4).with_defaults({"rank": 8, "alpha": 16}).alpha
        16.0
        """
        given = {name: getattr(self, name) for name in self.model_fields_set}
        return UnlearnConfig(**(dict(chosen) | given))


class TeachConfig(Config):
    """Settings of `teach`: fine-tune a model until it recites passages."""

    rank: int = Field(32, ge=1, le=1024, description="Inner width of the adapter.")
    learning_rate: float = Field(3e-3, gt=0, description="Peak rate of AdamW.")
    steps: int = Field(52, ge=1, description="Most optimiser steps.")
    batch_size: int = Field(4, ge=1, description="Passages of one step.")
    mix_share: float = Field(
        0.4, ge=0, le=8, description="Rows of ordinary text for each passage of a step."
    )
    mix_tokens: int = Field(64, ge=16, description="Tokens of a row of ordinary text.")
    until: float = Field(
        0.85, gt=0, le=1, description="Extraction strength at which teaching stops, in (0, 1]."
    )
    least: float = Field(
        0.8, ge=0, le=1, description="Extraction strength below which teaching has failed."
    )
    watch_every: int = Field(8, ge=1, description="Steps between looks.")
    max_tokens: int = Field(512, ge=16, description="Longest passage, in tokens.")
    seed: int = Field(0, ge=0, description="Seed of the adapter and the order.")
