"""Which labels of a classifier mean harm.

A head with one label a text (softmax) has a label for harmless texts: `neutral`, `not_hate`,
`LABEL_0` of two. It is no category of harm.
"""

from __future__ import annotations

from collections.abc import Sequence

from forgetkit.classify.protocol import Classifier
from forgetkit.errors import InputError

HARMLESS = frozenset(
    {"neutral", "normal", "none", "ok", "okay", "safe", "clean", "benign", "harmless", "ordinary"}
    | {"neither", "acceptable", "appropriate", "ham"}
)
_NOT = ("non", "not", "no")


def harmful_categories(classifier: Classifier, setting: str) -> tuple[str, ...]:
    """Return the categories that mean harm, in the order of the classifier.

    Args:
        classifier: of any kind.
        setting: what names the categories instead, for the error.

    Raises:
        InputError: each text has one label, and none of them is known to mean no harm.
    """
    names = tuple(classifier.categories)
    if not getattr(classifier, "is_exclusive", False):
        return names
    harmful = tuple(name for name in names if not is_harmless(name, names))
    if harmful == names or not harmful:
        raise InputError(
            "it is not known which labels mean harm",
            where=classifier.name,
            found=", ".join(names),
            mend=f"Name them with --set '{setting}=[LABEL]'.",
        )
    return harmful


def is_harmless(label: str, labels: Sequence[str]) -> bool:
    """Say whether a label is the one of harmless texts.

    >>> is_harmless("not_hate", ["hate", "not_hate"])
    True
    """
    word = _word(label)
    first, _, rest = word.partition("-")
    if word in HARMLESS or (first in _NOT and rest):
        return True
    others = {_word(other) for other in labels}
    if len(others) == 2 and word in ("label-0", "0"):
        return others in ({"label-0", "label-1"}, {"0", "1"})
    return any(word == f"{sign}{other}" for sign in _NOT for other in others)


def _word(label: str) -> str:
    return "-".join(label.lower().replace("_", " ").replace("-", " ").split())
