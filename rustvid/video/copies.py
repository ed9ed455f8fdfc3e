"""What a container can take of the input's other streams: sound, subtitles, data."""

from __future__ import annotations

import io
from typing import Any

import av

# FFmpeg puts any other sound or text into .ts too, as data that nobody reads back
_READ_BACK_FROM_TS = (
    *("aac", "aac_latm", "ac3", "dts", "eac3", "mp1", "mp2", "mp3", "opus", "s302m"),
    *("dvb_subtitle", "dvb_teletext", "hdmv_pgs_subtitle", "hdmv_text_subtitle"),
)


def holds(container_format: str, stream: Any) -> bool:
    """Can this kind of container hold this stream? Asked of the muxer itself, in memory."""
    if container_format == "mpegts" and stream.type in ("audio", "subtitle"):
        return codec_name(stream) in _READ_BACK_FROM_TS
    try:
        with av.open(io.BytesIO(), "w", format=container_format) as trial:
            copy = trial.add_stream_from_template(stream)
            trial.start_encoding()
            if stream.type == "data":  # of a timecode .mov only finds out when there is one
                trial.mux(_any_packet(copy, stream.time_base))
        return True
    except (av.error.FFmpegError, ValueError, TypeError, RuntimeError):
        return False


def _any_packet(stream: Any, base: Any) -> Any:
    packet = av.Packet(bytes(4))
    packet.stream, packet.time_base = stream, base
    packet.pts = packet.dts = 0
    return packet


def is_adts(stream: Any) -> bool:
    """AAC with a header in every packet, as in .ts; mp4 has one for all, in the track."""
    return codec_name(stream) == "aac" and not stream.codec_context.extradata


def codec_name(stream: Any) -> str:
    """The name of the format, not of what decodes it here."""
    codec = getattr(getattr(stream, "codec_context", None), "codec", None)
    return str(codec.canonical_name) if codec is not None else "unknown"
