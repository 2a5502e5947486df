"""Splits: what a data set says, and shares of the rest that keep groups whole and classes in proportion."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from vidfer.errors import UsageError
from vidfer.train.datasets.rows import SPLITS


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitOptions:
    """How rows are split whose split is open.

    Attributes:
        val_share: Share of the rows for val, in [0, 1).
        test_share: Share of the rows for test.
        seed: Decides which groups.
        again: Rows whose split the data set tells are split again, too.
    """

    val_share: float = 0.1
    test_share: float = 0.0
    seed: int = 0
    again: bool = False

    def __post_init__(self) -> None:
        for name in ("val_share", "test_share"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"--{name.replace('_', '-')} must be from 0 to less than 1, got {getattr(self, name)}")
        if self.val_share + self.test_share >= 1:
            raise UsageError("--val-share and --test-share leave nothing to train on: their sum must be less than 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What splitting looks at: the group, what must stay in proportion, and the split that the data set tells."""

    group: str
    stratum: str
    split: str | None


def split_rows(rows: Sequence[Row], options: SplitOptions) -> list[str | None]:
    """The split of every row.

    A split that the data set tells stays. Where it tells no val (or no test), a share of its train rows becomes that. A
    group that it puts into several splits stays in the last of train, val, test alone; its other rows get None.
    """
    told = set() if options.again else {row.split for row in rows}
    shares = {"val": options.val_share, "test": options.test_share}
    shares = {name: 0.0 if name in told else share for name, share in shares.items()}
    open_again = set(SPLITS) if options.again else {"train"} if any(shares.values()) else set()
    fixed = [None if row.split in open_again else row.split for row in rows]
    held: dict[str, str] = {}
    for row, split in zip(rows, fixed, strict=True):
        if split is not None:
            held[row.group] = max(split, held.get(row.group, split), key=SPLITS.index)
    loose = [row for row, split in zip(rows, fixed, strict=True) if split is None and row.group not in held]
    drawn = _draw(loose, {"train": 1 - sum(shares.values()), **shares}, options.seed)
    return [
        drawn[row.group] if row.group not in held else held[row.group] if row.split in (None, held[row.group]) else None
        for row in rows
    ]


def _draw(rows: Iterable[Row], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """A split for every group: the large ones first, each to where it brings the strata nearest to their shares."""
    strata: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        strata[row.group][row.stratum] += 1
    totals: Counter[str] = Counter()
    for counts in strata.values():
        totals.update(counts)
    used = {split: share for split, share in shares.items() if share > 0}
    have: dict[str, Counter[str]] = {split: Counter() for split in used}
    order = sorted(strata, key=lambda g: (-strata[g].total(), sha256(f"{seed}:{g}".encode()).digest()))
    found = {}
    for group in order:
        counts = strata[group]

        def cost(split: str, counts: Counter[str] = counts) -> float:
            # How much the sum of (rows - wanted)² / wanted over the strata grows.
            return sum(
                n * (2 * (have[split][s] - used[split] * totals[s]) + n) / (used[split] * totals[s])
                for s, n in counts.items()
            )

        best = min(used, key=cost)
        have[best].update(counts)
        found[group] = best
    return found
