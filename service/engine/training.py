"""Training as a stream of events: pull to go on, stop pulling to stop."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from service import clock
from service.engine.arena import as_common, common
from service.engine.contract import Array, Signature
from service.engine.early_stopping import Best, EarlyStopping
from service.engine.evaluate import Evaluator
from service.engine.events import Epoch, Event, Finished, Improved, Measured, Started, Tick
from service.engine.feed import Examples
from service.engine.network import Compiled
from service.engine.order import epoch_order
from service.engine.program import Memory
from service.engine.recipe import Recipe, resolve
from service.engine.schedules import Pace, Plateau
from service.engine.scores import higher_is_better
from service.engine.shards import Losses
from service.engine.standing import Standing
from service.engine.stepper import Stepper
from service.engine.update import slot_arrays
from service.errors import Diverged

TICK_S = 0.01
HELP_S = 0.2  # a training shorter than this never pays for a second process


class Training:
    """One training run. Iterating runs it; `state()` at any event is enough to go on from there, bit for bit."""

    def __init__(
        self,
        recipe: Recipe,
        signature: Signature,
        outputs: int,
        train: Examples,
        validation: Examples | None = None,
        test: Examples | None = None,
        state: tuple[Mapping[str, Array], Mapping[str, Any]] | None = None,
        initial: Mapping[str, Array] | None = None,
        units: Sequence[float] = (),  # 1 of each number of y in the data's own units, in which MAE and RMSE are told
        processes: Callable[[], int] = lambda: 1,  # how many may work now; a batch in shards keeps two busy
    ) -> None:
        self.recipe = recipe = resolve(recipe, signature, outputs, len(train))
        self._train, self._validation, self._test = train, validation, test
        self.net = net = Compiled(recipe.network, signature, recipe.dtype)
        theta, kept = (as_common(each) for each in net.begin(recipe.training.seed))
        self._memory = Memory(theta, common(theta.size, net.dtype), kept)
        self._slots = slot_arrays(recipe.optimizer, theta)
        self._best_theta, self._best_kept = theta.copy(), kept.copy()
        self._stepper = Stepper(recipe, net, signature, train, self._memory, self._slots)
        self._processes = processes
        masked = any(part is not None and part.lengths is not None for part in (train, validation, test))
        self._evaluator = Evaluator(net, recipe, signature, self._memory, masked, units)
        self._standing = Standing()
        self._began_s = clock.monotonic_s()
        self._closing: Standing | None = None
        self._metrics = recipe.metrics or ()
        self._points: tuple[list[Array], list[Array]] = ([], [])
        if initial is not None:
            net.load(initial, theta, kept)
        if state is not None:
            self._restore(*state)

    # --- the stream -------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Event]:
        if self._standing.step == 0:
            parameters = sum(place.parameter.size for place in self.net.trained.places)
            yield Started(parameters, self.steps_per_epoch, self.total_steps)
        try:
            while self._standing.stopped_by is None:
                yield from self._epoch()
                yield from self._close()
        finally:
            self._stepper.man(1)
        yield self._finish()

    def end(self, reason: str) -> None:
        """No further epoch, unless this one is the last anyway: what comes are its last events, and Finished."""
        self._standing = replace(self._standing, stopped_by=self._standing.stopped_by or reason)

    @property
    def steps_per_epoch(self) -> int:
        rows, batch = len(self._train), self.recipe.training.batch_size
        return rows // batch if self.recipe.training.stateful else -(-rows // batch)

    @property
    def total_steps(self) -> int:
        whole = self.steps_per_epoch * self.recipe.training.epochs
        return min(whole, self.recipe.training.max_steps or whole)

    def _epoch(self) -> Iterator[Event]:
        """The steps of the epoch that are left."""
        spec, now = self.recipe.training, self._standing
        order = epoch_order(spec, len(self._train), now.epoch)
        if now.place == 0:
            self._stepper.begin_epoch()
        started = looked = time = clock.monotonic_s()
        elapsed = now.elapsed_s
        rows = len(order)
        while (now := self._standing).place < self.steps_per_epoch and now.step < self.total_steps:
            begin = now.place * spec.batch_size
            count = min(self._stepper.block(rows - begin), self.total_steps - now.step)
            if time - self._began_s >= HELP_S:
                self._stepper.man(self._processes())
            indices = order[begin : begin + count * spec.batch_size]
            self._stepper.run(indices, now.epoch, now.place, now.step, self._rates(count))
            time = clock.monotonic_s()
            spent = elapsed + time - started
            self._standing = replace(now, step=now.step + count, place=now.place + count, elapsed_s=spent)
            if spec.max_seconds is not None and spent >= spec.max_seconds:
                self._standing = replace(self._standing, stopped_by="time")
                break
            if time - looked >= TICK_S:
                yield from self._look_up()
                looked = clock.monotonic_s()
        self._count(self._stepper.drain())

    def _look_up(self) -> Iterator[Event]:
        self._count(self._stepper.drain())
        if self._points[0]:
            yield self._measured()
        now = self._standing
        yield Tick(now.step, now.epoch + 1, now.step / self.total_steps)

    def _rates(self, count: int) -> list[float]:
        """The learning rates of the next steps."""
        optimizer, now = self.recipe.optimizer, self._standing
        rate = optimizer.learning_rate * now.plateau.factor
        if optimizer.schedule.still:
            return [rate] * count
        pace = Pace(self.steps_per_epoch, self.total_steps)
        return [rate * optimizer.schedule.factor(now.step + i, pace) for i in range(count)]

    def _count(self, losses: Losses | None) -> None:
        """Adds what was read to the epoch's sums, one step after the other. Raises Diverged."""
        if losses is None:
            return
        now, last = self._standing, self._standing.step
        means = losses.sums / losses.divisors
        if not np.isfinite(means.sum()):
            self._diverged("the loss", last - len(means) + 1 + int(np.argmax(~np.isfinite(means))))
        self._standing = replace(
            now,
            loss=_added(now.loss, losses.sums), divisor=_added(now.divisor, losses.divisors),
            right=now.right if losses.right is None else _added(now.right, losses.right),
            count=_added(now.count, losses.counts),
        )  # fmt: skip
        steps = np.arange(last - len(means) + 1, last + 1)
        every = self.recipe.training.log_every or 1
        chosen = steps % every == 0
        if chosen.any():
            self._points[0].append(steps[chosen])
            self._points[1].append(means[chosen])

    def _diverged(self, what: str, step: int) -> None:
        views = self.net.trained.views(self._memory.theta)
        broken = next((name for name, view in views.items() if not np.isfinite(view).all()), None)
        layer = (broken or str(self.net.plan.parts[-1].index)).split(".", 1)[0]
        raise Diverged(
            f"{what} stopped being a number at step {step}",
            hint=f"lower the learning rate (now {self.recipe.optimizer.learning_rate:g}) or set clip_norm",
            step=step,
            layer=f"/network/layers/{layer}",
        )

    def _measured(self) -> Measured:
        steps, values = np.concatenate(self._points[0]), np.concatenate(self._points[1])
        self._points = ([], [])
        return Measured({"batch_loss": (steps.astype(np.int64), values)})

    # --- the end of an epoch ----------------------------------------------------------------------------------

    def _close(self) -> Iterator[Event]:
        """Scores, best weights, early stopping. Until its last event is pulled, `state()` is that before it."""
        self._closing = self._standing
        events: list[Event] = [self._measured()] if self._points[0] else []
        events += self._judge()
        yield from events
        self._closing = None

    def _judge(self) -> list[Event]:
        now, spec = self._standing, self.recipe.training
        if not self._memory.sound:  # the epoch's last step is in no loss yet
            self._diverged("a weight", now.step)
        scores = self._scores()
        monitor = self._monitor(scores)
        value = scores.get(monitor, float("nan"))
        delta = spec.early_stopping.min_delta if spec.early_stopping else 0.0
        best = now.best.after(value, now.step, higher_is_better(monitor), delta)
        series = {name: (np.array([now.step]), np.array([each])) for name, each in scores.items()}
        events: list[Event] = [Measured(series), Epoch(now.epoch + 1, now.step, scores)]
        if best.waited == 0:
            np.copyto(self._best_theta, self._memory.theta)
            np.copyto(self._best_kept, self._memory.state)
            events.append(Improved(now.step, monitor, value))
        watched = scores.get("val_loss", scores["train_loss"])
        plateau = self.recipe.optimizer.schedule.after_epoch(now.plateau, watched)
        stopped = now.stopped_by or self._stopped(spec.early_stopping, best, now.epoch + 1)
        self._standing = Standing(now.step, now.epoch + 1, elapsed_s=now.elapsed_s, best=best, plateau=plateau,
                                  stopped_by=stopped)  # fmt: skip
        return events

    def _scores(self) -> dict[str, float]:
        now, spec = self._standing, self.recipe
        scores = {"train_loss": now.loss / now.divisor if now.divisor else float("nan")}
        if "accuracy" in self._metrics and now.count:
            scores["train_accuracy"] = now.right / now.count
        if self._validation is not None and len(self._validation):
            found = self._evaluator.score(self._validation, self._metrics)
            scores |= {f"val_{name}": value for name, value in found.items()}
        scores["learning_rate"] = self._last_rate()
        gradient = self._memory.gradient
        scores["grad_norm"] = float(np.sqrt(gradient.dot(gradient)))
        scores["rows_per_s"] = now.step * spec.training.batch_size / now.elapsed_s if now.elapsed_s else float("nan")
        scores["epoch"] = float(now.epoch + 1)
        return scores

    def _last_rate(self) -> float:
        optimizer, now = self.recipe.optimizer, self._standing
        pace = Pace(self.steps_per_epoch, self.total_steps)
        return optimizer.learning_rate * now.plateau.factor * optimizer.schedule.factor(max(0, now.step - 1), pace)

    def _monitor(self, scores: dict[str, float]) -> str:
        early = self.recipe.training.early_stopping
        wanted = early.monitor if early else "val_loss"
        return wanted if wanted in scores else "train_loss"

    def _stopped(self, early: EarlyStopping | None, best: Best, epochs: int) -> str | None:
        if early is not None and best.waited > early.patience:
            return "early_stopping"
        if epochs >= self.recipe.training.epochs:
            return "epochs"
        return "steps" if self._standing.step >= self.total_steps else None

    def _finish(self) -> Finished:
        """The best weights are scored on the test part; the last ones stay where they are."""
        scores: dict[str, float] = {}
        if self._test is not None and len(self._test):
            both = (self._memory.theta, self._best_theta), (self._memory.state, self._best_kept)
            last = [each.copy() for each, _ in both]
            for each, best in both:
                np.copyto(each, best)
            found = self._evaluator.score(self._test, self._metrics)
            scores = {f"test_{name}": value for name, value in found.items()}
            for (each, _), old in zip(both, last, strict=True):
                np.copyto(each, old)
        now = self._standing
        return Finished(now.stopped_by or "epochs", now.step, now.best.step, scores)

    # --- what is kept -----------------------------------------------------------------------------------------

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """(arrays, meta as JSON would have it): given to a new Training, it goes on as if nothing had been."""
        standing = self._closing or self._standing
        arrays = self._vectors()
        arrays |= {f"carry.{name}": carry for name, carry in self._stepper.carries.items()}
        return {name: array.copy() for name, array in arrays.items()}, asdict(standing)

    def _vectors(self) -> dict[str, Array]:
        found = {"theta": self._memory.theta, "kept": self._memory.state, "gradient": self._memory.gradient}
        found |= {"best.theta": self._best_theta, "best.kept": self._best_kept}
        return found | {f"slot.{name}": slot for name, slot in self._slots.items()}

    def _restore(self, arrays: Mapping[str, Array], meta: Mapping[str, Any]) -> None:
        given = dict(meta) | {"best": Best(**meta["best"]), "plateau": Plateau(**meta["plateau"])}
        self._standing = Standing(**given)
        self._stepper.prepare()
        targets = self._vectors()
        carries = {f"carry.{name}": carry for name, carry in self._stepper.carries.items()}
        targets |= {name: carry for name, carry in carries.items() if name in arrays}  # before the first step: zero
        for name, target in targets.items():
            np.copyto(target, arrays[name])

    def weights(self, best: bool = True) -> dict[str, Array]:
        """Every array by PyTorch's name and in its layout; the best so far, or as they stand."""
        if best and self._standing.best.value is not None:
            return self.net.export(self._best_theta, self._best_kept)
        return self.net.export(self._memory.theta, self._memory.state)

    def weights_sha256(self, best: bool = True) -> str:
        """One number for all weights, their names and shapes."""
        digest = hashlib.sha256()
        for name, array in sorted(self.weights(best).items()):
            digest.update(json.dumps([name, array.shape, str(array.dtype)]).encode() + array.tobytes())
        return digest.hexdigest()


def _added(total: float, values: Array) -> float:
    """total + v1 + v2 + ..., from left to right, so that reading in other portions gives the same bits."""
    return float(np.add.accumulate(np.concatenate(([total], values)))[-1])
