"""Turns uploaded bytes into pixels, in processes without torch: `python -m app.decoder`.

A hostile image may crash the process that decodes it, fill its memory or hang it; only that image is lost. So this
is a small host that has Pillow imported and forks a decoder for each connection that it is handed on its standard
input: a new one costs two milliseconds, not half a second.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import sys
import warnings
from pathlib import Path

from PIL import Image

from app.predictor_wire import Header, pack, receive_blocking
from trainer.data.errors import ImageError, ImageTooLarge
from trainer.data.fit import read_image

# Decoding 50 million pixels peaks at 0.9 GiB, from WebP with transparency at 1.25 GiB.
MEMORY_BYTES = 3 << 29
MAX_FRAMES = 1000
_GIF = (b"GIF87a", b"GIF89a")


def main() -> None:
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):  # ends with its input; decoders are not awaited
        signal.signal(number, signal.SIG_IGN)
    warnings.simplefilter("ignore")  # Pillow's remarks on odd files
    Image.init()
    with socket.socket(fileno=os.dup(0)) as control, Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)  # decoders must not hold the host's socket open
        while True:
            order, fds, _, _ = socket.recv_fds(control, 1, 1)
            if not order:
                return
            with socket.socket(fileno=fds[0]) as connection:
                if os.fork() == 0:
                    control.close()
                    _decoder(connection)


def _decoder(connection: socket.socket) -> None:
    """Answers one image after another until the other side goes away. Does not return."""
    try:
        _confine()
        with connection.makefile("rwb") as stream, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while (frame := receive_blocking(stream)) is not None:
                header, data = frame
                # The alarm's default action ends the process, within Pillow's C code too.
                signal.setitimer(signal.ITIMER_REAL, header["seconds"])
                answer = _answer(header, data)
                signal.setitimer(signal.ITIMER_REAL, 0)
                stream.write(answer)
                stream.flush()
    finally:
        os._exit(0)


def _confine() -> None:
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _answer(header: Header, data: bytes) -> bytes:
    try:
        if data.startswith(_GIF) and gif_has_more_frames(data, MAX_FRAMES):
            raise ImageTooLarge(f"The GIF has more than {MAX_FRAMES:,} frames.")
        pixels = read_image(data, header["size"], header["fit"], max_pixels=header["max_pixels"])
    except ImageError as error:
        return pack(error.as_dict())
    except MemoryError:
        return pack(ImageTooLarge("The image needs too much memory to decode.").as_dict())
    except Exception as error:  # noqa: BLE001  the edge of the process: one bad image must not end it
        return pack({"code": "unreadable_image", "message": f"The image cannot be read: {error}."})
    return pack({}, pixels.tobytes())


def gif_has_more_frames(data: bytes, limit: int) -> bool:
    """Counts image descriptors without decoding any. What is malformed is left to the real decoder."""
    position = 13 + _colour_table(data, 10)
    frames = 0
    while position + 1 < len(data):
        if data[position] == 0x21:  # an extension: label, then sub-blocks
            position += 2
        elif data[position] == 0x2C and position + 9 < len(data):  # an image: descriptor, palette, LZW size
            frames += 1
            if frames > limit:
                return True
            position += 11 + _colour_table(data, position + 9)
        else:
            return False
        while position < len(data) and data[position]:
            position += data[position] + 1
        position += 1
    return False


def _colour_table(data: bytes, flags_at: int) -> int:
    flags = data[flags_at] if flags_at < len(data) else 0
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


if __name__ == "__main__":
    main()
