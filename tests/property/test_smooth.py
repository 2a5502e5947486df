"""Smoothing: what must hold for every track."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import smoothing_reference
from hypothesis import given, settings
from hypothesis import strategies as st

from vidfer import smooth
from vidfer.errors import UsageError
from vidfer.smooth import Smoothed, Smoothing, smooth_track
from vidfer.types import F32, F64

ON = [Smoothing.preset(name) for name in ("light", "medium", "strong")]
MEDIUM = Smoothing.preset("medium")
OFF = Smoothing.preset("off")

quick = settings(deadline=None, max_examples=60)
seeds = st.integers(0, 2**32 - 1)
presets = st.sampled_from(ON)


class Track:
    """A made-up track: uneven steps, some rows not analysed, some qualities unknown."""

    def __init__(self, seed: int, rows: int | None = None, gaps: bool = True) -> None:
        random = np.random.default_rng(seed)
        n = int(random.integers(1, 60)) if rows is None else rows
        self.time_s: F64 = np.cumsum(random.choice([0.0, 1 / 60, 1 / 25, 0.1, 0.4], n, p=[0.05, 0.3, 0.5, 0.1, 0.05]))
        self.segment = np.zeros(n, np.int32)
        self.probability = random.dirichlet(np.full(8, 0.4), n).astype(np.float32)
        self.valence_arousal = random.uniform(-1, 1, (n, 2)).astype(np.float32)
        self.quality = random.uniform(0, 1, n).astype(np.float32)
        if gaps:
            missing = random.random(n) < 0.2
            self.probability[missing] = np.nan
            self.valence_arousal[missing] = np.nan
            self.quality[random.random(n) < 0.2] = np.nan

    def smooth(self, options: Smoothing, rows: slice | np.ndarray = slice(None)) -> Smoothed:
        return smooth_track(
            self.time_s[rows],
            self.segment[rows],
            self.probability[rows],
            self.valence_arousal[rows],
            self.quality[rows],
            options,
        )

    @property
    def measured(self) -> np.ndarray:
        return np.isfinite(self.probability).all(axis=1)


def same(a: Smoothed, b: Smoothed, tolerance: float = 1e-6) -> None:
    np.testing.assert_allclose(a.emotion_probability, b.emotion_probability, atol=tolerance)
    np.testing.assert_allclose(a.valence_arousal, b.valence_arousal, atol=tolerance)
    np.testing.assert_array_equal(a.emotion, b.emotion)


def constant(track: Track, seed: int) -> tuple[F32, F32]:
    random = np.random.default_rng(seed)
    track.probability[:] = random.dirichlet(np.full(8, 0.3)).astype(np.float32)
    track.valence_arousal[:] = random.uniform(-1, 1, 2).astype(np.float32)
    return track.probability[0].copy(), track.valence_arousal[0].copy()


@quick
@given(seeds, presets)
def test_constant_stays_constant(seed: int, options: Smoothing) -> None:
    track = Track(seed, gaps=False)
    probability, valence_arousal = constant(track, seed)
    got = track.smooth(options)
    # A probability of 0 comes back as the floor of the logarithm.
    np.testing.assert_allclose(got.emotion_probability, np.tile(probability, (len(track.time_s), 1)), atol=1e-5)
    np.testing.assert_allclose(got.valence_arousal, np.tile(valence_arousal, (len(track.time_s), 1)), atol=1e-6)
    assert (got.emotion == probability.argmax()).all()


@quick
@given(seeds, presets)
def test_probabilities_sum_to_one_and_values_stay_within_the_measured_ones(seed: int, options: Smoothing) -> None:
    track = Track(seed)
    got = track.smooth(options)
    if not track.measured.any():
        assert np.isnan(got.emotion_probability).all()
        assert np.isnan(got.valence_arousal).all()
        assert (got.emotion == -1).all()
        return
    np.testing.assert_allclose(got.emotion_probability.sum(axis=1), 1, atol=1e-5)
    assert (got.emotion_probability >= 0).all()
    known = track.valence_arousal[track.measured]
    assert (got.valence_arousal >= known.min(axis=0) - 1e-6).all()
    assert (got.valence_arousal <= known.max(axis=0) + 1e-6).all()
    assert ((got.emotion >= 0) & (got.emotion < 8)).all()


@quick
@given(seeds, presets)
def test_time_reversal_reverses_the_result(seed: int, options: Smoothing) -> None:
    track = Track(seed)
    forward = track.smooth(options)
    track.time_s = track.time_s[-1] - track.time_s
    backward = track.smooth(options, np.arange(len(track.time_s))[::-1])
    np.testing.assert_allclose(backward.emotion_probability[::-1], forward.emotion_probability, atol=1e-6)
    np.testing.assert_allclose(backward.valence_arousal[::-1], forward.valence_arousal, atol=1e-6)
    # Rows that were not analysed have no weight: there the change of the label may sit on either side.
    np.testing.assert_array_equal(backward.emotion[::-1][track.measured], forward.emotion[track.measured])


@quick
@given(seeds, seeds, presets)
def test_segments_do_not_know_each_other(first: int, second: int, options: Smoothing) -> None:
    a, b = Track(first), Track(second)
    both = Track(0, rows=0)
    both.time_s = np.concatenate([a.time_s, a.time_s[-1] + b.time_s])
    both.segment = np.concatenate([a.segment, b.segment + 1])
    both.probability = np.concatenate([a.probability, b.probability])
    both.valence_arousal = np.concatenate([a.valence_arousal, b.valence_arousal])
    both.quality = np.concatenate([a.quality, b.quality])
    together, alone_a, alone_b = both.smooth(options), a.smooth(options), b.smooth(options)
    same(
        together,
        Smoothed(
            emotion_probability=np.concatenate([alone_a.emotion_probability, alone_b.emotion_probability]),
            valence_arousal=np.concatenate([alone_a.valence_arousal, alone_b.valence_arousal]),
            emotion=np.concatenate([alone_a.emotion, alone_b.emotion]),
        ),
        1e-5,
    )


@quick
@given(seeds, presets, st.floats(0.001, 1000), st.floats(-1e5, 1e5))
def test_unit_and_origin_of_time_do_not_matter(seed: int, options: Smoothing, unit: float, origin: float) -> None:
    track = Track(seed)
    expected = track.smooth(options)
    other = Smoothing(time_constant_s=options.time_constant_s * unit, hold_s=options.hold_s * unit)
    track.time_s = track.time_s * unit
    same(track.smooth(other), expected, 1e-5)
    track.time_s = track.time_s + origin * unit
    got = track.smooth(other)
    np.testing.assert_allclose(got.valence_arousal, expected.valence_arousal, atol=1e-4)


@quick
@given(seeds, presets)
def test_rows_that_were_not_analysed_change_nothing(seed: int, options: Smoothing) -> None:
    """Splitting a step by an empty row is no measurement: the other rows stay as they are."""
    track = Track(seed)
    measured = track.measured
    if not measured.any():
        return
    with_empty, without = track.smooth(options), track.smooth(options, measured)
    np.testing.assert_allclose(with_empty.emotion_probability[measured], without.emotion_probability, atol=1e-6)
    np.testing.assert_allclose(with_empty.valence_arousal[measured], without.valence_arousal, atol=1e-6)
    np.testing.assert_array_equal(with_empty.emotion[measured], without.emotion)


@quick
@given(seeds, presets)
def test_gap_is_bridged_by_a_straight_line(seed: int, options: Smoothing) -> None:
    track = Track(seed, rows=40, gaps=False)
    track.time_s = np.arange(40) / 25
    track.valence_arousal[10:20] = np.nan
    got = track.smooth(options).valence_arousal
    np.testing.assert_allclose(np.diff(got[9:21], n=2, axis=0), 0, atol=1e-5)
    assert np.isfinite(got).all()


@quick
@given(seeds)
def test_off_gives_the_values_as_they_came(seed: int) -> None:
    track = Track(seed)
    got = track.smooth(OFF)
    np.testing.assert_array_equal(got.emotion_probability, track.probability)
    np.testing.assert_array_equal(got.valence_arousal, track.valence_arousal)
    raw = np.where(track.measured, np.nan_to_num(track.probability).argmax(axis=1), -1)
    np.testing.assert_array_equal(got.emotion, raw)


@quick
@given(seeds, presets)
def test_missing_quality_counts_as_one(seed: int, options: Smoothing) -> None:
    track = Track(seed)
    without = smooth_track(track.time_s, track.segment, track.probability, track.valence_arousal, None, options)
    track.quality[:] = np.nan
    same(track.smooth(options), without)
    track.quality[:] = 1
    same(track.smooth(options), without)


@quick
@given(seeds)
def test_stronger_presets_are_smoother(seed: int) -> None:
    track = Track(seed, rows=200, gaps=False)
    roughness = [np.abs(np.diff(track.smooth(options).valence_arousal, axis=0)).sum() for options in [OFF, *ON]]
    assert sorted(roughness, reverse=True) == roughness
    changes = [int((np.diff(track.smooth(options).emotion) != 0).sum()) for options in [OFF, *ON]]
    assert changes[0] >= changes[-1]


def pulse(options: Smoothing, fps: float, width_s: float = 0.0, quality: float = 1.0) -> tuple[F64, F32]:
    time_s = np.arange(-round(5 * fps), round(5 * fps) + 1) / fps
    values = np.repeat((np.abs(time_s) <= width_s / 2 + 1e-9)[:, None], 2, axis=1).astype(np.float32)
    rows = len(time_s)
    probability = np.full((rows, 8), 1 / 8, np.float32)
    weight = np.full(rows, quality, np.float32)
    got = smooth_track(time_s, np.zeros(rows, np.int32), probability, values, weight, options)
    return time_s, got.valence_arousal[:, 0]


@pytest.mark.parametrize("options", ON, ids=["light", "medium", "strong"])
@pytest.mark.parametrize("fps", [10, 30, 100])
def test_no_lag(options: Smoothing, fps: float) -> None:
    time_s, got = pulse(options, fps, width_s=0.6)
    np.testing.assert_allclose(got, got[::-1], atol=1e-6)
    assert got.argmax() == len(got) // 2
    assert abs((time_s * got).sum() / got.sum()) < 1e-4


@pytest.mark.parametrize("options", ON, ids=["light", "medium", "strong"])
@pytest.mark.parametrize("fps", [15, 30, 100])
def test_time_constant_is_the_stated_one_at_any_frame_rate(options: Smoothing, fps: float) -> None:
    for quality in (1.0, 0.25):
        time_s, got = pulse(options, fps, quality=quality)
        wanted = options.time_constant_s / np.sqrt(quality)
        near = (time_s > 0) & (time_s < wanted)
        slope = np.polyfit(time_s[near], np.log(got[near]), 1)[0] if near.sum() > 1 else -1 / wanted
        assert slope == pytest.approx(-1 / wanted, rel=0.05)


def labels(options: Smoothing, visit_s: float, fps: float = 50) -> np.ndarray:
    """Labels for two seconds of class 1 with a sure visit to class 3 in the middle."""
    time_s = np.arange(round(4 * fps) + 1) / fps - 2
    probability = np.full((len(time_s), 8), 0.02, np.float32)
    inside = np.abs(time_s) <= visit_s / 2
    probability[~inside, 1] = probability[inside, 3] = 0.86
    rows = len(time_s)
    return smooth_track(
        time_s, np.zeros(rows, np.int32), probability, np.zeros((rows, 2), np.float32), None, options
    ).emotion


@pytest.mark.parametrize(
    ("name", "kept_s", "ignored_s"), [("light", 0.24, 0.1), ("medium", 0.6, 0.3), ("strong", 1.6, 1.0)]
)
def test_label_follows_long_visits_and_ignores_short_ones(name: str, kept_s: float, ignored_s: float) -> None:
    options = Smoothing.preset(name)
    kept = labels(options, kept_s)
    assert set(kept) == {1, 3}
    assert (np.diff(kept) != 0).sum() == 2
    assert (kept != kept[::-1]).sum() <= 2, "symmetric but for a row in which both classes are equally likely"
    assert 0.7 * kept_s <= (kept == 3).sum() / 50 <= kept_s + 0.02
    assert set(labels(options, ignored_s)) == {1}


def test_label_changes_where_the_lead_does() -> None:
    time_s = np.arange(101) / 25
    probability = np.full((101, 8), 0.02, np.float32)
    probability[:40, 1] = probability[40:, 3] = 0.86
    va = np.zeros((101, 2), np.float32)
    for options in ON:
        got = smooth_track(time_s, np.zeros(101, np.int32), probability, va, None, options).emotion
        np.testing.assert_array_equal(got, np.where(np.arange(101) < 40, 1, 3))


def test_label_does_not_flicker_between_two_close_classes() -> None:
    random = np.random.default_rng(0)
    rows = 500
    probability = np.full((rows, 8), 0.02, np.float32)
    probability[:, :2] = 0.44 + random.normal(0, 0.1, (rows, 2))
    probability /= probability.sum(axis=1, keepdims=True)
    raw = probability.argmax(axis=1)
    va = np.zeros((rows, 2), np.float32)
    got = smooth_track(np.arange(rows) / 25, np.zeros(rows, np.int32), probability, va, None, MEDIUM).emotion
    assert (np.diff(raw) != 0).sum() > 200
    assert (np.diff(got) != 0).sum() <= 3


def test_one_row_and_none() -> None:
    for rows in (0, 1):
        track = Track(1, rows=rows, gaps=False)
        got = track.smooth(MEDIUM)
        np.testing.assert_allclose(got.emotion_probability, track.probability, atol=1e-5)
        assert got.emotion.dtype == np.int8
        assert got.emotion_probability.dtype == got.valence_arousal.dtype == np.float32


@pytest.mark.parametrize("bad", [[0.0, 0.2, 0.1], [0.0, np.nan, 0.1]])
def test_time_that_runs_backwards_is_refused(bad: list[float]) -> None:
    track = Track(1, rows=3, gaps=False)
    track.time_s = np.array(bad)
    with pytest.raises(ValueError, match="must not decrease"):
        track.smooth(MEDIUM)


def test_time_may_start_again_in_a_new_segment() -> None:
    track = Track(1, rows=4, gaps=False)
    track.time_s = np.array([5.0, 6.0, 0.0, 1.0])
    track.segment = np.array([0, 0, 1, 1], np.int32)
    assert np.isfinite(track.smooth(MEDIUM).valence_arousal).all()


def test_lengths_are_checked() -> None:
    track = Track(1, rows=4, gaps=False)
    track.segment = track.segment[:3]
    with pytest.raises(ValueError, match=r"got \[\(4,\), \(3,\)"):
        track.smooth(MEDIUM)


def test_unknown_preset() -> None:
    with pytest.raises(UsageError, match="unknown smoothing 'hard': choose one of off, light, medium, strong"):
        Smoothing.preset("hard")


@settings(deadline=None, max_examples=100)
@given(seeds, st.sampled_from([OFF, *ON]), st.booleans(), st.sampled_from([1, 7, 4096]))
def test_values_are_those_made_with_everything_in_memory(seed: int, options: Smoothing, gaps: bool, block: int) -> None:
    track = Track(seed, gaps=gaps)
    track.segment = np.cumsum(np.random.default_rng(seed).random(len(track.time_s)) < 0.05).astype(np.int32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(smooth, "_BLOCK", block)
        got = track.smooth(options)
    columns = track.time_s, track.segment, track.probability, track.valence_arousal, track.quality
    wanted = smoothing_reference.smooth_track(*columns, options)
    np.testing.assert_array_equal(got.emotion_probability, wanted.emotion_probability)
    np.testing.assert_array_equal(got.valence_arousal, wanted.valence_arousal)
    np.testing.assert_array_equal(got.emotion, wanted.emotion)


def test_memory_is_what_a_long_track_can_afford() -> None:
    """An hour of one face at 25 fps is 90,000 rows."""
    track = Track(1, rows=40_000, gaps=False)
    tracemalloc.start()
    try:
        track.smooth(MEDIUM)
        assert tracemalloc.get_traced_memory()[1] / 40_000 < 200, "bytes a row"
    finally:
        tracemalloc.stop()
