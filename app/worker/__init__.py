"""The worker process, one per device: it claims jobs, has their trainers started, and follows their event files."""

from app.worker.loop import main

__all__ = ["main"]
