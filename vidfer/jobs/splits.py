"""Long files in parts, which are analysed side by side and then stitched: what follows when one comes back."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from vidfer.jobs.dataset import Dataset
from vidfer.jobs.units import DONE, FAILED, Record, Task


@dataclass(slots=True)
class _Split:
    """A file whose parts are on their way.

    Attributes:
        left: Parts that are not back.
        verdict: Why it will not be done, from the first part that says so.
        copies: Tasks of the same content under other names, which wait for this one.
    """

    left: int
    verdict: Record | None = None
    copies: list[Task] = field(default_factory=list)


class Splits:
    """All files whose parts are on their way.

    Args:
        dataset: Where they go.
        retries: How often a part is tried again.
    """

    def __init__(self, dataset: Dataset, retries: int) -> None:
        self._dataset, self._retries = dataset, retries
        self._open: dict[str, _Split] = {}

    def begin(self, task: Task, record: Record) -> list[Task]:
        """The tasks that a file has become."""
        assert record.unit is not None
        if record.unit in self._open:
            self._open[record.unit].copies.append(task)
            return []
        self._open[record.unit] = _Split(record.parts)
        return [replace(task, unit=record.unit, part=number, parts=record.parts) for number in range(record.parts)]

    def back(self, task: Task, record: Record) -> tuple[list[Task], Record | None]:
        """What is to be done next, and what became of the whole file once that is known."""
        assert task.unit is not None
        split = self._open[task.unit]
        if record.state == FAILED and task.attempt <= self._retries and split.verdict is None:
            return [replace(task, attempt=task.attempt + 1)], None
        if record.state != DONE:
            split.verdict = split.verdict or record
        split.left -= 1
        if split.left > 0:
            return [], None
        if task.part != task.parts and split.verdict is None:
            return [replace(task, part=task.parts, attempt=1)], None
        del self._open[task.unit]
        if split.verdict is not None and split.verdict.state != FAILED:
            self._dataset.give_up(task.unit)
        return split.copies, split.verdict or record
