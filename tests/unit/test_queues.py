"""Channels and workers: order, pressure, and that neither side can hang once the other one stopped."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from patience import PATIENCE_S, until

from vidfer.pipeline.queues import Aborted, Channel, Mailboxes, Worker, read_ahead, run_in_thread


def joined(worker: Worker) -> Worker:
    worker._thread.join(PATIENCE_S)
    assert not worker._thread.is_alive(), "the thread hangs"
    return worker


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def test_items_arrive_in_order_and_iteration_ends_on_close() -> None:
    channel = Channel[int](3)

    def write() -> None:
        for item in range(100):
            channel.put(item)
        channel.close()

    worker = run_in_thread("write", write)
    assert list(channel) == list(range(100))
    joined(worker).join()


def test_close_keeps_what_is_queued() -> None:
    channel = Channel[int](3)
    channel.put(1)
    channel.put(2)
    channel.close()
    assert list(channel) == [1, 2]
    assert list(channel) == []


def test_put_waits_for_room() -> None:
    channel = Channel[int](2)
    done: list[int] = []

    def write() -> None:
        for item in range(5):
            channel.put(item)
            done.append(item)
        channel.close()

    worker = run_in_thread("write", write)
    until(lambda: len(done) == 2)
    time.sleep(0.05)
    assert len(done) == 2
    assert list(channel) == [0, 1, 2, 3, 4]
    joined(worker)


def test_abort_raises_the_error_in_the_reader_and_drops_what_is_queued() -> None:
    channel = Channel[int](3)
    channel.put(1)
    channel.abort(ValueError("first"))
    channel.abort(ValueError("second"))
    with pytest.raises(ValueError, match="first"):
        list(channel)


def test_abort_wakes_a_waiting_writer() -> None:
    channel = Channel[int](1)
    channel.put(0)
    seen: list[BaseException] = []

    def write() -> None:
        try:
            channel.put(1)
        except Aborted as error:
            seen.append(error)
            raise

    worker = run_in_thread("write", write)
    time.sleep(0.02)
    channel.abort(ValueError("no more"))
    joined(worker).join()  # Aborted is a consequence, not an error of the worker
    assert "no more" in str(seen[0])


def test_abort_wakes_a_waiting_reader() -> None:
    channel = Channel[int](1)
    worker = run_in_thread("read", lambda: list(channel) and None)
    time.sleep(0.02)
    channel.abort(ValueError("broken"))
    with pytest.raises(ValueError, match="broken"):
        joined(worker).join()


def test_put_after_close_is_a_mistake() -> None:
    channel = Channel[int](1)
    channel.close()
    with pytest.raises(RuntimeError, match="closed"):
        channel.put(1)


def test_several_readers_share_the_items() -> None:
    channel = Channel[int](4)
    parts: list[list[int]] = [[], []]
    readers = [run_in_thread(f"read {n}", lambda part=part: part.extend(channel)) for n, part in enumerate(parts)]
    for item in range(500):
        channel.put(item)
    channel.close()
    for reader in readers:
        joined(reader).join()
    assert sorted(parts[0] + parts[1]) == list(range(500))
    assert all(part == sorted(part) for part in parts)


def test_worker_raises_its_error_with_traceback() -> None:
    def fail() -> None:
        raise KeyError("here")

    with pytest.raises(KeyError, match="here") as caught:
        joined(run_in_thread("fail", fail)).join()
    assert any(entry.name == "fail" for entry in caught.traceback)


def test_capacity_must_be_positive() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        Channel[int](0)


def test_read_ahead_gives_all_items() -> None:
    with read_ahead("decode", range(50), 4) as items:
        assert list(items) == list(range(50))


def test_read_ahead_stays_within_its_capacity() -> None:
    started: list[int] = []

    def produce() -> Iterator[int]:
        for item in range(100):
            started.append(item)
            yield item

    with read_ahead("decode", produce(), 4) as items:
        next(iter(items))
        time.sleep(0.05)
        assert len(started) <= 6  # one taken, four waiting, one that waits for room


def test_read_ahead_raises_the_error_of_the_producer() -> None:
    def produce() -> Iterator[int]:
        yield 1
        raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"), read_ahead("decode", produce(), 4) as items:
        list(items)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_read_ahead_stops_when_the_reader_fails(error: type[BaseException]) -> None:
    def produce() -> Iterator[int]:
        while True:
            yield 0

    with pytest.raises(error), read_ahead("decode", produce(), 2) as items:  # noqa: PT012 - the reader fails
        for _ in items:
            raise error


def test_read_ahead_closes_a_generator_that_was_left_early() -> None:
    closed: list[bool] = []

    def produce() -> Iterator[int]:
        try:
            while True:
                yield 0
        finally:
            closed.append(True)

    with read_ahead("decode", produce(), 2) as items:
        next(iter(items))
    assert closed == [True]


def test_the_newest_item_of_each_sender_waits_and_the_one_before_is_given_back() -> None:
    boxes = Mailboxes[int]()
    assert boxes.put("a", 1) is None
    assert boxes.put("b", 2) is None
    assert boxes.put("a", 3) == 1
    assert boxes.take(0) == {"a": 3, "b": 2}
    assert boxes.take(0) == {}
    assert boxes.put("a", 4) is None


def test_who_waits_for_mail_is_woken() -> None:
    boxes = Mailboxes[int]()
    taken: list[dict[str, int]] = []
    worker = run_in_thread("take", lambda: taken.append(boxes.take(60)))
    boxes.put("a", 1)
    joined(worker).join()
    assert taken == [{"a": 1}]
