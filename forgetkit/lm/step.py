"""What a method sees of one step: values of answer tokens, by split, never the full logits.

One concatenated forward serves all splits of a step, and the head runs at answer positions only.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from forgetkit.errors import InputError
from forgetkit.lm.encode import (
    Encoded,
    answer_hidden,
    answer_logits,
    causal_model,
    collate,
    head_weight,
    like_lengths,
    per_example,
    select_rows,
)
from forgetkit.lm.layers import frozen_below
from forgetkit.lm.repeated import Repeated
from forgetkit.lm.sharded import is_sharded
from forgetkit.lm.shared import (
    can_share,
    joined_length,
    joined_rows,
    longest_shared,
    rows_by_prompt,
)
from forgetkit.lm.trained import reference_model

if TYPE_CHECKING:
    import torch

    from forgetkit.lm.head import Formula

Item = Mapping[str, Sequence[Encoded]]  # split -> examples of one training item


class Step:
    """One step's view of its batch: likelihoods, divergences and hidden states, by split.

    The forward pass runs when it is first asked for. The reference model is the same weights with
    the adapter off. Values are per answer token, (N,), unless said otherwise.

    Attributes:
        memory: dual variables, which a method keeps from step to step; the trainer averages them
            over processes, cuts them at 0 and carries them on.
        read: tokens that the model read, and its reference, so far.

    Args:
        model: with its adapter, if it has one.
        batches: as of `join_splits`.
        memory: what the steps before kept.
        share: read a prompt once for all its answers, where the model can and it saves work.
        repeated: keeps what frozen layers give rows that other steps read too.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        batches: Mapping[str, Mapping[str, Any]],
        memory: dict[str, float] | None = None,
        *,
        share: bool = True,
        repeated: Repeated | None = None,
    ) -> None:
        self._model = model
        self._repeated = repeated or Repeated(())
        self._batch = batches["all"]
        self._examples: dict[str, tuple[int, int]] = {
            name: (int(first), int(last)) for name, (first, last) in batches["ranges"].items()
        }
        weight = head_weight(model)
        frozen = weight is not None and not weight.requires_grad
        self._weight = weight if frozen else None  # None: use the model's own logits
        self._kept: dict[tuple[str, int], torch.Tensor] = {}
        self._frozen = frozen_below(model)
        self._share = share and not self._frozen
        self._cut: list[Group] = []
        self._nlls: dict[str, torch.Tensor] = {}
        self._shares: dict[str, torch.Tensor] = {}
        self._known: Mapping[str, torch.Tensor] = batches.get("reference", {})
        self._known_top: Mapping[str, Mapping[str, Any]] = batches.get("reference_top", {})
        self._known_nll: Mapping[str, torch.Tensor] = batches.get("reference_nll", {})
        self.memory = {} if memory is None else memory
        self.read = {"model": 0, "reference": 0}

    def holds(self, split: str) -> bool:
        """Say whether any example of the split is in this step."""
        first, last = self._examples.get(split, (0, 0))
        return last > first

    def nll(self, split: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the summed cross-entropy of each answer and its length, (B,) and (B,)."""
        return self._sum(split, self.token_nll(split))

    def reference_nll(self, split: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return `nll` under the reference model, without gradient."""
        if split in self._known_nll:
            return self._sum(split, self._known_nll[split])
        return self._sum(split, self._nll(split, self._theirs(split)))

    def kl(self, split: str, *, nll_ratio: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
        """Return KL(ref ‖ θ) summed over each answer's tokens, and the lengths, (B,) and (B,).

        Where the examples bring only what the reference finds most likely, a lower bound of it.

        Args:
            split: whose answers.
            nll_ratio: `nll` of the split will be in the loss too, with so many times the weight of
                this; one pass of the head serves both.
        """
        from forgetkit.lm.head import kl_divergence, token_kl, token_nll_kl

        ours = self._ours(split)
        if split in self._known_top and self._weight is not None:
            return self._sum(split, self._top_kl(split, ours, self._weight, nll_ratio))
        theirs = self._theirs(split)
        if self._weight is None:
            return self._sum(split, kl_divergence(theirs, ours))
        if not nll_ratio:
            return self._sum(split, token_kl(ours, theirs, self._weight))
        target = self._batch["target"][self._tokens(split)]
        self._nlls[split], kl = token_nll_kl(ours, theirs, self._weight, target, nll_ratio)
        return self._sum(split, kl)

    def _top_kl(
        self, split: str, ours: torch.Tensor, weight: torch.Tensor, nll_ratio: float
    ) -> torch.Tensor:
        from forgetkit.lm.top_k import TopK, token_nll_top_kl

        target = self._batch["target"][self._tokens(split)] if nll_ratio else None
        top = TopK(**self._known_top[split])
        nll, kl = token_nll_top_kl(ours, top, weight, target, nll_ratio)
        if nll_ratio:
            self._nlls[split] = nll
        return kl

    def token_nll(self, split: str) -> torch.Tensor:
        """Return the cross-entropy of each answer token, (N,)."""
        if split not in self._nlls:
            self._nlls[split] = self._nll(split, self._ours(split))
        return self._nlls[split]

    def token_values(
        self, split: str, formula: Formula, *, with_reference: bool = False
    ) -> torch.Tensor:
        """Return a formula of each answer token's logits, (N,), a few tokens at a time.

        Args:
            split: whose answers.
            formula: from logits (P, V), targets (P,) and, if asked for, the reference model's
                logits (P, V), to one value a token (P,).
            with_reference: give the formula the reference model's logits too.
        """
        from forgetkit.lm.head import token_formula

        states, target = self._ours(split), self._batch["target"][self._tokens(split)]
        theirs = (self._theirs(split),) if with_reference else ()
        if self._weight is None:
            values: torch.Tensor = formula(states, target, *theirs)
            return values
        return token_formula(formula, states, self._weight, target, *theirs)

    def states(self, split: str, layer: int) -> torch.Tensor:
        """Return the hidden states after so many layers, (N, D); the layers above do not run."""
        return self._layer("", layer)[self._tokens(split)]

    def reference_states(self, split: str, layer: int) -> torch.Tensor:
        """Return `states` under the reference model, without gradient."""
        return self._layer(split, layer)

    def depth(self) -> int:
        """Return the number of layers of the model."""
        from forgetkit.lm.layers import depth

        return depth(self._model)

    def places(self, split: str) -> torch.Tensor:
        """Return the place of each answer token in its answer, from 0, (N,)."""
        places: torch.Tensor = self._batch["place"][self._tokens(split)]
        return places

    def entropy(self, split: str) -> torch.Tensor:
        """Return the entropy in nats of what the model expects at each answer token, (N,).

        Without gradient.
        """
        from forgetkit.lm.head import scores_of_logits, token_scores

        states = self._ours(split).detach()
        target = self._batch["target"][self._tokens(split)]
        if self._weight is None:
            return -scores_of_logits(states.clone(), target, spread=True)[2]
        return -token_scores(states, self._weight, target, spread=True)[2]

    def weigh(self, split: str, values: torch.Tensor) -> None:
        """Let each answer token count from now on as much as its value says, (N,), at least 0.

        The values are scaled to a mean of 1 over each answer; an answer of zeros stays as it is.
        """
        total, length = self._sum(split, values)
        first, _ = self._examples[split]
        row = self._batch["row"][self._tokens(split)] - first
        scale = length / total.masked_fill(total == 0, 1)
        even = (total == 0).to(values.dtype)[row]
        self._shares[split] = values * scale[row] + even

    def average(self, split: str, values: torch.Tensor) -> torch.Tensor:
        """Return the mean over examples, each as its weight says, a scalar.

        Args:
            split: whose examples.
            values: one an example (B,), or K an example (B K,), those of one example together.
        """
        first, last = self._examples[split]
        weights: torch.Tensor = self._batch["weight"][first:last]
        times = len(values) // len(weights)
        return (values * weights.repeat_interleave(times)).mean()

    def mean(
        self, split: str, values: torch.Tensor, shares: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the mean of each answer's token values, (B,); 0 where no token counts.

        Args:
            split: whose answers.
            values: one a token, (N,).
            shares: how much each token counts, (N,); default: all the same.
        """
        if shares is None:
            total, length = self._sum(split, values)
            return total / length.clamp(min=1)
        total, _ = self._sum(split, values * shares)
        weight, _ = self._sum(split, shares.to(values.dtype))
        return total / weight.masked_fill(weight == 0, 1)

    def _nll(self, split: str, states: torch.Tensor) -> torch.Tensor:
        target = self._batch["target"][self._tokens(split)]
        if self._weight is not None:
            from forgetkit.lm.head import token_nll

            return token_nll(states, self._weight, target)
        return -states.log_softmax(1).gather(1, target[:, None]).squeeze(1)

    def _run(self, model: torch.nn.Module, split: str, layer: int) -> torch.Tensor:
        """Return hidden states (N, D), or logits (N, V) where the head is not a plain product.

        Args:
            model: the model or its reference.
            split: whose answers; empty: of the whole batch.
            layer: run so many layers and return their states; 0: all, and the last norm.
        """
        import torch

        run = self._runner(layer)
        parts, places = [], []
        for group in self._groups():
            part = group if not split else group.only(self._batch, *self._examples[split])
            if part.tokens.numel():
                reader = "reference" if split else "model"
                self.read[reader] += part.size
                with attention_for(model, part.batch):
                    parts.append(run(model, part))
                places.append(part.tokens)
        if len(parts) == 1:
            return parts[0]
        return torch.cat(parts)[torch.cat(places).argsort()]

    def _runner(self, layer: int) -> Callable[[torch.nn.Module, Group], torch.Tensor]:
        from forgetkit.lm.layers import first_layers_give, states_after

        def rest(model: torch.nn.Module, batch: Mapping[str, Any]) -> torch.Tensor:
            if layer:
                return states_after(model, batch, layer)
            hidden = self._weight is not None
            return answer_hidden(model, batch) if hidden else answer_logits(model, batch)

        def run(model: torch.nn.Module, part: Group) -> torch.Tensor:
            if part.states is None:
                return rest(model, part.batch)
            with first_layers_give(model, part.states, self._frozen):
                return rest(model, part.batch)

        return run

    def _groups(self) -> list[Group]:
        """Return the batch in groups of like length, so that one long row does not pad all others.

        Where the first layers are frozen they run here, once for the model and its reference.
        """
        import torch

        if self._cut:
            return self._cut
        device = self._batch["input_ids"].device
        lengths = self._batch["attention_mask"].sum(1).tolist()
        shared = self._batch["prompt_length"].tolist()
        units = self._units()
        sizes = [joined_length(rows, lengths, shared) for rows in units]
        if self._packs(max(sizes)):
            group = packed_group(self._batch, units)
            if self._frozen:
                group = replace(group, states=self._below([row for (row,) in units], lengths))
            self._cut = [group]
            return self._cut
        in_pieces = is_sharded(self._model)  # then every process runs it equally often
        for numbers in [range(len(units))] if in_pieces else like_lengths(sizes, device.type):
            chosen = [units[number] for number in numbers]
            rows = torch.tensor([row for unit in chosen for row in unit], device=device)
            if any(len(unit) > 1 for unit in chosen):
                part, tokens = joined_rows(self._batch, chosen)
            else:
                part, tokens = select_rows(self._batch, rows, max(sizes[n] for n in numbers))
            with attention_for(self._model, part):
                states = frozen_states(self._model, part, self._frozen) if self._frozen else None
            size = sum(sizes[number] for number in numbers)
            self._cut.append(Group(rows, part, tokens, states, size))
        return self._cut

    def _below(self, rows: Sequence[int], lengths: Sequence[int]) -> torch.Tensor:
        """Return what the frozen layers give rows that stand end to end, (1, T, D)."""
        import torch

        def read(chosen: Sequence[int]) -> torch.Tensor:
            part = packed_group(self._batch, [[row] for row in chosen]).batch
            with attention_for(self._model, part):
                return frozen_states(self._model, part, self._frozen)

        known: dict[int, torch.Tensor] = {}
        for row in rows:
            ids = tuple(self._batch["input_ids"][row, : lengths[row]].tolist())
            if ids in self._repeated:
                known[row] = self._repeated.states(ids, partial(read, [row]))
        fresh = [row for row in rows if row not in known]
        if fresh:
            parts = torch.split(read(fresh), [lengths[row] for row in fresh], 1)
            known |= dict(zip(fresh, parts, strict=True))
        return torch.cat([known[row] for row in rows], 1)

    def _units(self) -> list[list[int]]:
        """Return the rows of the batch, those that are read as one together."""
        prompts = self._batch["prompt"]
        if not self._share or len(prompts.unique()) == len(prompts) or not can_share(self._model):
            return [[row] for row in range(len(prompts))]
        width = int(causal_model(self._model).config.get_text_config().hidden_size)
        longest = int(self._batch["attention_mask"].sum(1).max())
        masked = not self._packs(longest)
        return rows_by_prompt(self._batch, width, longest_shared(self._model), masked=masked)

    def _packs(self, longest: int) -> bool:
        """Say whether all rows run as one; recomputed layers would run outside of its block."""
        from forgetkit.lm.packed import packs

        if recomputes(self._model):
            return False
        return packs(self._model, longest)

    def _ours(self, split: str) -> torch.Tensor:
        return self._layer("", 0)[self._tokens(split)]

    def _theirs(self, split: str) -> torch.Tensor:
        return self._known[split] if split in self._known else self._layer(split, 0)

    def _layer(self, split: str, layer: int) -> torch.Tensor:
        """Run once: the whole batch under the model, or a split under its reference."""
        key = (split, layer)
        if key not in self._kept and not split:
            self._kept[key] = self._run(self._model, "", layer)
        elif key not in self._kept:
            with reference_model(self._model) as model:
                self._kept[key] = self._run(model, split, layer)
        return self._kept[key]

    def _sum(self, split: str, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        first, last = self._examples[split]
        row = self._batch["row"][self._tokens(split)] - first
        shares = self._shares.get(split)
        counted = values if shares is None else values * shares
        return per_example(counted, row, last - first), self._batch["length"][first:last]

    def _tokens(self, split: str) -> slice:
        if not self.holds(split):
            raise InputError(f"the method reads the split '{split}', which this step lacks")
        first, last = self._examples[split]
        ends = self._batch["length"].cumsum(0)
        return slice(int(ends[first - 1]) if first else 0, int(ends[last - 1]))


@dataclass(frozen=True)
class Group:
    """Some rows of a batch that run together.

    Attributes:
        rows: their numbers in the batch, (R,).
        batch: as of `collate`, cut to the longest of them, or as of `pack`.
        tokens: which answer tokens of the batch are theirs, (N,).
        states: after the frozen first layers, (R, T, D) or (1, T, D), if there are such layers;
            then no two rows are read as one.
        size: tokens without padding.
    """

    rows: torch.Tensor
    batch: Mapping[str, Any]
    tokens: torch.Tensor
    states: torch.Tensor | None
    size: int

    def only(self, whole: Mapping[str, torch.Tensor], first: int, last: int) -> Group:
        """Return those of its rows whose numbers are in a range, each for itself.

        Args:
            whole: the batch that the rows are numbered in.
            first: of the numbers.
            last: one past the last of them.
        """
        chosen = ((self.rows >= first) & (self.rows < last)).nonzero().squeeze(1)
        rows = self.rows[chosen]
        if "packed" in self.batch and len(rows):
            group = packed_group(whole, [[row] for row in rows.tolist()])
            return group if self.states is None else replace(group, states=self._states_of(chosen))
        states = None if self.states is None else self.states[chosen]
        width = int(self.batch["input_ids"].shape[1])
        if states is None and len(rows):
            width = int(whole["attention_mask"][rows].sum(1).max())
        part, tokens = select_rows(whole, rows, width)
        return Group(rows, part, tokens, states, int(part["attention_mask"].sum()))

    def _states_of(self, chosen: torch.Tensor) -> torch.Tensor | None:
        """Return the states of some rows of a packed group, (1, T, D)."""
        import torch

        if self.states is None:
            return None
        parts = torch.split(self.states, [sum(row) for row in self.batch["packed"]], 1)
        return torch.cat([parts[number] for number in chosen.tolist()], 1)


def packed_group(batch: Mapping[str, torch.Tensor], units: Sequence[Sequence[int]]) -> Group:
    """Return rows of a batch as one, those of a unit with their prompt read once."""
    import torch

    from forgetkit.lm.packed import pack

    part, tokens = pack(batch, units)
    rows = torch.tensor([row for unit in units for row in unit])
    return Group(rows, part, tokens, None, int(part["input_ids"].shape[1]))


def recomputes(model: torch.nn.Module) -> bool:
    """Say whether the backward pass runs layers again (gradient checkpointing)."""
    base = causal_model(model)
    old = "is_gradient_checkpointing"  # before transformers 5.23, which warns of it
    new = "is_activation_checkpointing"
    return bool(getattr(base, new if hasattr(base, new) else old, False))


def attention_for(
    model: torch.nn.Module, batch: Mapping[str, Any]
) -> contextlib.AbstractContextManager[None]:
    """Choose the attention of a pass: of packed rows, or plain products for short ones on the CPU.

    Recomputed layers would run outside of this choice, so with gradient checkpointing there is
    none.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel

    from forgetkit.lm.packed import SHORT, packed_attention

    if "packed" in batch:
        return packed_attention(model, batch["packed"])
    ids = batch["input_ids"]
    if ids.device.type == "cpu" and ids.shape[1] <= SHORT and not recomputes(model):
        chosen: contextlib.AbstractContextManager[None] = sdpa_kernel(SDPBackend.MATH)
        return chosen
    return contextlib.nullcontext()


def frozen_states(
    model: torch.nn.Module, batch: Mapping[str, torch.Tensor], layers: int
) -> torch.Tensor:
    """Run the frozen first layers, without gradient and without dropout, (B, T, D)."""
    import torch

    from forgetkit.lm.layers import all_states_after

    was_training = model.training
    model.eval()
    with torch.no_grad():
        states = all_states_after(model, batch, layers)
    model.train(was_training)
    return states


def join_splits(items: Sequence[Item], pad_id: int) -> dict[str, Any]:
    """Collate training items into one batch, split by split.

    Returns:
        `all`: as of `collate`; `ranges`: the rows of each split; `reference`, `reference_nll` and
        `reference_top`: the reference's states (N, D), cross-entropies (N,) and most likely tokens
        of the splits all of whose examples bring them.
    """
    import torch

    from forgetkit.lm.top_k import joined

    names = sorted({name for item in items for name in item})
    rows: list[Encoded] = []
    ranges: dict[str, tuple[int, int]] = {}
    states: dict[str, torch.Tensor] = {}
    nlls: dict[str, torch.Tensor] = {}
    tops: dict[str, dict[str, torch.Tensor]] = {}
    for name in names:
        own = [encoded for item in items for encoded in item.get(name, ())]
        ranges[name] = (len(rows), len(rows) + len(own))
        rows += own
        for known, brought in (
            (states, [encoded.reference for encoded in own]),
            (nlls, [encoded.reference_nll for encoded in own]),
        ):
            found = [value for value in brought if value is not None]
            if own and len(found) == len(own):
                known[name] = torch.cat(found)
        most_likely = [e.reference_top for e in own if e.reference_top is not None]
        if own and len(most_likely) == len(own):
            tops[name] = joined(most_likely)
    known_values = {"reference": states, "reference_nll": nlls, "reference_top": tops}
    return {"all": collate(rows, pad_id), "ranges": ranges, **known_values}
