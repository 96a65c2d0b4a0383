"""Link a logged model to the run that made it, and to the run that scored it."""

from __future__ import annotations

import time
from collections.abc import Mapping

from textmill.tracking.connection import Connection
from textmill.tracking.values import metric_name


def link_output(connection: Connection, run_id: str, model_id: str) -> None:
    """Show the model as an output of the run, once."""
    from mlflow.entities import LoggedModelOutput

    outputs = connection.client.get_run(run_id).outputs
    if not any(each.model_id == model_id for each in (outputs.model_outputs if outputs else [])):
        connection.client.log_outputs(run_id, [LoggedModelOutput(model_id, 0)])


def link_scores(connection: Connection, run_id: str, model_id: str, scores: Mapping[str, float], dataset: str, digest: str | None) -> None:
    """Show the model as an input of the run, once, and give both of them scores on a data set.

    scores: by name. dataset, digest: as the run has them among its inputs. Without a digest, MLflow takes no name of a data set.
    """
    from mlflow.entities import LoggedModelInput, Metric

    if any(each.model_id == model_id for each in connection.client.get_run(run_id).inputs.model_inputs):
        return
    now = int(time.time() * 1000)
    named = (dataset, digest) if digest is not None else (None, None)
    metrics = [Metric(metric_name(f"{dataset}.{name}"), value, now, 0, model_id, *named) for name, value in scores.items()]
    connection.client.log_batch(run_id, metrics=metrics)
    connection.client.log_inputs(run_id, models=[LoggedModelInput(model_id)])  # last: it tells the next time that the scores are there
