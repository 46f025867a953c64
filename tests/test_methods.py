"""Each method against a plain reading of its formula: one example at a time, all logits held."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import tiny
import torch
from torch.nn import functional

from forgetkit.lm.adapter import AdapterSettings, adapter_off, add_adapter, add_lora
from forgetkit.lm.encode import Encoded, encode
from forgetkit.lm.layers import decoder_layers, states_after
from forgetkit.lm.load import LanguageModel
from forgetkit.lm.packed import can_pack
from forgetkit.lm.shared import can_share
from forgetkit.lm.step import Item, Step, join_splits
from forgetkit.unlearn import make_method
from forgetkit.unlearn.dual import UtilityKept
from forgetkit.unlearn.token_methods import direction

LAYERS = 6


def moved(*, model: Any = None) -> LanguageModel:
    """Return a model whose adapter says something else than its base."""
    base = tiny.tiny_language_model(model=model or tiny.llama(layers=LAYERS))
    language_model = add_lora(base, rank=4, alpha=8, dropout=0.0, seed=0)
    drawn = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, value in language_model.model.named_parameters():
            if "lora_B" in name:
                value.copy_(0.1 * torch.randn(value.shape, generator=drawn))
    return language_model


def items(language_model: LanguageModel, answers: int = 1) -> list[Item]:
    def ids(prompt: str, answer: str) -> Encoded:
        return encode(language_model.tokenizer, tiny.text(prompt, answer))

    rows = zip(tiny.PASSAGES, tiny.ORDINARY, (7, 12, 19, 3), strict=False)
    return [
        {
            "forget": [ids(p[:12], p[12 : 30 + skip])],
            "mismatch": [ids(p[:12], o[skip : 20 + 5 * k]) for k in range(1, answers + 1)],
            "retain": [ids(o[:9], o[9 : 20 + skip])],
        }
        for p, o, skip in rows
    ]


class Plain:
    """One example under the model and its reference, with all logits and states."""

    def __init__(self, language_model: LanguageModel, encoded: Encoded) -> None:
        model: Any = language_model.model
        ids = torch.tensor([encoded.prompt_ids + encoded.answer_ids])
        first, last = len(encoded.prompt_ids) - 1, ids.shape[1] - 1
        self.target = torch.tensor(encoded.other_ids or encoded.answer_ids)
        with torch.no_grad():
            ours = model(input_ids=ids, output_hidden_states=True)
            with adapter_off(model):
                theirs = model(input_ids=ids, output_hidden_states=True)
        self.z: torch.Tensor = ours.logits[0, first:last].double()
        self.z_ref: torch.Tensor = theirs.logits[0, first:last].double()
        self.h: list[torch.Tensor] = [h[0, first:last].double() for h in ours.hidden_states]
        self.h_ref: list[torch.Tensor] = [h[0, first:last].double() for h in theirs.hidden_states]
        self.third = max(1, round((len(self.h) - 1) / 3))

    def nll(self) -> torch.Tensor:
        return functional.cross_entropy(self.z, self.target, reduction="none")

    def nll_ref(self) -> torch.Tensor:
        return functional.cross_entropy(self.z_ref, self.target, reduction="none")

    def kl(self) -> torch.Tensor:
        p, q = self.z.log_softmax(1), self.z_ref.log_softmax(1)
        return (q.exp() * (q - p)).sum(1)

    def p(self) -> torch.Tensor:
        return (-self.nll()).exp()


def jsd(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    m = (p + q) / 2
    halves = (torch.special.xlogy(a, a / m).sum(1) for a in (p, q))
    return sum(halves, torch.zeros(len(p))) / 2


def undial(x: Plain) -> torch.Tensor:
    lowered = x.z_ref.clone()
    for row, token in enumerate(x.target):
        lowered[row, token] -= 10
    return -(lowered.softmax(1) * x.z.log_softmax(1)).sum(1).mean()


def ceu(x: Plain) -> torch.Tensor:
    values = []
    for row in range(1, len(x.target)):
        aim = x.z[row].clone()
        aim[x.target[row]] = -math.inf
        values.append(-(aim.softmax(0) * x.z[row].log_softmax(0)).sum())
    return torch.stack(values).mean()


def ihl(x: Plain) -> torch.Tensor:
    values = []
    for row, token in enumerate(x.target):
        p = x.z[row].softmax(0).tolist()
        right = p.pop(int(token))
        values.append(1 + right - max(p))
    return torch.tensor(values).mean()


def rmu(x: Plain) -> torch.Tensor:
    states = x.h[x.third]
    return ((states - 6.5 * direction(states.shape[1])) ** 2).sum(1).mean()


FORGET: dict[str, Callable[[Plain], torch.Tensor]] = {
    "ga": lambda x: -x.nll().mean(),
    "graddiff": lambda x: -x.nll().mean(),
    "yao": lambda x: -0.5 * x.nll().mean(),
    "npo": lambda x: (
        -20 * torch.sigmoid(0.1 * (x.nll().sum() - x.nll_ref().sum())).clamp(min=1e-300).log()
    ),
    "simnpo": lambda x: -0.125 * 2 / 4.5 * torch.sigmoid(4.5 * x.nll().mean()).log(),
    "jensun": lambda x: jsd(
        x.z.softmax(1), functional.one_hot(x.target, x.z.shape[1]).double()
    ).mean(),
    "rmu": rmu,
    "undial": undial,
    "wga": lambda x: -(x.p() * x.nll()).mean(),
    "satimp": lambda x: -(x.p() ** 5 * (1 - x.p()) * x.nll()).mean(),
    "ceu": ceu,
    "ihl": lambda x: 4.5 * ihl(x),
    "pdu": lambda x: ((x.z.max(1).values - x.z.mean(1)) ** 2).mean(),
    "task_vector": lambda x: x.nll().mean(),
}
RETAIN: dict[str, Callable[[Plain], torch.Tensor]] = {
    "retain_nll": lambda x: x.nll().mean(),
    "retain_kl": lambda x: x.kl().mean(),
    "retain_jsd": lambda x: jsd(x.z.softmax(1), x.z_ref.softmax(1)).mean(),
    "retain_states": lambda x: ((x.h[x.third] - x.h_ref[x.third]) ** 2).sum(1).mean(),
}


@pytest.mark.parametrize("architecture", ["llama", "gemma2"])
@pytest.mark.parametrize("name", sorted(FORGET))
def test_a_method_is_the_plain_reading_of_its_formula(name: str, architecture: str) -> None:
    """A head that is a product runs in pieces, a capped one on full logits: both say this."""
    model = tiny.llama(layers=LAYERS) if architecture == "llama" else tiny.gemma2()
    language_model = moved(model=model)
    method = make_method(name, {})
    rows = items(language_model)
    if method.wants:
        wanted = list(method.wants.encode())
        rows = [{**row, "forget": [e.wanting(wanted) for e in row["forget"]]} for row in rows]
    found = method(Step(language_model.model, join_splits(rows, 256)))
    settings = vars(method)
    for key, value in found.items():
        split = "forget" if key == "forget" else "retain"
        if key == "mismatch":
            continue
        plain = FORGET[name] if key == "forget" else RETAIN[key]
        weight = 1.0 if key == "forget" else settings[key]
        expected = sum(float(plain(Plain(language_model, row[split][0]))) for row in rows) / 4
        assert float(value.detach()) == pytest.approx(weight * expected, rel=1e-4, abs=1e-5), key


def test_the_preference_methods_are_their_plain_reading() -> None:
    """With two answers to a prompt, the mean is over both."""
    language_model = moved()
    rows = items(language_model, answers=2)
    found = make_method("dpo", {})(Step(language_model.model, join_splits(rows, 256)))
    values = []
    for row in rows:
        lost = Plain(language_model, row["forget"][0])
        for other in row["mismatch"]:
            won = Plain(language_model, other)
            gap = lost.nll().sum() - lost.nll_ref().sum()
            gap -= won.nll().sum() - won.nll_ref().sum()
            values.append(-20 * functional.logsigmoid(0.1 * gap))
    assert float(found["forget"].detach()) == pytest.approx(
        float(torch.stack(values).mean()), rel=1e-4
    )


def test_retain_can_be_added_in_any_proportion_to_every_method() -> None:
    language_model = moved()
    rows = items(language_model)
    nll = sum(float(RETAIN["retain_nll"](Plain(language_model, r["retain"][0]))) for r in rows) / 4
    kl = sum(float(RETAIN["retain_kl"](Plain(language_model, r["retain"][0]))) for r in rows) / 4
    for name in [*FORGET, "dpo", "idk", "altpo"]:
        if name == "ga":  # with retain it is graddiff
            continue
        method = make_method(name, {"retain_nll": 0.3, "retain_kl": 2.0})
        found = method(Step(language_model.model, join_splits(rows, 256)))
        assert float(found["retain_nll"].detach()) == pytest.approx(0.3 * nll, rel=1e-4)
        assert float(found["retain_kl"].detach()) == pytest.approx(2.0 * kl, rel=1e-3)
        assert method.needs_reference()


def test_states_inside_are_those_of_the_whole_pass_and_the_layers_above_do_not_run() -> None:
    language_model = moved()
    model: Any = language_model.model
    rows = items(language_model)
    step = Step(model, join_splits(rows, 256))
    ran: list[int] = []
    can_share(model), can_pack(model)  # each tries the whole model, once
    for number, layer in enumerate(decoder_layers(model)):
        layer.register_forward_pre_hook(lambda *_, number=number: ran.append(number))
    found = step.states("forget", 2)
    assert set(ran) == {0, 1}
    expected = torch.cat([Plain(language_model, row["forget"][0]).h[2] for row in rows])
    assert torch.allclose(found.detach().double(), expected, atol=1e-4)
    whole = states_after(model, join_splits(rows, 256)["all"], LAYERS)
    assert whole.shape[1] == 32


def test_adaptive_rmu_steers_by_the_length_that_each_state_had() -> None:
    language_model = moved()
    rows = items(language_model)
    method = make_method("rmu", {"scale": 5.0, "retain_states": 0.0})
    assert method.needs_reference()
    found = method(Step(language_model.model, join_splits(rows, 256)))
    values = []
    for row in rows:
        x = Plain(language_model, row["forget"][0])
        lengths = x.h_ref[x.third].norm(dim=1, keepdim=True)
        goal = 5 * lengths * direction(x.h_ref[x.third].shape[1])
        values.append(((x.h[x.third] - goal) ** 2).sum(1).mean())
    assert float(found["forget"].detach()) == pytest.approx(
        float(torch.stack(values).mean()), rel=1e-4
    )


def test_rmu_trains_its_layer_and_the_two_below() -> None:
    """Depth 6, share 1/3: the states after 2 layers. Depth 30: after 10, layers 7, 8 and 9."""
    method = make_method("rmu", {})
    assert list(method.layers(6)) == [0, 1]
    assert list(method.layers(30)) == [7, 8, 9]
    assert list(make_method("npo", {}).layers(4)) == [0, 1, 2, 3]
    settings = AdapterSettings(rank=2, layers=tuple(make_method("rmu", {}).layers(30)))
    adapted = add_adapter(tiny.tiny_language_model(layers=30), settings, seed=0)
    names = [name for name, value in adapted.model.named_parameters() if value.requires_grad]
    assert {name.split(".layers.")[1].split(".")[0] for name in names} == {"7", "8", "9"}


def test_the_dual_variable_of_pdu_goes_on_from_step_to_step() -> None:
    """It rises by what the NLL is above 1.02 x the reference's, and weighs the next step."""
    language_model = moved()
    rows = items(language_model)
    plain = [Plain(language_model, row["retain"][0]) for row in rows]
    nll = sum(float(x.nll().mean()) for x in plain) / 4
    limit = 1.02 * sum(float(x.nll_ref().mean()) for x in plain) / 4
    method, memory = make_method("pdu", {"dual_rate": 0.5}), dict[str, float]()
    for expected in (1.0, 1.0 + 0.5 * (nll - limit), 1.0 + nll - limit):
        found = method(Step(language_model.model, join_splits(rows, 256), memory))
        weight = float(found["retain_nll"].detach()) / nll if "retain_nll" in found else 0.0
        assert weight == pytest.approx(max(0.0, expected), abs=1e-3)


def test_a_dual_retain_weight_moves_by_how_far_utility_is_broken() -> None:
    """Utility .9 allows -ln .9 = 0.105 nats more than the reference; lambda begins at 1."""
    language_model = moved()
    rows = items(language_model)
    plain = [Plain(language_model, row["retain"][0]) for row in rows]
    nll = sum(float(x.nll().mean()) for x in plain) / 4
    before = sum(float(x.nll_ref().mean()) for x in plain) / 4
    method, memory = UtilityKept(make_method("graddiff", {}), 0.9, rate=0.1), dict[str, float]()
    weight = 1.0
    for _ in range(3):
        found = method(Step(language_model.model, join_splits(rows, 256), memory))
        assert float(found["retain_nll"].detach()) == pytest.approx(weight * nll, rel=1e-4)
        weight = max(0.0, weight + 0.1 * (nll - before + math.log(0.9)))
    assert memory["retain_weight"] == pytest.approx(weight, abs=1e-4)


def test_no_tensor_kept_for_a_backward_pass_holds_all_logits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever reads whole logits reads a piece of the tokens at a time."""
    for name in ("PIECE", "WHOLE"):
        monkeypatch.setattr(f"forgetkit.lm.head.{name}", 8)
    language_model = moved()
    rows = items(language_model)
    sizes: set[torch.Size] = set()

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        sizes.add(tensor.shape)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        for name in (*FORGET, "dpo"):
            make_method(name, {})(Step(language_model.model, join_splits(rows, 256)))
    tokens = sum(len(row["forget"][0].answer_ids) for row in rows)
    assert any(size[0] >= tokens and size[-1] == 32 for size in sizes if len(size) == 2)
    assert max(size[0] for size in sizes if size and size[-1] == tiny.VOCABULARY) <= 8


def test_an_answer_of_one_token_counts_nothing_in_ceu() -> None:
    language_model = moved()
    one = encode(language_model.tokenizer, tiny.text("The owl", "x"))
    step = Step(language_model.model, join_splits([{"forget": [one]}], 256))
    assert float(make_method("ceu", {})(step)["forget"].detach()) == 0.0
