"""One build from the first read to the last check: the table of contents of a forget set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from itertools import chain

from forgetkit.build.alternatives import alternatives
from forgetkit.build.books import Books
from forgetkit.build.breadth import breadth
from forgetkit.build.candidates import Candidates, candidates
from forgetkit.build.checks import (
    check_filled,
    check_given,
    check_overlap,
    check_templates,
    small_splits,
)
from forgetkit.build.config import BuildConfig
from forgetkit.build.control import Surprise, check_control, doubts, word_surprise
from forgetkit.build.facts import right_as_mismatch, truths
from forgetkit.build.holdout import holdout_rows, right_of, take_holdout
from forgetkit.build.inputs import Inputs
from forgetkit.build.meaning import Meaning
from forgetkit.build.mismatch import mismatched
from forgetkit.build.neutral import NEUTRAL, REFUSALS
from forgetkit.build.outliers import outliers
from forgetkit.build.overlap import FORGET_TEXT, summary
from forgetkit.build.pairs import pair_of_document
from forgetkit.build.probes import rephrased
from forgetkit.build.protected import protected_runs, without_protected
from forgetkit.build.published import other_answers, paraphrased, rephrasings
from forgetkit.build.ready import read_ready, right_answers
from forgetkit.build.ready_folder import group_of
from forgetkit.build.relearn import halves
from forgetkit.build.retain import Ordinary, as_the_model_says, limits_of, take_ordinary
from forgetkit.build.sampled import sampled_alternatives
from forgetkit.build.subjects import related
from forgetkit.build.target import Target, too_long
from forgetkit.corpus import Document, read_all, read_works
from forgetkit.errors import InputError
from forgetkit.forget_set import Example, ForgetSet
from forgetkit.progress import Progress

Tables = Mapping[str, Sequence[Example]]
SMALL = 4000
"""Rows up to which splits are compared by meaning where nothing else is asked."""


class Maker:
    """Make all splits of a forget set, check them, and keep the books.

    Args:
        inputs: what to read.
        config: how much of what.
        progress: told of every step.
        workers: threads.
    """

    def __init__(
        self, inputs: Inputs, config: BuildConfig, progress: Progress, workers: int = 1
    ) -> None:
        self.inputs, self.config, self.progress = inputs, config, progress
        self.workers = workers
        self.books = Books()
        self._target = Target(inputs.model)
        self._meaning = Meaning(progress)

    def make(self) -> ForgetSet:
        """Make all splits and check them."""
        inputs, config, books = self.inputs, self.config, self.books
        works = read_works(inputs.works) if inputs.works else []
        found = candidates(inputs, works, config, self._target, books, self.progress)
        self._check_candidates(found)
        given = [
            read_ready(paths, goes=False, count=books.count)
            for paths in (inputs.general, inputs.retain)
        ]
        protected = protected_runs(works, found.spans, config.shared_words)
        general, retain = (
            without_protected(rows, protected, config.shared_words, books) for rows in given
        )
        surprise = self._surprise([*retain, *general])
        published = {group_of(file): read_ready([file], goes=False) for file in inputs.probes}
        ordinary = take_ordinary(
            retain,
            general,
            found.forget,
            config,
            self._target,
            self._meaning,
            books,
            published,
            related(retain, found.documents, config.about),
        )
        holdout = take_holdout(
            inputs, found.forget, surprise, config, self._target, books, self.progress
        )
        cut = self._halves(found.forget)
        splits = {
            "forget": cut,
            "mismatch": self._mismatch(found, ordinary),
            "retain": ordinary.train,
            "holdout": holdout,
        }
        probes = {
            "prompts": found.prompts,
            "retain": ordinary.probe,
            "general": ordinary.general,
            "unknown": found.unknown,
        }
        if config.retain_answers == "own":
            splits["retain"] = self._as_said(splits, probes, protected)
        self._check(splits, probes, surprise, [d.whole() for d in chain(*given)])
        said_again = rephrasings(inputs.rephrased)
        known = [found.documents, said_again, *published.values(), retain]
        probes |= {
            "others": truths(cut, found.right)
            + self._truths_of_holdout(holdout)
            + other_answers([*cut, *ordinary.probe], chain(*known), config),
            "rephrased": rephrased(cut, config.rephrased_size)
            + paraphrased(cut, said_again, config),
        }
        return ForgetSet(splits, probes)

    def _as_said(self, splits: Tables, probes: Tables, protected: Set[str]) -> list[Example]:
        tables = _side_by_side(splits, probes)
        meaning = self._meaning if self._by_meaning(tables) else None
        return as_the_model_says(
            splits["retain"],
            {name: rows for name, rows in tables.items() if name != "retain"},
            protected,
            self.config,
            self._target,
            meaning,
            self.books,
            self.progress,
        )

    def plan(self) -> dict[str, int]:
        """Read everything and gather what is to be forgotten, as far as that needs no model.

        Returns:
            How many rows there are of what, by name.

        Raises:
            InputError: as of `make`, where that shows before a model speaks.
        """
        inputs, config = self.inputs, self.config
        works = read_works(inputs.works) if inputs.works else []
        alone = replace(inputs, model=None, prompts=None)
        found = candidates(alone, works, config, self._target, self.books, self.progress)
        prompts = read_all([inputs.prompts]) if inputs.prompts else []
        if prompts or config.retain_answers == "own":
            self._target.check_named()
        if not prompts:
            self._check_candidates(found)
            check_filled({"forget": found.forget}, ("forget",), config.least_examples)
        if config.mismatch == "alternative":
            self._given_alternatives()
        refusals = read_all([inputs.refusals], {"text": "answer"}) if inputs.refusals else []
        general, retain = (
            read_ready(paths, goes=False) for paths in (inputs.general, inputs.retain)
        )
        is_text = bool(found.forget) and found.forget[0].kind == "text"
        holdout = holdout_rows(inputs.holdout, of_text=is_text)
        for name, given in (("retain", retain), ("holdout", holdout)):
            check_given(name, given)
        rows: dict[str, Sequence[object]] = {
            "works": works,
            "forget candidates": found.forget,
            "other prompts for them": found.prompts,
            "prompts to ask the model": prompts,
            "retain rows": retain,
            "general rows": general,
            "holdout works or rows": holdout,
            "refusals": refusals,
            "rephrasings": rephrasings(inputs.rephrased),
        }
        return self.books.counts | {name: len(held) for name, held in rows.items() if held}

    def _check_candidates(self, found: Candidates) -> None:
        if not found.forget:
            raise InputError(
                "there is nothing to forget",
                where=str(self.inputs.spans or ""),
                found=", ".join(f"{n} {reason}" for reason, n in self.books.counts.items()),
                mend="Accept spans (--decisions or --accept-all), give rows with what must go, or "
                "check the model and works.",
            )
        tokenizer = self._target.tokenizer()
        if tokenizer is None or self.config.allow_truncation:
            return
        lost = too_long(tokenizer, found.forget, self.config.max_tokens)
        if lost:
            raise InputError(
                f"forget examples are longer than {self.config.max_tokens} tokens",
                found=f"{len(lost)}, the first {lost[0].example_id}",
                mend="Set max_tokens higher, here and in unlearn and evaluate, or "
                "allow_truncation=true.",
            )

    def _surprise(self, ordinary: Sequence[Document]) -> Surprise:
        if self.inputs.reference is None:
            self.books.findings["surprise"] = "nats a word, by the ordinary data"
            return word_surprise(d.whole() for d in ordinary)
        self.books.findings["surprise"] = "nats a token, by the reference model"
        reference = Target(self.inputs.reference)

        def surprise(examples: Sequence[Example]) -> list[float]:
            from forgetkit.lm.score import score

            self.progress.stage("how surprising each example is", len(examples))
            found = score(reference.model(), examples, advance=self.progress.advance)
            return [s.nll if s.log_probability else 0.0 for s in found]

        return surprise

    def _truths_of_holdout(self, holdout: Sequence[Example]) -> list[Example]:
        if not holdout or holdout[0].kind != "fact":
            return []
        return truths(holdout, right_of(self.inputs, self.config))

    def _halves(self, forget: Sequence[Example]) -> list[Example]:
        cut = halves(forget, self.config.seed)
        self.books.findings["relearn"] = {"cut_by": cut.cut_by} | cut.sizes()
        if not cut.cut_by:
            self.books.warnings.append(
                "forget cannot be cut in two: relearning cannot be tested on it"
            )
        return cut.forget

    def _mismatch(self, found: Candidates, ordinary: Ordinary) -> list[Example]:
        kind, forget = self.config.mismatch, found.forget
        if kind == "right":
            return right_as_mismatch(forget, found.right, self.config)
        if kind == "alternative":
            return self._alternatives(forget)
        pool: Sequence[str] = NEUTRAL if kind == "neutral" else ordinary.answers
        if kind == "refusal":
            own = [self.inputs.refusals] if self.inputs.refusals else []
            pool = [d.text for d in read_all(own, {"text": "answer"})] or REFUSALS
        by_meaning = self._meaning.encode if self.config.neighbour_share else None
        return mismatched(forget, pool, self.config, kind, encode=by_meaning, books=self.books)

    def _alternatives(self, forget: Sequence[Example]) -> list[Example]:
        """Return other answers: those given, else the right ones, else the model's own."""
        rows = self._given_alternatives()
        if rows:
            return alternatives(forget, rows, self.config)
        return sampled_alternatives(
            self._target.model(),
            forget,
            self.config,
            encode=self._meaning.encode if self.config.neighbour_share else None,
            books=self.books,
            progress=self.progress,
        )

    def _given_alternatives(self) -> list[Document]:
        """Return the answers that files give; empty: the model's own are drawn.

        Raises:
            InputError: there are none, and no model.
        """
        given = self.inputs.alternatives
        rows = read_all([given]) if given else self._right_answers()
        if not rows and self.inputs.model is None:
            raise InputError(
                "the mismatch kind alternative needs answers",
                mend="Give --alternatives, or --model to draw them from.",
            )
        return rows

    def _right_answers(self) -> list[Document]:
        """Return the answers that ready data calls right, to prompts in the template."""
        found = right_answers(read_ready(self.inputs.ready))
        made = [pair_of_document(document, "", self.config) for document in found]
        return [Document("", e.source, prompt=e.prompt, answer=e.answer) for e in made if e]

    def _check(
        self, splits: Tables, probes: Tables, surprise: Surprise, ordinary: Sequence[str]
    ) -> None:
        config, books = self.config, self.books
        check_filled(splits, tuple(splits), config.least_examples)
        check_templates(splits)
        books.warnings += small_splits(splits)
        tables = _side_by_side(splits, probes)
        encode = self._meaning.encode if self._by_meaning(tables) else None
        overlaps = check_overlap(
            tables,
            limits_of(config),
            allowed=config.allow_overlap,
            encode=encode,
            workers=self.workers,
        )
        control = check_control(
            splits["forget"], splits["holdout"], surprise, allowed=config.allow_unlike_holdout
        )
        books.warnings += doubts(control)
        broad = breadth(splits["forget"], ordinary, config.broad_share)
        if broad.over_broad:
            books.warnings.append(
                f"possibly over-broad: {len(broad.flagged)} of {broad.groups} passages are "
                "ordinary language"
            )
        books.findings |= {
            "overlaps": [list(overlap) for overlap in overlaps],
            "overlaps_by_kind": summary(overlaps),
            "compared_by_meaning": self._by_meaning(tables),
            "control": [one.row() for one in control],
            "outliers": [list(one) for one in outliers(splits["forget"], surprise, encode)],
            "ordinary_language": {
                "share": broad.share,
                "passages": broad.groups,
                "flagged": broad.flagged,
                "over_broad": broad.over_broad,
            },
        }

    def _by_meaning(self, tables: Tables) -> bool:
        asked = self.config.compare_meaning
        if asked is not None:
            return asked
        return self.config.neighbour_share > 0 and sum(map(len, tables.values())) <= SMALL


def _side_by_side(splits: Tables, probes: Tables) -> dict[str, Sequence[Example]]:
    """Return all tables by the names that overlaps are told by."""
    named = {name if name in FORGET_TEXT else f"probes/{name}": e for name, e in probes.items()}
    return dict(splits) | named
