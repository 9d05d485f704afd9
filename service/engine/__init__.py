"""Networks in NumPy: a spec is planned, laid into one vector, and trained as a stream of events."""

from service.engine.assess import Assessment, better, metric_names, usual_metrics
from service.engine.attribution import Attributed, Attribution
from service.engine.contract import LayerSpec, Shape, Signature, Spec
from service.engine.diagnostics import Diagnosis, diagnose, gradient_by_time
from service.engine.early_stopping import EarlyStopping, unmeasured
from service.engine.events import Epoch, Event, Finished, Improved, Measured, Started, Tick, Warned
from service.engine.feed import Examples
from service.engine.inference import Network
from service.engine.layers import Layer
from service.engine.losses import Loss
from service.engine.network import NetworkSpec, weight_faults, weights_of
from service.engine.optimizers import Optimizer
from service.engine.planning import Plan, PlannedLayer, plan
from service.engine.recipe import Recipe, TrainingSpec, completed, resolve
from service.engine.schedules import Schedule
from service.engine.scores import SCORES, higher_is_better
from service.engine.stream import State, Stream, stream_faults
from service.engine.training import Training

__all__ = [
    "SCORES", "Assessment", "Attributed", "Attribution", "Diagnosis", "EarlyStopping", "Epoch", "Event", "Examples",
    "Finished", "Improved", "Layer", "LayerSpec", "Loss", "Measured", "Network", "NetworkSpec", "Optimizer", "Plan",
    "PlannedLayer", "Recipe", "Schedule", "Shape", "Signature", "Spec", "Started", "State", "Stream", "Tick",
    "Training", "TrainingSpec", "Warned", "better", "completed", "diagnose", "gradient_by_time", "higher_is_better",
    "metric_names", "plan", "resolve", "stream_faults", "unmeasured", "usual_metrics", "weight_faults", "weights_of",
]  # fmt: skip
