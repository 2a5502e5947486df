"""Statistics of faces: what must hold for every track."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import find_peaks as find_peaks_of_scipy
from scipy.signal import peak_prominences

from vidfer.stats.affect import moments, pooled, summarize_affect
from vidfer.stats.baseline import Span, baseline
from vidfer.stats.changes import expressions, transitions
from vidfer.stats.peaks import find_peaks
from vidfer.stats.series import Affect, FaceSeries, frame_durations
from vidfer.stats.summary import SourceSummary, summarize_face, summarize_video
from vidfer.stats.synchrony import SynchronyOptions, synchrony, windowed_correlation
from vidfer.stats.tables import TABLES, summary_tables
from vidfer.types import EMOTIONS

quick = settings(deadline=None, max_examples=60)
seeds = st.integers(0, 2**32 - 1)
USUAL_S, LONGEST_S = 0.04, 0.5
FINE = SynchronyOptions(grid_s=0.04)


def affect(random, rows):
    probability = random.dirichlet(np.full(8, 0.4), rows).astype(np.float32)
    plane = random.uniform(-1, 1, (2, rows)).astype(np.float32)
    label = random.integers(0, 8, rows).astype(np.int8)
    return Affect(probability=probability, label=label, valence=plane[0], arousal=plane[1])


def a_face(seed, rows=None, face_id=0):
    """Uneven steps, gaps, parts, two frames with one time."""
    random = np.random.default_rng(seed)
    rows = int(random.integers(1, 60)) if rows is None else rows
    time_s = np.cumsum(random.choice([0.0, 1 / 60, 0.04, 0.1, 0.7], rows, p=[0.05, 0.3, 0.45, 0.1, 0.1]))
    return FaceSeries(
        face_id=face_id,
        time_s=time_s,
        duration_s=frame_durations(time_s, USUAL_S, LONGEST_S),
        part=np.cumsum(random.random(rows) < 0.1).astype(np.int32),
        raw=affect(random, rows),
        smooth=affect(random, rows),
    )


def of_rows(one, rows):
    return Affect(**{name: getattr(one, name)[rows] for name in ("probability", "label", "valence", "arousal")})


def rows_of(face, rows):
    columns = {name: getattr(face, name)[rows] for name in ("time_s", "duration_s", "part")}
    return replace(face, **columns, raw=of_rows(face.raw, rows), smooth=of_rows(face.smooth, rows))


def a_signal(values, face_id=0, step_s=0.04, delay_s=0.0):
    """A face whose valence, arousal and expressivity are some values."""
    values = np.asarray(values, np.float32)
    rows = len(values)
    probability = np.zeros((rows, 8), np.float32)
    probability[:, 0], probability[:, 1] = 1 - values, values
    label = np.zeros(rows, np.int8)
    shown = Affect(probability=probability, label=label, valence=values, arousal=values)
    time_s = np.arange(rows) * step_s + delay_s
    duration_s = np.full(rows, step_s)
    part = np.zeros(rows, np.int32)
    return FaceSeries(face_id=face_id, time_s=time_s, duration_s=duration_s, part=part, raw=shown, smooth=shown)


def wandering(seed, rows, smooth=10):
    """A smooth random signal from 0 to 1."""
    noise = np.random.default_rng(seed).standard_normal(rows + 8 * smooth)
    kernel = np.exp(-0.5 * (np.arange(-4 * smooth, 4 * smooth + 1) / smooth) ** 2)
    values = np.convolve(noise, kernel, "valid")
    return (values - values.min()) / np.ptp(values)


class TestTime:
    @quick
    @given(st.lists(st.integers(0, 400), min_size=1, max_size=50))
    def test_frames_without_gaps_count_until_the_next_one(self, steps_ms):
        time_s = np.cumsum([0, *steps_ms]) / 1000
        durations = frame_durations(time_s, USUAL_S, LONGEST_S)
        assert math.isclose(durations.sum(), time_s[-1] + USUAL_S, abs_tol=1e-9)
        np.testing.assert_allclose(durations[:-1], np.diff(time_s), atol=1e-12)

    @quick
    @given(st.lists(st.floats(-100, 100), max_size=50))
    def test_no_frame_counts_for_a_gap_or_backwards(self, time_s):
        durations = frame_durations(np.array(time_s, float), USUAL_S, LONGEST_S)
        assert len(durations) == len(time_s)
        assert ((durations >= 0) & (durations <= LONGEST_S)).all()

    @quick
    @given(seeds, st.randoms())
    def test_order_and_splitting_change_nothing(self, seed, random):
        """However the rows of a face come, and in however many pieces: the same time, shares, means and spread."""
        face = a_face(seed)
        rows = list(range(len(face.time_s)))
        random.shuffle(rows)
        cut = random.randint(0, len(rows))
        pieces = [
            summarize_affect(of_rows(face.raw, part), face.duration_s[part])
            for part in (np.array(rows[:cut], int), np.array(rows[cut:], int))
        ]
        whole, joined = summarize_affect(face.raw, face.duration_s), pooled(pieces)
        assert math.isclose(whole.seconds, joined.seconds)
        assert math.isclose(whole.seconds, face.measured_s)
        np.testing.assert_allclose(whole.share, joined.share, atol=1e-9)
        np.testing.assert_allclose(whole.probability, joined.probability, atol=1e-9)
        for name in ("valence", "arousal"):
            mine, theirs = getattr(whole, name), getattr(joined, name)
            assert math.isclose(mine.mean, theirs.mean, abs_tol=1e-9)
            assert math.isclose(mine.sd, theirs.sd, abs_tol=1e-6)


class TestAffect:
    @quick
    @given(seeds)
    def test_shares_and_probabilities_sum_to_one(self, seed):
        face = a_face(seed)
        for one in (summarize_affect(face.raw, face.duration_s), summarize_affect(face.smooth, face.duration_s)):
            assert math.isclose(one.share.sum(), 1)
            assert math.isclose(one.probability.sum(), 1)
            assert (one.share >= 0).all()
            assert 0 <= one.expressivity <= 1
            assert -1 <= one.valence.mean <= 1
            assert 0 <= one.arousal.sd <= 1

    @quick
    @given(seeds)
    def test_rows_of_equal_time_are_a_plain_mean(self, seed):
        face = a_face(seed)
        one = summarize_affect(face.raw, np.full(len(face.time_s), 0.04))
        assert math.isclose(one.valence.mean, face.raw.valence.astype(float).mean(), abs_tol=1e-9)
        assert math.isclose(one.valence.sd, face.raw.valence.astype(float).std(), abs_tol=1e-9)
        np.testing.assert_allclose(one.share, np.bincount(face.raw.label, minlength=8) / len(face.time_s))

    def test_a_frame_that_is_seen_longer_counts_more(self):
        shown = a_signal([0, 1, 1]).raw
        one = summarize_affect(replace(shown, label=np.array([0, 1, 1], np.int8)), np.array([0.3, 0.05, 0.05]))
        assert one.share[:2].tolist() == pytest.approx([0.75, 0.25])
        assert one.valence.mean == pytest.approx(0.25)

    @quick
    @given(st.floats(-1, 1, width=32), st.integers(1, 100))
    def test_a_constant_has_exactly_no_spread(self, value, rows):
        spread = moments(np.full(rows, value, np.float32), np.full(rows, 1 / 30))
        assert (spread.mean, spread.sd) == (float(np.float32(value)), 0)

    def test_no_time_is_nothing_known(self):
        assert summarize_affect(a_signal([0.5]).raw, np.zeros(1)) is None
        assert pooled([None, None]) is None
        assert pooled([]) is None


class TestChanges:
    @quick
    @given(st.lists(st.tuples(st.integers(0, 7), st.integers(1, 4)), min_size=1, max_size=30))
    def test_planted_transitions_are_counted(self, visits):
        label = np.repeat([one for one, _ in visits], [rows for _, rows in visits]).astype(np.int8)
        count = transitions(label, np.zeros(len(label), np.int32))
        wanted = np.zeros((8, 8), int)
        for (before, _), (after, _) in itertools.pairwise(visits):
            wanted[before, after] += before != after
        np.testing.assert_array_equal(count, wanted)

    @quick
    @given(seeds)
    def test_none_over_a_cut_and_as_many_in_as_out(self, seed):
        face = a_face(seed)
        count = transitions(face.smooth.label, face.part)
        parts = [face.smooth.label[face.part == part] for part in np.unique(face.part)]
        np.testing.assert_array_equal(count, sum(transitions(one, np.zeros(len(one), np.int32)) for one in parts))
        for label in range(8):
            starts, ends = (sum(one[end] == label for one in parts) for end in (0, -1))
            assert count[label].sum() + ends == count[:, label].sum() + starts
        assert count.diagonal().sum() == 0

    def test_expressions_go_from_neutral_to_neutral(self):
        label = np.array([1, 1, 0, 2, 3, 3, 0, 0, 1, 1], np.int8)
        part = np.array([0, 0, 0, 0, 0, 0, 0, 0, 0, 1], np.int32)
        found = expressions(label, part, np.full(10, 0.1))
        assert (found.count, found.seconds) == (4, pytest.approx(0.7))

    @quick
    @given(seeds)
    def test_time_of_expressions_is_time_without_neutral(self, seed):
        face = a_face(seed)
        found = expressions(face.smooth.label, face.part, face.duration_s)
        share = summarize_affect(face.smooth, face.duration_s).share
        assert math.isclose(found.seconds, face.measured_s * (1 - share[0]), abs_tol=1e-9)


class TestPeaks:
    @quick
    @given(st.lists(st.integers(-5, 5), max_size=60), st.integers(0, 6))
    def test_as_scipy_finds_them(self, values, least):
        signal = np.array(values, float)
        found = find_peaks(signal, np.zeros(len(values), np.int32), least)
        row = find_peaks_of_scipy(signal)[0]
        prominence = peak_prominences(signal, row)[0]
        keep = prominence >= least
        np.testing.assert_array_equal(found.row, row[keep])
        np.testing.assert_allclose(found.prominence, prominence[keep])

    @quick
    @given(seeds)
    def test_parts_know_nothing_of_each_other(self, seed):
        face = a_face(seed)
        found = find_peaks(face.smooth.valence, face.part, 0.3)
        rows = []
        for part in np.unique(face.part):
            own = np.flatnonzero(face.part == part)
            rows.append(own[find_peaks(face.smooth.valence[own], np.zeros(len(own), np.int32), 0.3).row])
        np.testing.assert_array_equal(found.row, np.concatenate(rows))

    def test_neither_a_constant_nor_a_rise_has_a_peak(self):
        for values in (np.zeros(9), np.arange(9.0), np.arange(9.0)[::-1], np.zeros(0), np.ones(1)):
            assert len(find_peaks(values, np.zeros(len(values), np.int32), 0).row) == 0

    def test_a_summary_tells_when_and_how_strong(self):
        values = np.zeros(200)
        values[50:61] = 0.6 - 0.1 * np.abs(np.arange(-5, 6))
        values[120:131] = -(0.6 - 0.1 * np.abs(np.arange(-5, 6)))
        peaks = [peak for peak in summarize_face(a_signal(values)).peaks if peak.signal == "valence"]
        assert [(peak.is_trough, round(peak.time_s, 2)) for peak in peaks] == [(False, 2.2), (True, 5.0)]
        assert [peak.value for peak in peaks] == pytest.approx([0.6, -0.6], abs=1e-6)
        # Each falls by 0.6 on the far side and by 1.2 towards the other one.
        assert [peak.prominence for peak in peaks] == pytest.approx([0.6, 0.6], abs=1e-6)


class TestSynchrony:
    @settings(deadline=None, max_examples=15)
    @given(seeds, st.integers(-45, 45))
    def test_a_planted_lag_is_found_with_its_sign(self, seed, lag):
        """The second face repeats the first one `lag` points later: positive, the first leads."""
        values = wandering(seed, 600)
        first, second = a_signal(values[50:-50], 0), a_signal(values[50 - lag : 550 - lag], 1)
        found = synchrony(first, second, "valence", FINE)
        assert found.lag_s == pytest.approx(lag * 0.04)
        assert found.correlation > 0.999
        assert found.first_leads == pytest.approx((np.sign(lag) + 1) / 2, abs=0.1)

    @settings(deadline=None, max_examples=15)
    @given(seeds)
    def test_exchanging_the_faces_exchanges_the_lags(self, seed):
        a, b = (wandering(seed + i, 500, smooth=4) for i in (0, 1))
        b[200:230] = np.nan
        mine, theirs = (windowed_correlation(*pair, 0.0, FINE) for pair in ((a, b), (b, a)))
        np.testing.assert_array_equal(mine.correlation, theirs.correlation[:, ::-1])
        np.testing.assert_array_equal(mine.peak, theirs.peak)
        np.testing.assert_array_equal(mine.peak_lag_s, -theirs.peak_lag_s)

    @settings(deadline=None, max_examples=15)
    @given(seeds, st.floats(0.1, 1), st.floats(-0.5, 0.5))
    def test_height_and_scale_do_not_matter(self, seed, scale, offset):
        a, b = (wandering(seed + i, 400) for i in (0, 1))
        mine = windowed_correlation(a, b, 0.0, FINE).correlation
        theirs = windowed_correlation(a, b * scale + offset, 0.0, FINE).correlation
        np.testing.assert_allclose(mine, theirs, atol=1e-6)

    @settings(deadline=None, max_examples=4)
    @given(seeds)
    def test_each_value_is_the_plain_correlation_of_two_windows(self, seed):
        a, b = (wandering(seed + i, 300) for i in (0, 1))
        options = SynchronyOptions(window_s=2, step_s=0.52, max_lag_s=0.8, grid_s=0.04)
        found = windowed_correlation(a, b, 10.0, options)
        for i, start_s in enumerate(found.start_s):
            at = round((start_s - 10) / 0.04)
            for j, lag in enumerate(range(-20, 21)):
                x, y = at - max(lag, 0), at + min(lag, 0)
                assert found.correlation[i, j] == pytest.approx(
                    np.corrcoef(a[x : x + 50], b[y : y + 50])[0, 1], abs=1e-9
                )

    def test_what_does_not_move_tells_nothing(self):
        moving, still = a_signal(wandering(1, 500)), a_signal(np.full(500, 0.3), 1)
        assert synchrony(moving, still, "valence") is None
        assert synchrony(still, still, "expressivity") is None

    def test_too_short_apart_or_too_sparse(self):
        values = wandering(1, 500)
        assert synchrony(a_signal(values[:100]), a_signal(values[:100], 1), "arousal") is None
        assert synchrony(a_signal(values), a_signal(values, 1, delay_s=30.0), "arousal") is None
        sparse = SynchronyOptions(grid_s=0.5)
        assert synchrony(a_signal(values, step_s=0.5), a_signal(values, 1, step_s=0.5), "arousal", sparse) is None

    def test_a_gap_is_not_bridged(self):
        values = wandering(3, 800)
        whole, hole = a_signal(values), a_signal(values, 1)
        hole = replace(
            hole, part=(np.arange(800) >= 400).astype(np.int32), time_s=hole.time_s + 1.0 * (np.arange(800) >= 400)
        )
        found = synchrony(whole, hole, "valence")
        assert found.windows < synchrony(whole, a_signal(values, 1), "valence").windows
        assert found.correlation > 0.99

    def test_chance_is_told_beside(self):
        """Two faces that have nothing to do with each other correlate too, once the best lag is taken."""
        strangers = [[a_signal(wandering(seed + 99 * i, 1500), i) for i in (0, 1)] for seed in range(8)]
        chance = [synchrony(*pair, "valence") for pair in strangers]
        assert min(one.correlation for one in chance) > 0.2
        assert np.mean([one.surrogate - one.correlation for one in chance]) == pytest.approx(0, abs=0.07)
        assert sum(one.surrogate_p <= 0.05 for one in chance) <= 2
        values = wandering(5, 1600)
        alike = synchrony(a_signal(values[:1500]), a_signal(values[10:1510], 1), "valence")
        assert alike.surrogate_p == pytest.approx(0.05)
        assert alike.correlation > alike.surrogate + 0.3


class TestBaseline:
    @quick
    @given(seeds, st.integers(26, 200))
    def test_the_most_neutral_tenth_is_taken(self, seed, rows):
        face = a_face(seed, rows)
        face = replace(face, duration_s=np.full(rows, 0.04))
        found = baseline([face], None)
        neutral = np.sort(face.smooth.probability[:, 0].astype(float))[::-1]
        taken = max(25, math.ceil(rows / 10))
        assert found.seconds == pytest.approx(taken * 0.04)
        assert found.probability[0] == pytest.approx(neutral[:taken].mean(), abs=1e-6)

    @quick
    @given(seeds)
    def test_a_span_is_only_that(self, seed):
        face = a_face(seed)
        whole = baseline([face], Span(start_s=0, end_s=face.time_s[-1] + 1))
        assert whole.valence == summarize_affect(face.smooth, face.duration_s).valence
        assert baseline([face], Span(start_s=face.time_s[-1] + 1, end_s=1e9)) is None

    @quick
    @given(seeds)
    def test_a_person_in_two_tracks_has_one_baseline(self, seed):
        face = a_face(seed, 120)
        halves = [rows_of(face, rows) for rows in (slice(0, 50), slice(50, None))]
        assert baseline(halves, None).probability.tolist() == baseline([face], None).probability.tolist()

    def test_less_than_a_second_is_no_baseline(self):
        assert baseline([a_signal(np.linspace(0, 1, 20))], None) is None


class TestTables:
    @settings(deadline=None, max_examples=15)
    @given(seeds, st.booleans())
    def test_missing_is_null_and_never_nan(self, seed, with_baseline):
        faces = [a_face(seed + i, face_id=i) for i in range(3)]
        faces.append(replace(a_signal([0.5], 3), duration_s=np.zeros(1)))  # the only frame of a face has no time
        own = baseline(faces[:1], None) if with_baseline else None
        told = tuple(summarize_face(face, baseline=own) for face in faces)
        video = summarize_video(np.full(50, 0.04), np.arange(50) % 4, told)
        one = SourceSummary(table="a.parquet", source="a.mp4", video=video, faces=told, synchrony=())
        tables = summary_tables([one, one], with_baseline)
        assert tuple(tables) == TABLES
        assert [tables[name].num_rows for name in ("videos", "faces")] == [2, 8]
        for table in tables.values():
            for column in table.columns:
                values = [value for value in column.to_pylist() if isinstance(value, float)]
                assert all(map(math.isfinite, values))
        rows = tables["faces"].to_pylist()
        assert rows[3]["valence_mean"] is None
        assert rows[3]["transitions_per_min"] is None
        assert ("valence_change" in rows[0]) == with_baseline
        assert rows[0]["emotion_smooth"] in EMOTIONS
        for row in rows[:3] + tables["videos"].to_pylist():
            for kind in ("", "_smooth"):
                assert sum(row[f"emotion_{name}{kind}_share"] for name in EMOTIONS) == pytest.approx(1)

    def test_a_video_without_faces(self):
        video = summarize_video(np.full(10, 0.04), np.zeros(10, np.int64), ())
        one = SourceSummary(table="a.parquet", source="a.mp4", video=video, faces=(), synchrony=())
        row = summary_tables([one])["videos"].to_pylist()[0]
        assert (row["frames"], row["seconds"], row["faces"], row["face_s"]) == (10, pytest.approx(0.4), 0, 0)
        assert row["emotion_smooth"] is None
        assert row["transitions"] == 0

    @settings(deadline=None, max_examples=15)
    @given(seeds)
    def test_change_is_mean_less_baseline(self, seed):
        face = a_face(seed, 80)
        own = baseline([face], None)
        video = summarize_video(face.duration_s, np.ones(80, np.int64), ())
        one = SourceSummary(
            table="a", source="a", video=video, faces=(summarize_face(face, baseline=own),), synchrony=()
        )
        row = summary_tables([one], True)["faces"].to_pylist()[0]
        for name in ("valence", "arousal", "emotion_anger"):
            assert row[f"{name}_smooth_mean"] - row[f"{name}_baseline"] == pytest.approx(row[f"{name}_change"])
        assert row["expressivity_change"] >= -1e-9
