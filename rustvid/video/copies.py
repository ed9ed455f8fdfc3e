"""What a container can take of the input's other streams: sound, subtitles, data."""

from __future__ import annotations

import io
from typing import Any

import av


def holds(container_format: str, stream: Any) -> bool:
    """Can this kind of container hold this stream? Asked of the muxer itself, in memory."""
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
    context = getattr(stream, "codec_context", None)
    return str(context.name) if context is not None else "unknown"
