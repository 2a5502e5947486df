"""No secret of an address is ever shown."""

from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vidfer.errors import InputError
from vidfer.media.address import parse_address, redacted

SECRET = "Geheim4711"
secrets = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=5, max_size=20)


@given(secrets, secrets, st.sampled_from(["rtsp", "https", "gopher"]))
def test_logins_are_hidden_whatever_they_hold(user, password, scheme):
    """Also unescaped: "/", "#", "?" and "@" in a password are a mistake that many make."""
    assume("@" not in user)
    for login in (f"{user}:{password}", f"{quote(user)}:{quote(password)}"):
        shown = redacted(f"{scheme}://{login}@camera.example:554/live?channel=1")
        assert shown == f"{scheme}://***@camera.example:554/live?channel=1"


@pytest.mark.parametrize(
    "url",
    [
        f"rtsp://host/live?password={SECRET}",
        f"rtsp://host/live?channel=1&token={SECRET}",
        f"rtsp://host/live?anything={SECRET}",
        f"rtsp://host/user=admin_password={SECRET}_channel=1_stream=0.sdp",
        f"rtsp://host/user=admin&password={SECRET}&channel=1",
        f"rtsp://{SECRET}@host/live",
        f"rtsp://me:{SECRET}@",
        f"rtsp://me:{SECRET}@host:port/x",
        f"rtsp://host:{SECRET}/live",
        f"rtsp://me@host:{SECRET}",
        f"rtsp://me:x@host:554{SECRET}?channel=1",
        f"rtsp://[fe80::1]:{SECRET}/live",
        f"foo://me:{SECRET}@host",
        f"rtsp:/me:{SECRET}@10.0.0.5/live",
        f"rtsp//me:{SECRET}@10.0.0.5/live",
        f"rtsp:me:{SECRET}@10.0.0.5",
        f"me:{SECRET}@host/live",
        f"me:{SECRET}@host://live",
        f"{SECRET}@host://live",
        f"rtsp:/host/live?anything={SECRET}",
    ],
)
def test_secrets_in_other_places_are_hidden_too(url):
    assert SECRET not in redacted(url)
    assert SECRET not in said_of(url)


def said_of(url):
    """What an address, or the error that it is none, says."""
    try:
        address = parse_address(url)
    except InputError as error:
        return str(error)
    return repr(address) + address.name


@given(secrets, secrets)
def test_a_login_from_elsewhere_goes_into_the_url_and_is_not_shown(user, password):
    address = parse_address("rtsp://camera.example:554/live", username=user, password=password)
    assert address.url == f"rtsp://{quote(user, safe='')}:{quote(password, safe='')}@camera.example:554/live"
    assert address.shown == "rtsp://***@camera.example:554/live"


def test_the_login_of_the_url_wins():
    assert parse_address("rtsp://a:b@host/x", username="c", password="d").url == "rtsp://a:b@host/x"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("rtsp://me:pw@10.0.0.5:554/Streaming/Channels/101?x=1", "10.0.0.5-Streaming-Channels-101"),
        ("http://camera.example/video.mjpg", "camera.example-video.mjpg"),
        ("https://example.org", "example.org"),
        ("rtsp://[fe80::1]/live", "fe80-1-live"),
        ("rtsp://me:pw@[fe80::1]:554/live", "fe80-1-live"),
        ("http://[::1]/", "1"),
    ],
)
def test_names_come_from_host_and_path(text, name):
    assert parse_address(text).name == name


def test_a_file_is_a_camera(tmp_path):
    clip = tmp_path / "my clip.mp4"
    clip.touch()
    address = parse_address(str(clip))
    assert (address.kind, address.name, address.shown) == ("file", "my-clip", str(clip))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gopher://old", "unknown scheme gopher; known are rtsp, rtsps, http, https, camera:0 and files"),
        ("nothing.mp4", "neither a URL nor a file"),
        ("rtsp://", "names no host"),
        ("rtsp://host:port/", "wrong port"),
        ("camera:front", "give the number of a camera"),
        ("camera:99", "there is no camera"),
    ],
)
def test_what_is_no_address_is_refused_in_one_line(text, words):
    with pytest.raises(InputError, match=words):
        parse_address(text)
