"""Clusters of copies: who belongs together, who stays, and which document each copy matched."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forgetkit.compiled import compiled
from forgetkit.dedupe.catalogue import Catalogue, Numbers
from forgetkit.dedupe.nearby import Nearby
from forgetkit.match.groups import common, join_all, roots
from forgetkit.match.shingles import Shingles

EXACT, NEAR = 0, 1
_AT_ONCE = 4096  # pairs that are measured before mapped memory is given back


@dataclass(frozen=True)
class Clusters:
    """Groups of two and more documents, in order of their first member.

    Attributes:
        members: `(m,)` numbers of all members, a group behind the other; who stays comes first.
        bounds: `(groups + 1,)` where each group begins.
    """

    members: Numbers
    bounds: Numbers

    def __len__(self) -> int:
        return len(self.bounds) - 1

    @property
    def sizes(self) -> Numbers:
        """Return the number of members of each group."""
        return np.asarray(np.diff(self.bounds))

    @property
    def staying(self) -> Numbers:
        """Return the member of each group that stays or stands for it."""
        return self.members[self.bounds[:-1]]

    def dropped(self) -> tuple[Numbers, Numbers]:
        """Return the members that go, and the group of each."""
        group = np.repeat(np.arange(len(self)), self.sizes)
        goes = np.ones(len(self.members), bool)
        goes[self.bounds[:-1]] = False
        return self.members[goes], group[goes]


def cluster(catalogue: Catalogue, near: Nearby, rank: Numbers) -> Clusters:
    """Join exact and near copies into groups.

    Args:
        catalogue: all documents.
        near: near copies.
        rank: `(n,)` order of preference; of each group the least stays.
    """
    parents = catalogue.first.copy()
    join_all(parents, near.edges.first, near.edges.second)
    return _grouped(roots(parents), rank)


def _grouped(root: Numbers, rank: Numbers) -> Clusters:
    """Collect the items of each root, those with several only, best rank first."""
    order = np.lexsort((rank, root))
    begins = np.flatnonzero(np.diff(root[order], prepend=-1))
    sizes = np.diff(np.append(begins, len(order)))
    members = order[np.repeat(sizes > 1, sizes)]
    bounds = np.concatenate(([0], np.cumsum(sizes[sizes > 1])))
    return Clusters(members.astype(np.int64), bounds.astype(np.int64))


def split_by_representative(
    clusters: Clusters, catalogue: Catalogue, near: Nearby, threshold: float, rank: Numbers
) -> Clusters:
    """Cut groups so that each member is a copy of the one that stays itself.

    The best member stays, its copies go; among the rest the best stays, and so on. So no chain of
    copies, each a little different, takes a document away that nothing kept resembles.
    """
    place = np.searchsorted(near.numbers, catalogue.first[clusters.members])
    root = np.arange(len(catalogue))
    root[clusters.members] = _stars(
        clusters.members,
        clusters.bounds,
        catalogue.first,
        np.minimum(place, max(0, len(near.numbers) - 1)),
        near.sets.hashes,
        near.sets.bounds,
        threshold,
    )
    return _grouped(root, rank)


@compiled
def _stars(
    members: Numbers,
    group_bounds: Numbers,
    first: Numbers,
    place: Numbers,
    hashes: Shingles,
    bounds: Numbers,
    threshold: float,
) -> Numbers:
    """Return the member that each member belongs to."""
    found = np.full(len(members), -1, np.int64)
    for group in range(len(group_bounds) - 1):
        for i in range(group_bounds[group], group_bounds[group + 1]):
            if found[i] >= 0:
                continue
            found[i] = members[i]
            for j in range(i + 1, group_bounds[group + 1]):
                if found[j] < 0 and (
                    first[members[i]] == first[members[j]]
                    or common(hashes, bounds, place[i], place[j], threshold) >= 0
                ):
                    found[j] = members[i]
    return found


@dataclass(frozen=True)
class Matches:
    """Which document each copy matched.

    Attributes:
        numbers: `(m,)` the copies.
        others: `(m,)` what each matched: who stays where the two are copies themselves, else the
            most similar of the copies it was joined through.
        method: `(m,)` EXACT or NEAR.
        jaccard: `(m,)` similarity of the two, in (0, 1].
        containment: `(m,)` share of the copy's shingles that the other holds, in (0, 1].
    """

    numbers: Numbers
    others: Numbers
    method: npt.NDArray[np.int8]
    jaccard: npt.NDArray[np.float64]
    containment: npt.NDArray[np.float64]


def match_copies(
    clusters: Clusters, catalogue: Catalogue, near: Nearby, threshold: float
) -> Matches:
    """Say for each document that goes which one it matched, and how well."""
    numbers, group = clusters.dropped()
    first = catalogue.first
    others = clusters.staying[group].copy()
    method = np.where(first[numbers] == first[others], EXACT, NEAR).astype(np.int8)
    both = np.full(len(numbers), -1, np.int64)
    compared = np.flatnonzero(method == NEAR)
    mine = np.searchsorted(near.numbers, first[numbers[compared]])
    theirs = np.searchsorted(near.numbers, first[others[compared]])
    for begin in range(0, len(compared), _AT_ONCE):
        some = slice(begin, begin + _AT_ONCE)
        both[compared[some]] = _shared(
            mine[some], theirs[some], near.sets.hashes, near.sets.bounds, threshold
        )
        near.sets.release()
    far = compared[both[compared] < 0]
    copies = far[first[numbers[far]] != numbers[far]]
    others[copies], method[copies] = first[numbers[copies]], EXACT
    chained = far[first[numbers[far]] == numbers[far]]
    others[chained], both[chained] = _best_edges(numbers[chained], near, len(catalogue))
    return _measured(numbers, others, method, both, catalogue, near)


@compiled
def _shared(
    mine: Numbers, theirs: Numbers, hashes: Shingles, bounds: Numbers, threshold: float
) -> Numbers:
    found = np.empty(len(mine), np.int64)
    for i in range(len(mine)):
        found[i] = common(hashes, bounds, mine[i], theirs[i], threshold)
    return found


def _sizes(near: Nearby, firsts: Numbers) -> Numbers:
    if not len(firsts):
        return np.zeros(0, np.int64)
    return np.asarray(np.diff(near.sets.bounds)[np.searchsorted(near.numbers, firsts)])


def _best_edges(numbers: Numbers, near: Nearby, count: int) -> tuple[Numbers, Numbers]:
    """Return for each document the most similar one it was joined with, and what they share."""
    edges = near.edges
    ends = np.concatenate((edges.first, edges.second))
    others = np.concatenate((edges.second, edges.first))
    both = np.concatenate((edges.shared, edges.shared))
    similarity = both / np.maximum(1, _sizes(near, ends) + _sizes(near, others) - both)
    order = np.lexsort((others, -similarity, ends))
    at = order[np.searchsorted(ends[order], numbers)] if len(numbers) else numbers
    return others[at], both[at]


def _measured(
    numbers: Numbers,
    others: Numbers,
    method: npt.NDArray[np.int8],
    both: Numbers,
    catalogue: Catalogue,
    near: Nearby,
) -> Matches:
    jaccard, containment = np.ones(len(numbers)), np.ones(len(numbers))
    at = np.flatnonzero(method == NEAR)
    mine = _sizes(near, catalogue.first[numbers[at]])
    theirs = _sizes(near, catalogue.first[others[at]])
    jaccard[at] = both[at] / (mine + theirs - both[at])
    containment[at] = both[at] / mine
    return Matches(numbers, others, method, np.round(jaccard, 6), np.round(containment, 6))
