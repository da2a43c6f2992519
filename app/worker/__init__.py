"""The worker process, one per device: it claims jobs, starts their trainers, and follows their event files."""

from app.worker.loop import main

__all__ = ["main"]
