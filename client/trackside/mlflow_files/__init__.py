"""The files that MLflow writes, a folder `mlruns` or a database: its runs are imported as script runs."""
