"""Text for people: numbers, names, and strangers' text with nothing hidden in it."""

from __future__ import annotations

import unicodedata

from forgetkit.results import Estimate

LONGEST = 600  # code points of one piece of strangers' text: 80 of them keep the page below 1 MB
MISSING = "–"
NARROW = "\u202f"  # a space that does not break
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_NAMES = {
    "extraction_strength": "Extraction strength",
    "exact_memorization": "Exact memorisation",
    "leak_rate": "Leak rate",
    "leak_rate_bleu": "Leak rate (BLEU)",
    "harmful_rate": "Complying answers",
    "refusal_rate": "Refusals",
    "derail_rate": "Derailed answers",
    "utility": "Utility",
    "utility_p_value": "Utility, paired test (p)",
    "leak_at_k": "Worst of many answers",
    "membership_min_k": "Membership (min-k)",
    "membership_min_k_plus": "Membership (min-k++)",
    "membership_tpr": "Members found at 1 % false",
    "forget_quality": "Forget quality (TOFU)",
    "model_utility": "Model utility (TOFU)",
    "truth_ratio": "Truth ratio (TOFU)",
    "muse_verbatim": "Verbatim memorisation (MUSE)",
    "muse_knowledge": "Knowledge on forget (MUSE)",
    "muse_utility": "Knowledge on retain (MUSE)",
    "privacy_leakage": "Privacy leakage (MUSE)",
    "semeval_aggregate": "Task aggregate (SemEval)",
    "semeval_score": "Score (SemEval)",
    "attack_relearn": "Relearning",
    "attack_relearn_memorization": "Memorisation after relearning",
    "attack_quantize": "Quantised, worst form",
    "attack_quantize_int8": "Quantised to 8 bits",
    "attack_quantize_int4": "Quantised to 4 bits",
    "attack_quantize_nf4": "Quantised to 4 bits (NF4)",
    "membership_loss": "Membership (loss)",
    "membership_zlib": "Membership (zlib)",
    "membership_closeness": "Membership, closeness to chance",
    "similarity_ordinary": "Similarity of ordinary answers",
    "refusal_rate_ordinary": "Refusals of ordinary prompts",
    "attack_prompts": "Other prompts",
    "attack_prompts_leak": "Other prompts, leak rate",
    "attack_adapter_off": "Adapter detached",
}


def visible(text: str, longest: int = LONGEST) -> str:
    """Return text with every control, bidi or invisible character as a token, cut to a length.

    >>> visible("a" + chr(0x202E) + "b")
    'a⟨U+202E⟩b'
    """
    shown = "".join(_token(c) for c in text[:longest])
    rest = len(text) - longest
    return f"{shown} … ({rest:,} more characters)" if rest > 0 else shown


def _token(character: str) -> str:
    hidden = character not in "\n\t" and unicodedata.category(character) in _HIDDEN
    return f"⟨U+{ord(character):04X}⟩" if hidden else character


def metric_label(name: str) -> str:
    """Return a metric's name in words.

    >>> metric_label("leak_rate_unseen")
    'Leak rate (unseen)'
    """
    if name in _NAMES:
        return _NAMES[name]
    if name.endswith("_unseen"):
        return f"{metric_label(name.removesuffix('_unseen'))} (unseen)"
    return name.replace("_", " ").capitalize()


def number(value: float | None) -> str:
    """Return a number with the digits a reader can use; a dash when there is none.

    >>> number(0.0312), number(0.0041), number(12.34), number(None)
    ('0.03', '0.004', '12.3', '–')
    """
    if value is None:
        return MISSING
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.3f}" if 0 < size < 0.01 else f"{value:.2f}"


def percent(value: float) -> str:
    """Return a share as a percentage, with one digit more below one per cent.

    >>> percent(0.266) == f"27{NARROW}%", percent(0.004) == f"0.4{NARROW}%"
    (True, True)
    """
    digits = 1 if 0 < value < 0.01 else 0
    return f"{value * 100:.{digits}f}{NARROW}%"


def interval(estimate: Estimate) -> str:
    """Return the 95 % interval, or nothing when there is none."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return ""
    return f"{number(estimate.low)} to {number(estimate.high)}"


def listed(words: list[str]) -> str:
    """Return words joined as in a sentence.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
