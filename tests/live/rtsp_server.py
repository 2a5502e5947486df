"""A camera for tests: GStreamer's RTSP server on loopback. Run by the system's python3, which has its bindings.

    python3 rtsp_server.py PORT USER:PASSWORD|- PATH=LAUNCH ...

prints its port as soon as it serves; with --check it only says whether everything is there. The stamps behind an
identity called "shift" jump back by 1.5 s every 4 s, and ahead again in between.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

ELEMENTS = ("audiotestsrc", "h264parse", "h265parse", "multifilesrc", "qtdemux", "rtph264pay", "rtph265pay")

JUMP_NS, TURN_NS = 1_500_000_000, 2_000_000_000


def check():
    missing = [name for name in ELEMENTS if Gst.ElementFactory.find(name) is None]
    if missing:
        sys.exit(f"GStreamer lacks {', '.join(missing)}")


def let_jump(_, media):
    shift = media.get_element().get_by_name("shift")

    def move(_, probe):
        buffer = probe.get_buffer()
        if buffer.pts // TURN_NS % 2:
            buffer.pts -= JUMP_NS
            buffer.dts = buffer.pts
        return Gst.PadProbeReturn.OK

    if shift is not None:
        shift.get_static_pad("src").add_probe(Gst.PadProbeType.BUFFER, move)


def serve(port, login, mounts):
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    if login != "-":
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "viewer")
        auth = GstRtspServer.RTSPAuth()
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(*login.split(":")), token)
        server.set_auth(auth)
    for mount in mounts:
        path, launch = mount.split("=", 1)
        factory = GstRtspServer.RTSPMediaFactory()
        # Not shared: where several ask at once for what is shared, it answers nobody any more (in one of ten times).
        factory.set_launch(launch)
        permissions = GstRtspServer.RTSPPermissions()
        role = Gst.Structure.new_empty("viewer")
        role.set_value("media.factory.access", True)
        role.set_value("media.factory.construct", True)
        permissions.add_role_from_structure(role)
        factory.set_permissions(permissions)
        factory.connect("media-configure", let_jump)
        server.get_mount_points().add_factory(path, factory)
    if server.attach(None) == 0:
        sys.exit(f"port {port} is taken")
    print(server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


Gst.init(None)
if sys.argv[1] == "--check":
    check()
else:
    serve(sys.argv[1], sys.argv[2], sys.argv[3:])
