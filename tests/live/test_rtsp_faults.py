"""Everything that cameras do wrong, by a real RTSP server on loopback: what was written stays, and the table says why.

Each fault happens once here, some of them one after the other. Twenty times each (a quarter of an hour):

    python -m pytest tests/live -m slow -k twenty
"""

from functools import partial

import numpy as np
import pytest
from patience import until
from streams import RtspServer, clip, show, show_without_time
from watching import Watching, events, footers, table

from vidfer.media.connect import LiveOptions

WRONG = "someone:else"
PASSWORD = "pass-word-4711"


def until_lost(watching, reason):
    """Wait until a camera is away for this reason, now: the last error of one that is live is an old one."""
    watching.until(lambda c: c.state in ("waiting", "connecting") and reason in (c.last_error or ""), what=reason)


def killed(camera, watching, loops):
    camera.kill()
    until_lost(watching, "")
    camera.start()


def refused(camera, watching, loops):
    camera.kill()
    until_lost(watching, "Connection refused")
    camera.start()


def frozen(camera, watching, loops):
    camera.freeze()
    until_lost(watching, "nothing came")
    camera.thaw()


def killed_and_frozen_while_it_starts(camera, watching, loops):
    camera.kill()
    camera.start()
    camera.freeze()
    until_lost(watching, "no answer")
    camera.kill()
    camera.start()


def not_found(camera, watching, loops):
    camera.kill()
    mounts, camera.mounts = camera.mounts, {"/other": camera.mounts["/live"]}
    camera.start()
    until_lost(watching, "404")
    camera.kill()
    camera.mounts = mounts
    camera.start()


def wrong_password(camera, watching, loops):
    camera.kill()
    login, camera.login = camera.login, WRONG
    camera.start()
    until_lost(watching, "wrong user or password")
    camera.kill()
    camera.login = login
    camera.start()


def another_picture(camera, watching, loops):
    show_other(camera, show(clip(loops, size=(480, 270), rate=15)), show(clip(loops)))


def another_codec(camera, watching, loops):
    show_other(camera, show(clip(loops, "h265")), show(clip(loops)))


def show_other(camera, other, usual):
    camera.kill()
    camera.mounts = {"/live": usual if camera.mounts["/live"] == other else other}
    camera.start()


# Fault -> (event, reason) of which the table has one for each time; what is shown changes back every other time.
FAULTS = {
    killed: ("lost", ""),
    refused: ("lost", "Connection refused"),
    frozen: ("lost", "nothing came for 2 s"),
    killed_and_frozen_while_it_starts: ("lost", "no answer within 3 s"),
    not_found: ("lost", "nothing is there under this path (404)"),
    wrong_password: ("lost", "wrong user or password"),
    another_picture: ("live", "480x270 h264"),
    another_codec: ("live", "320x180 hevc"),
}
# What happens one after the other, to one camera.
QUICK = [[killed, not_found, wrong_password], [frozen, refused], [another_picture, another_codec]]
ONCE_AND_TWENTY = pytest.mark.parametrize("times", [1, pytest.param(20, marks=pytest.mark.slow, id="twenty")])


def suffer(faults, tmp_path, loops, caplog):
    """Let faults happen to a camera that is watched."""
    login = f"me:{PASSWORD}"
    caplog.set_level("DEBUG")
    with (
        RtspServer({"/live": show(clip(loops))}, login) as camera,
        Watching(tmp_path, camera.url("/live", login), stall=2.0) as watching,
    ):
        watching.until_frames(10)
        known = {}
        for fault in faults:
            watching.until_pieces(len(known) + 1)
            known |= {path: path.read_bytes() for path in watching.parts()}
            fault(camera, watching, loops)
            watching.until_frames(10)
        assert watching.camera().reconnects >= len(faults)
    assert all(path.read_bytes() == was for path, was in known.items())
    rows = table(tmp_path)
    assert len(rows) == watching.result[0].frames
    assert (np.diff(rows["frame"]) > 0).all()
    assert (np.diff(rows["timestamp"]) >= 0).all()
    assert rows["face_id"].dropna().is_monotonic_increasing
    assert rows.groupby("epoch")["face_id"].nunique().max() <= 8
    assert rows["epoch"].iloc[-1] >= len(faults)
    said = events(tmp_path)
    for fault in set(faults):
        event, words = FAULTS[fault]
        times = faults.count(fault) if event == "lost" else (faults.count(fault) + 1) // 2
        assert sum(e == event and words in reason for e, reason in said) >= times, fault
    assert [event for event, _ in said].count("live") == watching.result[0].reconnects + 1
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert PASSWORD.encode() not in written
    assert PASSWORD not in caplog.text + str(watching.result) + repr(watching.options)


@pytest.mark.parametrize("faults", QUICK, ids=lambda faults: " ".join(fault.__name__ for fault in faults))
def test_faults_end_nothing_and_are_told(faults, tmp_path, loops, caplog):
    suffer(faults, tmp_path, loops, caplog)


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_twenty_times_ends_nothing_and_is_told(fault, tmp_path, loops, caplog, monkeypatch):
    if fault is killed_and_frozen_while_it_starts:
        monkeypatch.setattr("vidfer.pipeline.camera.LiveOptions", partial(LiveOptions, open_s=3.0, retry_s=(0.05, 0.2)))
    suffer([fault] * 20, tmp_path, loops, caplog)


def test_a_camera_that_is_not_there_yet_is_waited_for(tmp_path, loops):
    camera = RtspServer({"/live": show(clip(loops))})
    with Watching(tmp_path, camera.url("/live")) as watching:
        try:
            watching.until(lambda c: c.state == "waiting" and c.last_error == "Connection refused")
            camera.start()
            watching.until_frames(5)
        finally:
            camera.kill()
    assert events(tmp_path)[0] == ("lost", "Connection refused")
    assert watching.result[0].reconnects == 0


def test_one_camera_that_is_dead_takes_nothing_from_the_other(tmp_path, loops):
    sound = "( audiotestsrc is-live=true ! audioconvert ! rtpL16pay name=pay0 pt=96 )"
    with RtspServer({"/live": show(clip(loops)), "/sound": sound}) as camera:
        urls = [camera.url("/live"), camera.url("/nothing"), "rtsp://127.0.0.1:1/refused", "gopher://old"]
        urls += [camera.url("/sound")]
        with Watching(tmp_path, *urls) as watching:
            watching.until(lambda c: c.state == "failed", 3)
            watching.until(lambda c: c.last_error is not None and "404" in c.last_error, 1)
            watching.until(lambda c: c.last_error == "Connection refused", 2)
            watching.until(lambda c: "is there a video" in (c.last_error or ""), 4)
            watching.until_frames(30)
    assert len(table(tmp_path)) == watching.result[0].frames
    assert [camera.frames for camera in watching.result[1:]] == [0, 0, 0, 0]


@ONCE_AND_TWENTY
def test_one_camera_that_dies_again_and_again_takes_nothing_from_the_other(tmp_path, loops, times):
    with (
        RtspServer({"/live": show(clip(loops))}) as camera,
        RtspServer({"/dies": show(clip(loops))}) as other,
        Watching(tmp_path, camera.url("/live"), other.url("/dies")) as watching,
    ):
        for _ in range(times):
            watching.until_frames(5, 1)
            other.kill()
            watching.until(lambda c: c.last_error == "Connection refused" and c.state == "waiting", 1)
            watching.until_frames(10, 0)
            other.start()
        watching.until_frames(5, 1)
    good, bad = watching.result
    assert (good.reconnects, bad.reconnects) == (0, times)
    rows = table(tmp_path).groupby("source").size()
    assert [rows[good.name], rows[bad.name]] == [good.frames, bad.frames]
    assert [event for event, _ in events(tmp_path, good.name)] == ["live"]


@ONCE_AND_TWENTY
def test_stamps_that_jump_back_begin_an_epoch_and_time_goes_on_over_rtsp(tmp_path, loops, times):
    launch = show(clip(loops, seconds=240), before="identity name=shift !")
    with RtspServer({"/live": launch}) as camera, Watching(tmp_path, camera.url("/live")) as watching:
        for epoch in range(times):
            watching.until(lambda c, epoch=epoch: c.epoch > epoch)
        watching.until_frames(10)
    rows = table(tmp_path)
    assert watching.result[0].reconnects == 0
    assert len(rows) == watching.result[0].frames
    assert (np.diff(rows["frame"]) > 0).all()
    assert (np.diff(rows["timestamp"]) >= 0).all()
    assert set(range(times + 1)) <= set(rows["epoch"])
    assert (np.diff(rows["pts"].dropna()) < 0).sum() >= times
    passed = (rows["wallclock"].iloc[-1] - rows["wallclock"].iloc[0]).total_seconds()
    assert rows["timestamp"].iloc[-1] - rows["timestamp"].iloc[0] == pytest.approx(passed, abs=2.0 * (times + 1))


@ONCE_AND_TWENTY
def test_lost_packets_over_udp_cost_frames_not_the_camera(tmp_path, loops, times):
    launch = show(clip(loops), pay="mtu=400", after="! identity drop-probability=0.02")
    with RtspServer({"/live": launch}) as camera, Watching(tmp_path, camera.url("/live"), transport="udp") as watching:
        watching.until_frames(10)

        def damaged(c):
            counts = [footer["counts"] for footer in footers(tmp_path)]
            return sum(count["corrupt"] + count["undecodable"] for count in counts) >= times

        watching.until(damaged, what="damage is counted")
        watching.until_frames(10)
    rows = table(tmp_path)
    assert len(rows) == watching.result[0].frames
    assert (np.diff(rows["timestamp"]) >= 0).all()


def test_frames_that_overtake_are_counted(tmp_path, loops):
    with (
        RtspServer({"/live": show(clip(loops))}) as camera,
        Watching(tmp_path, camera.url("/live"), max_fps=5.0) as watching,
    ):
        watching.until_frames(8)
    counts = [footer["counts"] for footer in footers(tmp_path)]
    total = {name: sum(count[name] for count in counts) for name in counts[0]}
    assert total["not_sampled"] > total["analysed"] == watching.result[0].frames
    # What was decoded while the last frame was on its way is in no piece.
    assert 0 <= total["decoded"] - total["analysed"] - total["not_sampled"] - total["dropped"] <= 25
    assert (np.diff(table(tmp_path)["timestamp"]) > 0.15).all()


def test_a_paused_camera_stays_connected_and_writes_nothing(tmp_path, loops):
    with RtspServer({"/live": show(clip(loops))}) as camera, Watching(tmp_path, camera.url("/live")) as watching:
        watching.until_frames(5)
        watching.board.pause()
        frames = watching.until(lambda c: c.state == "paused").frames
        newest = watching.camera().last_frame_utc
        watching.until(lambda c: (c.last_frame_utc - newest).total_seconds() > 0.3, what="frames come")
        assert watching.camera().frames <= frames + 1
        watching.board.resume()
        watching.until_frames(5)
    assert watching.result[0].reconnects == 0
    assert until(lambda: len(table(tmp_path))) == watching.result[0].frames


def test_a_camera_whose_stamps_stand_still_is_timed_by_the_wall(tmp_path, loops):
    with RtspServer({"/live": show_without_time(loops)}) as camera, Watching(tmp_path, camera.url("/live")) as watching:
        watching.until_frames(40)
    rows = table(tmp_path)
    on_the_wall = (rows["wallclock"] - rows["wallclock"].iloc[0]).dt.total_seconds()
    assert np.abs(rows["timestamp"] - on_the_wall).max() < on_the_wall.iloc[-1] / 2  # they stand still, or go along
    assert rows["epoch"].max() == 0
