"""Text matching: copied spans with exact offsets on both sides, and near duplicates."""

from forgetkit.match.fold import Folded, fold, folded_text
from forgetkit.match.minhash import Clusters, NearDuplicates, Pair, clusters_of, jaccard, shingles
from forgetkit.match.verbatim import Match, WorkIndex

__all__ = [
    "Clusters",
    "Folded",
    "Match",
    "NearDuplicates",
    "Pair",
    "WorkIndex",
    "clusters_of",
    "fold",
    "folded_text",
    "jaccard",
    "shingles",
]
