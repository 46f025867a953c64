"""Documents as places, their copies as edges, groups of copies as clusters."""

from __future__ import annotations

from dataclasses import dataclass, field

from forgetkit.match import Clusters


@dataclass(frozen=True)
class Place:
    """Where a document stands, and how long it is, in code points."""

    doc_id: str
    source: str
    length: int

    @property
    def file(self) -> str:
        """Return the file, without the row."""
        return self.source.rpartition(":")[0]


@dataclass(frozen=True)
class Edge:
    """One end of a pair: the other document, and why the two are copies."""

    other: int
    jaccard: float
    method: str


@dataclass
class Graph:
    """Documents and the pairs of them that are copies."""

    places: list[Place] = field(default_factory=list)
    edges: dict[int, list[Edge]] = field(default_factory=dict)

    def connect(self, a: int, b: int, jaccard: float, method: str) -> None:
        """Record that two documents are copies."""
        self.edges.setdefault(a, []).append(Edge(b, jaccard, method))
        self.edges.setdefault(b, []).append(Edge(a, jaccard, method))

    def clusters(self) -> list[list[int]]:
        """Return the groups of two and more, in order of their first member."""
        groups = Clusters(len(self.places))
        for number, edges in self.edges.items():
            for edge in edges:
                groups.join(number, edge.other)
        members: dict[int, list[int]] = {}
        for number in sorted(self.edges):
            members.setdefault(groups.find(number), []).append(number)
        return [members[root] for root in sorted(members)]
