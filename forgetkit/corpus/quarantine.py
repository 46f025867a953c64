"""Bad rows: counted, recorded by place and digest, never by text; too many end the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path

from forgetkit.errors import ForgetkitError, InputError, TooManyBadRowsError
from forgetkit.files import canonical_json, sha256_bytes, write_text

MOST_RECORDS = 1_000_000
"""Records held in memory; a corpus with more bad rows than this is given up at once."""

NO_TEXT = "records without plain text (HTML pages, requests, images)"
"""What is filtered."""


@dataclass
class Counts:
    """What became of the rows of one file: `read = kept + filtered + duplicate + quarantined`."""

    read: int = 0
    kept: int = 0
    filtered: int = 0
    duplicate: int = 0
    quarantined: int = 0

    @property
    def balanced(self) -> bool:
        """Say whether every row is accounted for."""
        return self.read == self.kept + self.filtered + self.duplicate + self.quarantined

    def __add__(self, other: Counts) -> Counts:
        """Add the rows of another part."""
        pairs = zip(astuple(self), astuple(other), strict=True)
        return Counts(*(a + b for a, b in pairs))


@dataclass(frozen=True)
class BadRow:
    """Where a bad row stands and what is wrong with it.

    Attributes:
        file: the file, as in a document's source.
        line: line or row, from 1.
        offset: its first byte in the (decompressed) file; None where a format has no such thing.
        reason: what is wrong.
        sha256: digest of its raw bytes.
    """

    file: str
    line: int
    offset: int | None
    reason: str
    sha256: str


@dataclass
class Quarantine:
    """Keep the books of one reading.

    Args:
        max_bad_rows: rows that may be bad; None means the larger of 10 and 0.1 % of the rows read.
        mend: what to do about more of them.
    """

    max_bad_rows: int | None = None
    files: dict[str, Counts] = field(default_factory=dict)
    rows: list[BadRow] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    mend: str = "See quarantine.jsonl, or raise --max-bad-rows."

    def keep(self, file: str) -> None:
        """Count a good row."""
        self.files[file].kept += 1

    def kept(self, file: str, n: int) -> None:
        """Count good rows that were read together."""
        self.opened(file)
        self.files[file].read += n
        self.files[file].kept += n

    def filter(self, file: str) -> None:
        """Count a row that holds no text by its kind."""
        self.files[file].filtered += 1

    def saw(self, file: str) -> None:
        """Count a row that was read, good or bad."""
        self.files.setdefault(file, Counts()).read += 1

    def opened(self, file: str) -> None:
        """List a file, even one without rows."""
        self.files.setdefault(file, Counts())

    def ignore(self, file: str) -> None:
        """List a file of a folder that is of no kind we read."""
        self.ignored.append(file)

    def reject(self, file: str, line: int, offset: int | None, reason: str, raw: bytes) -> None:
        """Record a bad row from its bytes."""
        self.reject_digest(file, line, offset, reason, sha256_bytes(raw))

    def reject_digest(
        self, file: str, line: int, offset: int | None, reason: str, sha256: str
    ) -> None:
        """Record a bad row whose bytes were hashed in passing.

        Raises:
            TooManyBadRowsError: over a million of them.
        """
        self.files[file].quarantined += 1
        self.rows.append(BadRow(file, line, offset, reason, sha256))
        if len(self.rows) >= MOST_RECORDS:
            raise self._too_many(MOST_RECORDS)

    def balance(self, file: str) -> None:
        """Prove the books of one file.

        Raises:
            ForgetkitError: rows vanished; this is a bug.
        """
        counts = self.files[file]
        if not counts.balanced:
            raise ForgetkitError(
                "rows do not add up",
                where=file,
                found=", ".join(f"{value} {name}" for name, value in asdict(counts).items()),
                mend="This is a bug in forgetkit; please report it.",
            )

    def total(self) -> Counts:
        """Return the sum over all files."""
        return sum(self.files.values(), Counts())

    def check(self) -> None:
        """Compare the number of bad rows with what is allowed.

        Raises:
            TooManyBadRowsError: there are more.
        """
        total = self.total()
        allowed = max(10, total.read // 1000) if self.max_bad_rows is None else self.max_bad_rows
        if total.quarantined > allowed:
            raise self._too_many(allowed)

    def _too_many(self, allowed: int) -> TooManyBadRowsError:
        first = self.rows[0]
        return TooManyBadRowsError(
            f"{len(self.rows)} bad rows, {allowed} allowed",
            where=f"{first.file}:{first.line}",
            found=first.reason,
            mend=self.mend,
        )

    def write(self, path: Path) -> None:
        """Write `quarantine.jsonl` atomically, in order of file and line."""
        ordered = sorted(self.rows, key=lambda row: (row.file, row.line, row.offset or 0))
        write_text(path, "".join(canonical_json(asdict(row)) + "\n" for row in ordered))

    def accounting(self) -> dict[str, dict[str, int]]:
        """Return the books by file, sorted."""
        return {file: asdict(counts) for file, counts in sorted(self.files.items())}


def nothing_kept(corpus: Sequence[Path], total: Counts, first: str, mend: str) -> InputError:
    """Return the error of a corpus without a document.

    Args:
        corpus: what the user named.
        total: its books.
        first: the reason of the first bad row.
        mend: what to do about bad rows.
    """
    found, mends = [], []
    if total.quarantined:
        found.append(f"{total.quarantined} bad rows, the first: {first}")
        mends.append(mend)
    if total.filtered:
        found.append(f"{total.filtered} {NO_TEXT}")
        mends.append("Of web archives take the WET files, which hold the text of the pages.")
    return InputError(
        "the corpus is empty",
        where=", ".join(str(path) for path in corpus),
        found=" and ".join(found),
        mend=" ".join(mends),
    )
