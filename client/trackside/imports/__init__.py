"""Runs that other tools have written become script runs: their event lines, and how these are sent."""
