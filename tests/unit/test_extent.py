"""Whether a file is as long as its container says."""

import clips
import pytest

from vidfer.media.extent import missing_bytes

NAMES = {".mp4": "mov,mp4,m4a,3gp,3g2,mj2", ".mkv": "matroska,webm", ".avi": "avi", ".ts": "mpegts"}


@pytest.mark.parametrize("kind", ["b_frames", "open_gop", "h264_avi", "mpeg2"])
@pytest.mark.parametrize("cut", [1, 100, 5003, 9000])
def test_a_cut_is_seen(tmp_path, kind, cut):
    path = clips.write_clip(tmp_path, kind)
    name = NAMES[path.suffix]
    assert missing_bytes(path, name) == 0
    path.write_bytes(path.read_bytes()[:-cut])
    # MPEG-TS has packets and no length: only the last one can be seen to be cut.
    assert missing_bytes(path, name) == (cut if name != "mpegts" else cut % 188)


@pytest.mark.parametrize("name", [*NAMES.values(), "flv", "mpegps"])
@pytest.mark.parametrize("data", [b"", b"\0" * 5000, b"\xff" * 5000, b"abcdefgh" * 900, b"\x1a\x45\xdf\xa3", b"RIFF"])
def test_what_says_nothing_is_whole(tmp_path, name, data):
    path = tmp_path / "odd"
    path.write_bytes(data)
    assert missing_bytes(path, name) >= 0


def test_a_live_recording_has_no_length(tmp_path):
    path = tmp_path / "live.mkv"
    path.write_bytes(bytes.fromhex("1a45dfa3 84 00000000 18538067 01ffffffffffffff") + b"x" * 100)
    assert missing_bytes(path, "matroska,webm") == 0


def test_packets_with_time_codes(tmp_path):
    path = tmp_path / "camera.m2ts"
    path.write_bytes((b"time" + b"\x47" + b"." * 187) * 20)
    assert missing_bytes(path, "mpegts") == 0
    path.write_bytes(path.read_bytes()[:-50])
    assert missing_bytes(path, "mpegts") == 50
