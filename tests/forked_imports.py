"""What the processes of forked.py have imported: MLflow with its SQLite stores, after the variables that textmill sets for it."""

import importlib
import os

from textmill.track import publication  # noqa: F401  for the programs
from textmill.tracking import runs, store  # noqa: F401

for name, value in store._ENVIRONMENT.items():
    os.environ.setdefault(name, value)
for module in ("tracking.sqlalchemy_store", "model_registry.sqlalchemy_store"):
    importlib.import_module(f"mlflow.store.{module}")
importlib.import_module("mlflow.system_metrics.system_metrics_monitor")
