"""The decoder host: decodes uploaded images in processes without torch. `python -m app.predictor.decoder`.

A malicious image may crash the process that decodes it, exhaust its memory or hang it; only that image fails. The host
has Pillow imported and forks a decoder for each connection that it receives on its standard input: a new decoder takes
two milliseconds instead of half a second.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import warnings
from pathlib import Path

from PIL import Image

from app.prediction.wire import Header, pack, receive_blocking
from trainer.data.confined import confine, read_untrusted
from trainer.data.errors import ImageError


def main() -> None:
    for number in (
        signal.SIGINT,
        signal.SIGHUP,
        signal.SIGCHLD,
    ):  # stops at the end of its input; decoders are not awaited
        signal.signal(number, signal.SIG_IGN)
    warnings.simplefilter("ignore")  # Pillow's warnings about unusual files
    Image.init()
    with socket.socket(fileno=os.dup(0)) as control, Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)  # decoders must not keep the host's socket open
        while True:
            message, fds, _, _ = socket.recv_fds(control, 1, 1)
            if not message:
                return
            with socket.socket(fileno=fds[0]) as connection:
                if os.fork() == 0:
                    control.close()
                    _decoder(connection)


def _decoder(connection: socket.socket) -> None:
    """Answer questions until the peer closes the connection. Does not return."""
    try:
        confine()
        with connection.makefile("rwb") as stream, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while (frame := receive_blocking(stream)) is not None:
                header, data = frame
                stream.write(_answer(header, data))
                stream.flush()
    finally:
        os._exit(0)


def _answer(header: Header, data: bytes) -> bytes:
    """Return the concatenated pixels of the images that can be read; `answers` has an error per image, or null.

    A question without images is about the process's id.
    """
    if "images" not in header:
        return pack({"id": header["id"], "pid": os.getpid()})
    answers: list[Header | None] = []
    pixels: list[bytes] = []
    at = 0
    for length in header["images"]:
        file, at = data[at : at + length], at + length
        try:
            image = read_untrusted(
                file, header["size"], header["fit"], max_pixels=header["max_pixels"], seconds=header["seconds"]
            )
            pixels.append(image.tobytes())
            answers.append(None)
        except ImageError as error:
            answers.append(error.as_dict())
    return pack({"id": header["id"], "answers": answers}, *pixels)


if __name__ == "__main__":
    main()
