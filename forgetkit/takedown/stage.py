"""Walk a request through the rooms: mine, dedupe, decide, build, unlearn, evaluate, report.

Everything is found first; acting begins when finding is complete and decided. The same command
goes on where it stopped.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from forgetkit.build import Inputs, build, recited
from forgetkit.decisions import Decision, current, record
from forgetkit.dedupe import dedupe_spans
from forgetkit.evaluate import evaluate
from forgetkit.files import locked, sha256_file, sha256_tree, write_json
from forgetkit.lm.load import hash_ahead, model_identity, resolve_model
from forgetkit.mine import mine
from forgetkit.progress import Progress, Silent
from forgetkit.redact import redact
from forgetkit.report import report
from forgetkit.results import Results
from forgetkit.spans import Span, read_spans, write_spans
from forgetkit.takedown.case import Case, open_case
from forgetkit.takedown.plan import mining_inputs
from forgetkit.takedown.records import DETECTOR, read_record_ids, spans_of_records
from forgetkit.takedown.request import Request, load_request
from forgetkit.takedown.settings import Approval, Settings, load_settings
from forgetkit.unlearn import unlearn

NOT_FOUND = "not found in the corpus"


@dataclass
class TakedownResult:
    """Where a case stands after the command.

    Attributes:
        case: the folder.
        state: `answered` when all is done; `mined` when people have to decide.
        outcome: one sentence for the terminal.
        results: of the evaluation, when there is one.
        outputs: files by name.
        counts: spans, clusters, examples.
        seconds: wall time of each stage, as recorded when it ran.
        warnings: what a person should know.
    """

    case: Path
    state: str
    outcome: str
    results: Results | None = None
    outputs: dict[str, Path] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def takedown(
    request: Path,
    case: Path,
    *,
    auto_approve: bool = False,
    settings: Path | None = None,
    seed: int | None = None,
    progress: Progress | None = None,
) -> TakedownResult:
    """Process a request in a case folder, from the corpus to the report.

    Args:
        request: `request.yaml`.
        case: the case folder; created, or continued.
        auto_approve: decide by the rule in the settings instead of waiting for people.
        settings: the operator's settings; by default those that the request names.
        seed: one seed for every stage.
        progress: told of every stage.

    Raises:
        InputError: the request, a file or the target model cannot be used.
        LockedError: another process works on the case.
    """
    asked = load_request(request)
    chosen = load_settings(settings or asked.settings).with_seed(seed).for_request(asked)
    resolve_model(asked.targets.model)  # a missing model is known before anything runs
    if asked.remedy != "redact_corpus":
        hash_ahead(asked.targets.model)
    with locked(case):
        walk = _Walk(asked, chosen, open_case(case, asked.id), progress or Silent())
        return walk.run(request, auto_approve=auto_approve)


class _Walk:
    """One walk through the rooms; every stage is skipped when its folder is complete."""

    def __init__(
        self, request: Request, settings: Settings, case: Case, progress: Progress
    ) -> None:
        self.request, self.settings, self.case, self.progress = request, settings, case, progress
        self.folder = case.folder
        self.result = TakedownResult(case.folder, case.state, "")
        self.works = [file for work in request.works for file in work.files]

    def run(self, request_file: Path, *, auto_approve: bool) -> TakedownResult:
        self._receive(request_file)
        spans = self._dedupe(self._mine())
        if not spans.is_file() or not read_spans(spans):
            return self._not_found()
        if not self._decide(spans, auto_approve=auto_approve):
            return self.result
        if self.request.remedy != "unlearn" and not self._redact(spans):
            return self._not_found("no span was accepted")
        if self.request.remedy == "redact_corpus":
            return self._cleaned()
        forget_set = self._build(spans)
        if forget_set is None:
            return self._not_found("no span was accepted that the model knows")
        unlearned = self._unlearn(forget_set)
        self._evaluate(forget_set, unlearned)
        self._report(unlearned)
        return self.result

    def _receive(self, request_file: Path) -> None:
        digest = sha256_file(request_file)
        if self.case.content.get("request_sha256") != digest:
            self.case.ledger.add("received", subject={"request": self.request.id, "sha256": digest})
            due = self.request.due()
            self.case.move(self.case.state, request_sha256=digest, due_at=due)

    def _prepare(self, stage: str, inputs: Mapping[str, Any]) -> None:
        changed = self.case.prepare(stage, inputs)
        if changed:
            self.result.warnings.append(f"{stage} runs again: {changed} changed")

    def _done(
        self, stage: str, state: str, started: float, counts: Mapping[str, int], ran: bool
    ) -> None:
        seconds = time.monotonic() - started if ran else 0.0
        self.case.finish(stage, seconds, counts)
        self.case.move(state)
        self.result.state = state
        self.result.counts |= counts
        self.result.seconds[stage] = self.case.content["stages"][stage]["seconds"]

    def _mine(self) -> Path:
        started = time.monotonic()
        config = self.settings.mine
        self._prepare("mined", mining_inputs(self.request, config))
        found = mine(
            self.request.targets.corpora,
            self.folder / "mined",
            works=self.works,
            config=config,
            progress=self.progress,
        )
        spans = self._with_records(found.spans)
        out = self.folder / "mined" / "all_spans.parquet"
        if not out.is_file():
            write_spans(out, spans)
        self.result.warnings += found.warnings
        ran = not self.case.content["stages"]["mined"].get("counts")
        self._done("mined", "mined", started, {"spans": len(spans)}, ran)
        self.result.outputs["spans"] = out
        return out

    def _with_records(self, spans: Sequence[Span]) -> list[Span]:
        named = self.request.targets.record_ids
        if named is None:
            return list(spans)
        records = spans_of_records(self.request.targets.corpora, read_record_ids(named))
        return [*spans, *records]

    def _dedupe(self, spans: Path) -> Path:
        started = time.monotonic()
        config = self.settings.dedupe
        self._prepare(
            "deduped", {"spans": sha256_file(spans), "settings": config.model_dump(mode="json")}
        )
        ran = not self.case.content["stages"]["deduped"].get("counts")
        done = dedupe_spans(spans, self.folder / "deduped", config=config, progress=self.progress)
        counts = {"clusters": done.counts.get("clusters", 0)}
        self._done("deduped", "mined", started, counts, ran)
        return self.folder / "deduped" / "spans.parquet"

    def _decide(self, spans: Path, *, auto_approve: bool) -> bool:
        """Return whether acting may begin."""
        decisions = self.folder / "decisions.sqlite"
        if auto_approve and not decisions.is_file():
            made = decide_by_rule(read_spans(spans), self.settings.approval)
            record(decisions, made)
            accepted = sum(d.accepted for d in made)
            self.case.ledger.add(
                "approved by rule", actor="rule", counts={"accepted": accepted, "all": len(made)}
            )
        decided = current(decisions) if decisions.is_file() else {}
        waiting = [s for s in read_spans(spans) if s.span_id not in decided]
        if waiting:
            if auto_approve:
                record(decisions, decide_by_rule(waiting, self.settings.approval))
                return self._approved(decisions)
            self.result.outcome = (
                f"{len(waiting)} spans wait for a decision: `forgetkit review {self.folder}`, "
                "or --auto-approve"
            )
            return False
        return self._approved(decisions)

    def _approved(self, decisions: Path) -> bool:
        decided = current(decisions)
        accepted = sum(d.accepted for d in decided.values())
        self.result.counts["accepted"] = accepted
        self.case.move("approved")
        self.result.state = "approved"
        return True

    def _redact(self, spans: Path) -> bool:
        """Write the corpora without the accepted spans; return whether any was accepted."""
        started = time.monotonic()
        corpora, config = self.request.targets.corpora, self.settings.redact
        decisions = self.folder / "decisions.sqlite"
        accepted = sorted(name for name, d in current(decisions).items() if d.accepted)
        if not accepted:
            return False
        self._prepare(
            "redacted",
            {
                "corpora": [sha256_tree(p) for p in corpora],
                "spans": sha256_file(spans),
                "accepted": accepted,
                "settings": config.model_dump(mode="json"),
            },
        )
        out = self.folder / "redacted"
        ran = not (out / "summary.json").is_file()
        done = redact(
            corpora, spans, out, decisions=decisions, config=config, progress=self.progress
        )
        counts = {f"redacted/{name}": number for name, number in done.counts.items()}
        self._done("redacted", self.case.state, started, counts, ran)
        self.result.warnings += done.warnings
        self.result.outputs |= {f"redacted_{k}": path for k, path in done.outputs.items()}
        return True

    def _cleaned(self) -> TakedownResult:
        """End a case whose remedy is the corpus alone."""
        spans = self.result.counts["redacted/spans"]
        return self._end(f"{spans} spans were taken out of the corpus; the model stays as it was")

    def _end(self, words: str) -> TakedownResult:
        """Answer without a verdict."""
        self.result.outcome, self.result.state = words, "answered"
        if self.case.content.get("outcome") != words:  # the same command again is no new answer
            self.case.ledger.add("answered", counts=self.result.counts)
        self.case.move("answered", verdict=None, outcome=words)
        return self.result

    def _build(self, spans: Path) -> Path | None:
        started = time.monotonic()
        data, config = self.settings.data, self.settings.build
        decisions = self.folder / "decisions.sqlite"
        prompts = next((h.prompts for h in self.request.harms if h.prompts), None)
        inputs = Inputs(
            spans=spans,
            decisions=decisions,
            prompts=prompts,
            works=self.works,
            retain=data.retain,
            holdout=data.holdout,
            general=data.general,
            refusals=data.refusals,
            model=self.request.targets.model,
        )
        if not any(d.accepted for d in current(decisions).values()):
            return None
        self._prepare(
            "forget_set",
            {"inputs": inputs.digests(), "settings": config.model_dump(mode="json")},
        )
        out = self.folder / "forget_set"
        built = build(inputs, out, config=config, progress=self.progress)
        counts = {f"examples/{k}": v for k, v in built.counts.items()}
        self._done("forget_set", "built", started, counts, built.seconds > 0)
        self.result.warnings += built.warnings
        self.result.outputs["forget_set"] = out
        return out

    def _unlearn(self, forget_set: Path) -> Path:
        started = time.monotonic()
        config = self.settings.unlearn
        manifest = sha256_file(forget_set / "manifest.json")
        self._prepare(
            "unlearned", {"forget_set": manifest, "settings": config.model_dump(mode="json")}
        )
        out = self.folder / "unlearned"
        if not (out / "run.json").is_file():  # committed before acting
            self.case.ledger.add("unlearning begins", subject={"forget_set": manifest})
        done = unlearn(
            self.request.targets.model, forget_set, out, config=config, progress=self.progress
        )
        counts = {"steps": int(done.run["steps"]), "best_step": int(done.run["best_step"])}
        self._done("unlearned", "unlearned", started, counts, done.seconds > 0)
        self.result.warnings += done.run.get("warnings", [])
        if done.adapter.is_dir():  # full fine-tuning writes a model alone
            self.result.outputs["adapter"] = done.adapter
        if done.model:
            self.result.outputs["model"] = done.model
        return out

    def _evaluate(self, forget_set: Path, unlearned: Path) -> None:
        started = time.monotonic()
        config = self.settings.evaluate
        target, merged = self.request.targets.model, unlearned / "model"
        adapter = sha256_tree(unlearned / "adapter")
        made = {"adapter": adapter} if adapter else {"model": model_identity(str(merged))}
        self._prepare(
            "evaluation",
            {
                "forget_set": sha256_file(forget_set / "manifest.json"),
                **made,
                "settings": config.model_dump(mode="json"),
            },
        )
        out = self.folder / "evaluation"
        whole = merged.is_dir()  # what is delivered is what is measured
        done = evaluate(
            str(merged) if whole else target,
            forget_set,
            out,
            adapter=None if whole else unlearned / "adapter",
            before=target if whole else None,
            config=config,
            progress=self.progress,
        )
        self._done("evaluation", "verified", started, {}, done.seconds > 0)
        self.result.results = done.results
        self.result.outputs["results"] = out / "results.json"

    def _report(self, unlearned: Path) -> None:
        started = time.monotonic()
        self.progress.stage("report", None)
        out = self.folder / "report.html"
        known = dict(self.case.content["stages"].get("report", {}))
        self._prepare("report", {"results": sha256_file(self.folder / "evaluation/results.json")})
        ran = not out.is_file() or known != self.case.content["stages"]["report"]
        if ran:
            run = unlearned / "run.json"
            report(self.folder / "evaluation", out, context=self._context(), run=run)
        self._done("report", "answered", started, {}, ran)
        self.result.outputs["report"] = out
        results = self.result.results
        verdict = results.verdict if results and results.verdict else "not judged"
        self.result.outcome = f"verdict: {verdict}"
        self.case.move("answered", verdict=verdict)

    def _context(self) -> dict[str, Any]:
        counts = self.result.counts
        return {
            "request": {"id": self.request.id, "type": self.request.type},
            "parties": [
                {"role": p.role, "name": p.name or p.organisation} for p in self.request.parties
            ],
            "works": [{"title": w.title} for w in self.request.works],
            "spans": {
                "mined": counts.get("spans", 0),
                "accepted": counts.get("accepted", 0),
                "clusters": counts.get("clusters", 0),
            },
            "detectors": list(self.settings.mine.detectors),
            "timings": dict(self.result.seconds),
        }

    def _not_found(self, why: str = NOT_FOUND) -> TakedownResult:
        """End the case: nothing to forget in the corpus; say what the model itself recites."""
        config = self.settings.build
        words = why
        if self.works:
            model = self.request.targets.model
            known, windows = recited(self.works, model, config, self.progress)
            words += (
                f"; the model itself recites {known} of {windows} passages of the work "
                f"(extraction strength ≥ {config.known_at:g})"
            )
            self.result.counts |= {"passages recited": known, "passages read": windows}
        write_json(self.folder / "not_found.json", {"outcome": words} | self.result.counts)
        self.result.outputs["not_found"] = self.folder / "not_found.json"
        return self._end(words)


def decide_by_rule(spans: Sequence[Span], rule: Approval) -> list[Decision]:
    """Decide spans by their scores; the reason says which threshold decided.

    Records that the request names are accepted.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    made = []
    for span in spans:
        if span.detector == DETECTOR:
            accepted, reason = True, "named by the request"
        else:
            value = span.similarity if span.detector == "verbatim" else span.score
            least = float(getattr(rule, span.detector, 1.0))
            accepted = (value or 0.0) >= least
            reason = f"{span.detector} {value or 0.0:.3f} against {least:g}"
        made.append(Decision(span.span_id, accepted, "rule", reason, now))
    return made
