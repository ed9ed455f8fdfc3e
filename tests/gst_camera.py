"""A real RTSP server, GStreamer's, for the system's Python: `/usr/bin/python3 gst_camera.py`.

    gst_camera.py [--audio] [--user NAME:PASSWORD] [--record] [--port N]

Prints its port, then serves rtsp://127.0.0.1:PORT/live over TCP and UDP until its stdin ends. With
--record it takes what is sent to it instead, and prints a line for every buffer of the picture.
"""

import argparse
import sys
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

PICTURE = (
    "videotestsrc is-live=1 ! video/x-raw,width=320,height=240,framerate=25/1"
    " ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=25"
    " ! rtph264pay name=pay0 pt=96 config-interval=1"
)
SOUND = (
    "audiotestsrc is-live=1 ! audio/x-raw,rate=48000,channels=1 ! audioconvert"
    " ! avenc_aac ! aacparse ! rtpmp4gpay name=pay1 pt=97"
)
TAKEN = "rtph264depay name=depay0 ! h264parse ! fakesink name=sink signal-handoffs=1"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--audio", action="store_true")
    parser.add_argument("--user", default="")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--port", default="0")
    options = parser.parse_args()
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(options.port)
    factory = GstRtspServer.RTSPMediaFactory()
    if options.record:
        factory.set_launch(f"( {TAKEN} )")
        factory.set_transport_mode(GstRtspServer.RTSPTransportMode.RECORD)
        factory.connect("media-configure", configured)
    else:
        factory.set_launch(f"( {PICTURE} {SOUND if options.audio else ''} )")
        factory.set_shared(True)
    if options.user:
        protect(server, factory, *options.user.split(":"))
    server.get_mount_points().add_factory("/live", factory)
    server.attach(None)
    print(server.get_bound_port(), flush=True)
    loop = GLib.MainLoop()
    threading.Thread(target=lambda: (sys.stdin.read(), loop.quit()), daemon=True).start()
    loop.run()


def configured(factory, media) -> None:  # type: ignore[no-untyped-def]
    sink = media.get_element().get_by_name("sink")
    sink.connect("handoff", lambda *_: print("picture", flush=True))


def protect(server, factory, user: str, password: str) -> None:  # type: ignore[no-untyped-def]
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "user")
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    permissions.add_permission_for_role("user", "media.factory.access", True)
    permissions.add_permission_for_role("user", "media.factory.construct", True)
    factory.set_permissions(permissions)


if __name__ == "__main__":
    main()
