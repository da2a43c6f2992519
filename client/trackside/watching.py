"""`trackside watch -- COMMAND`: a run from any command, with its output, exit code, environment and telemetry."""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import shutil
import signal
import struct
import subprocess
import termios
import threading
from collections import deque
from contextlib import suppress
from types import FrameType

from trackside.errors import Error
from trackside.notices import say
from trackside.output import OutputLines
from trackside.request import Wanted
from trackside.script_run import Run
from trackside.sender.processes import descendants
from trackside.starting import RESUME, WATCH, start, watch_variable

STOP_SECONDS = 30.0  # between SIGTERM and SIGKILL
DRAIN_SECONDS = 2.0  # for output that processes left behind keep open
TAIL_LINES = 20  # of the output, in the error of a failed run
BLOCK = 1 << 16


def main(words: list[str]) -> int:
    """Return the exit code of the command; 128 + N if signal N has ended it."""
    wanted, mode = _parse(words)
    program = shutil.which(wanted.command[0])
    if program is None:
        say(f"{wanted.command[0]}: command not found")
        return 127
    watched = WatchedCommand(wanted.command)
    try:
        run = start(wanted, mode, None, on_stop=watched.stop)
    except Error as error:
        say(str(error))
        return 2
    return watched.run(run)


class WatchedCommand:
    """Runs one command, and logs what it writes."""

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._asked_to_end = False
        self._timer: threading.Timer | None = None

    def run(self, run: Run) -> int:
        environment = {"PYTHONUNBUFFERED": "1", **os.environ}
        if not run.disabled:
            environment[WATCH] = watch_variable(run)
        ours: dict[int, int] = {}  # the descriptor that we read, by the one that it is shown on
        theirs = [_open_stream(number, ours) for number in (1, 2)]
        # Handlers, not SIG_IGN, which the command would inherit. A terminal sends SIGINT to the command itself.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._forward)
        signal.signal(signal.SIGWINCH, lambda *_: _copy_size(ours))
        try:
            self._process = subprocess.Popen(self._command, stdout=theirs[0], stderr=theirs[1], env=environment)
        except OSError as error:
            say(f"{self._command[0]}: {error.strerror}")
            run.finish(126, quiet=True)
            return 126
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        if self._asked_to_end:  # before there was a process
            self._process.terminate()
        readers = [
            threading.Thread(target=self._read, args=(run, shown, descriptor), daemon=True)
            for shown, descriptor in ours.items()
        ]
        for reader in readers:
            reader.start()
        code = self._process.wait()
        for reader in readers:
            reader.join(DRAIN_SECONDS)
        return self._finish(run, code)

    def stop(self, run: Run) -> None:
        """End the command: a person has pressed Stop."""
        run.stopping = True
        self._asked_to_end = True
        process = self._process
        if process is not None and process.poll() is None:
            say("stopped from the dashboard")
            process.terminate()
            self._timer = threading.Timer(STOP_SECONDS, self._kill)
            self._timer.daemon = True
            self._timer.start()

    def _forward(self, number: int, _frame: FrameType | None) -> None:
        self._asked_to_end = True
        process = self._process
        if process is not None and not (number == signal.SIGINT and os.isatty(0)):
            process.send_signal(number)

    def _kill(self) -> None:
        """Kill the command and everything below it."""
        if self._process is not None and self._process.poll() is None:
            for pid in descendants(self._process.pid) or [self._process.pid]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _read(self, run: Run, shown: int, descriptor: int) -> None:
        lines = OutputLines(lambda line: self._log(run, line))
        while True:
            try:
                data = os.read(descriptor, BLOCK)
            except OSError:  # a terminal that nobody has open any more
                data = b""
            if not data:
                break
            _show(shown, data)
            lines.feed(data)
        lines.close()

    def _log(self, run: Run, line: str) -> None:
        self._tail.append(line)
        run.log_line(line)

    def _finish(self, run: Run, code: int) -> int:
        status = code if code >= 0 else 128 - code
        ended_by = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        if code and self._asked_to_end:
            run.stopping = True
        elif code:
            message = f"The command ended with {ended_by}."
            run.error = {"code": "exit_code", "message": message, "detail": "\n".join(self._tail)}
        if not code and not run.stopping:
            run.finish(0)
        else:
            run.finish(status)
        return status


def _parse(words: list[str]) -> tuple[Wanted, str | None]:
    parser = argparse.ArgumentParser(
        prog="trackside watch",
        usage="trackside watch [options] -- COMMAND …",
        description="Run a command and log its output, exit code, git commit, packages and telemetry as a run. A "
        "script in it that calls trackside.init logs to the same run.",
    )
    parser.add_argument("--name")
    parser.add_argument("--project")
    parser.add_argument("--group")
    parser.add_argument("--notes")
    parser.add_argument("--tag", action="append", default=[], help="as often as needed")
    parser.add_argument("--id", help="of the run to resume, or of the new one")
    parser.add_argument("--resume", choices=("allow", "never", "must"), default="allow")
    parser.add_argument("--offline", action="store_true", help="keep the run until trackside sync")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    asked = parser.parse_args(words)
    command = asked.command[1:] if asked.command[:1] == ["--"] else asked.command
    if not command:
        parser.error("no command is given: trackside watch -- python train.py")
    wanted = Wanted(
        project=asked.project or "", name=asked.name or "", group=asked.group or "", notes=asked.notes or "",
        tags=tuple(asked.tag), run_id=asked.id or "", resume=RESUME[asked.resume], command=command, watched=True,
    )  # fmt: skip
    return wanted, "offline" if asked.offline else None


def _open_stream(number: int, ours: dict[int, int]) -> int:
    """Return the end that the command writes to: a terminal if our own stream is one, else a pipe."""
    if not os.isatty(number):
        ours[number], theirs = os.pipe()
        return theirs
    ours[number], theirs = pty.openpty()
    attributes = termios.tcgetattr(theirs)
    attributes[1] &= ~termios.OPOST  # the real terminal does that
    termios.tcsetattr(theirs, termios.TCSANOW, attributes)
    _copy_size({number: ours[number]})
    return theirs


def _copy_size(ours: dict[int, int]) -> None:
    for shown, descriptor in ours.items():
        if os.isatty(shown):
            with suppress(OSError):
                size = fcntl.ioctl(shown, termios.TIOCGWINSZ, struct.pack("HHHH", 0, 0, 0, 0))
                fcntl.ioctl(descriptor, termios.TIOCSWINSZ, size)


def _show(number: int, data: bytes) -> None:
    while data:
        try:
            data = data[os.write(number, data) :]
        except OSError:  # whoever read our output is gone: the command goes on, and its output is still logged
            return
