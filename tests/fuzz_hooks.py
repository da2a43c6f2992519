"""Loaded by schemathesis: how bodies are written whose media type it does not know."""

import schemathesis

schemathesis.serializer.alias("application/x-ndjson", "text/plain")
