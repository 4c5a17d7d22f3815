"""Videos as PyAV sees them: every frame with its time, and how near it is to a picture.

It shares nothing with the program under test; `check_structure.py` and `check_values.py` ask it.
"""
import io

import av
import numpy as np
from PIL import Image

# LeRobot's loader refuses a frame that is farther from its time.
TOLERANCE_S = 1e-4


def frames(path):
    """(seconds, luma in 0 to 255, is a key frame) of every frame, in the order of showing; and the stream's properties."""
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        properties = {
            "streams": len(file.streams), "codec": stream.codec_context.codec.canonical_name, "width": stream.codec_context.width,
            "height": stream.codec_context.height, "pix_fmt": stream.codec_context.pix_fmt, "fps": stream.average_rate,
            "time_base": stream.time_base, "start": stream.start_time, "b_frames": stream.codec_context.has_b_frames,
            "matrix": int(stream.codec_context.colorspace), "range": int(stream.codec_context.color_range),
        }
        out = []
        for frame in file.decode(stream):
            plane = frame.planes[0]
            luma = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
            out.append((float(frame.pts * frame.time_base), (luma.astype(np.float32) - 16) * (255 / 219), bool(frame.key_frame)))
        return out, properties


def luma(pixels):
    """The luma of a picture in red, green and blue, by BT.601, in 0 to 255."""
    return pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)


def psnr(frame, picture):
    """In decibels. A frame may be padded to even sides."""
    h, w = picture.shape
    error = np.mean((frame[:h, :w] - picture) ** 2)
    return 99.0 if error < 1e-9 else 10 * np.log10(255**2 / error)
