"""The process that sends a session. It imports nothing but the standard library and this package."""
