"""What a container can take of the input's other streams: sound, subtitles, data."""

from __future__ import annotations

import io
from typing import Any

import av


def holds(container_format: str, stream: Any) -> bool:
    """Can this kind of container hold this stream? Asked of the muxer itself, in memory."""
    try:
        with av.open(io.BytesIO(), "w", format=container_format) as trial:
            trial.add_stream_from_template(stream)
            trial.start_encoding()
        return True
    except (av.error.FFmpegError, ValueError, TypeError, RuntimeError):
        return False


def is_adts(stream: Any) -> bool:
    """AAC with a header in every packet, as in .ts; mp4 has one for all, in the track."""
    return codec_name(stream) == "aac" and not stream.codec_context.extradata


def codec_name(stream: Any) -> str:
    context = getattr(stream, "codec_context", None)
    return str(context.name) if context is not None else "unknown"
