"""TensorBoard's event files: imported as script runs, and written from runs of any kind."""
