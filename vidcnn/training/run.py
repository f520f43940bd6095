"""A worker's way through a whole run: steps, notes, validation and checkpoints.

All workers take the same steps, and decide the same things at the same steps; only the first one writes. Where a
run continues is read from the newest checkpoint, so that whoever starts it again need not know that it was interrupted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from typing import Any

from vidcnn.errors import DataError, OutputError, StorageError, VidcnnError
from vidcnn.models.bundle import Bundle
from vidcnn.training.advice import other_settings_hint
from vidcnn.training.batch import Batch, Worker
from vidcnn.training.checkpoints import Checkpoint, CheckpointStore
from vidcnn.training.diagnosis import explain
from vidcnn.training.feed import BadSample, Feed, Loader, TrainingData
from vidcnn.training.journal import Journal
from vidcnn.training.loop import Trainer
from vidcnn.training.recipe import Recipe
from vidcnn.training.state import CHECKPOINTS, RunSettings, RunState
from vidcnn.training.tally import Tally
from vidcnn.training.validation import exchange, validate, validation_numbers

_MEETING_SECONDS = 2.0
"""Time between meetings of the workers at most, as far as steps are shorter: only there they can stop, or save."""


def run_worker(
    bundle: Bundle,
    recipe: Recipe,
    data: TrainingData,
    loader: Loader,
    settings: RunSettings,
    worker: Worker,
    watch: Callable[[RunState], None] = lambda state: None,
    must_stop: Callable[[], bool] = lambda: False,
) -> None:
    """Train to the end, from the newest checkpoint on.

    Args:
        bundle: The network to begin with.
        recipe: How it is trained.
        data: The videos.
        loader: Loads their clips.
        settings: How the run continues.
        worker: Rank of this worker and number of workers.
        watch: Is called with how far the run is, in the first worker.
        must_stop: Is asked in the first worker whether to save and stop, every other second at least.

    Raises:
        DataError: The loss or a score is not a number, or nothing can be decoded.
        ModelError: The arithmetic gives no numbers, or the network cannot be compiled.
        OutputError: A checkpoint or a note cannot be written, or the workers do not see the same checkpoints.
        StorageError: The same, for as long as the storage fails.
    """
    with ExitStack() as stack:
        _Run(bundle, recipe, data, loader, settings, worker, watch, must_stop, stack).go()


class _Run:
    def __init__(
        self,
        bundle: Bundle,
        recipe: Recipe,
        data: TrainingData,
        loader: Loader,
        settings: RunSettings,
        worker: Worker,
        watch: Callable[[RunState], None],
        must_stop: Callable[[], bool],
        stack: ExitStack,
    ) -> None:
        self._recipe, self._data, self._settings, self._worker = recipe, data, settings, worker
        self._architecture = bundle.architecture
        self._store = stack.enter_context(CheckpointStore(settings.directory / CHECKPOINTS, settings.num_best))
        self._feed = Feed(data, loader, worker, recipe.batch_size)
        self._failure: VidcnnError | None = None
        self._is_first = worker.rank == 0
        self._journal: Journal | None = None
        self._num_good = self._num_bad = self._num_short = 0
        self._unnoted = Tally()
        newest = None
        with self._own_failures():
            newest = self._store.load_newest()
        step = 0 if newest is None else newest[0].step
        self._batches = self._feed.batches(range(step, recipe.num_steps))  # loads while the network is built
        self._trainer = Trainer(bundle, recipe, worker)
        with self._own_failures():
            if newest is not None:
                self._continue(*newest)
            if self._is_first:
                self._journal = stack.enter_context(Journal(settings.directory, step))
        self._check_start()
        self._watch, self._must_stop = watch, must_stop
        self._first_step = self._met_step = self._trainer.step
        self._next_meeting = self._first_step + 1
        self._is_stopping = False
        self._began = self._saved = self._met = time.monotonic()
        self._recent = Tally()
        self._loss: float | None = None
        self._accuracy: float | None = None
        self._score: float | None = None
        self._waited = 0.0

    def go(self) -> None:
        """Do all steps that are left."""
        trainer, settings = self._trainer, self._settings
        self._show("training")
        for batch, bad in self._batches:
            result = trainer.train_step(batch)
            if not result.is_finite:
                raise self._not_finite(batch)
            self._recent.add(
                Tally([float(result.losses.sum())], int(batch.weights.sum()), result.num_correct, bad, batch.num_short)
            )
            is_last = trainer.step == self._recipe.num_steps
            notes = trainer.step % settings.note_steps == 0 or is_last
            validates = bool(self._data.val) and (trainer.step % settings.validate_steps == 0 or is_last)
            if not (notes or validates or trainer.step >= self._next_meeting):
                continue
            self._meet()
            if notes:
                self._note()
            if validates:
                self._validate()
            elif is_last or self._is_stopping or time.monotonic() - self._saved > settings.checkpoint_seconds:
                self._save(None)
            if self._is_stopping:
                break
        with self._own_failures():
            self._store.wait()
        if self._failure is not None:
            raise self._failure
        self._show("done" if trainer.step == self._recipe.num_steps else "stopped")

    @contextmanager
    def _own_failures(self) -> Iterator[None]:
        """Keep the failure of one worker alone until all can know it, which would otherwise wait for it in vain."""
        try:
            yield
        except (OutputError, StorageError) as error:
            self._failure = self._failure or error

    def _continue(self, checkpoint: Checkpoint, state: dict[str, Any]) -> None:
        """Continue from a checkpoint.

        Raises:
            OutputError: It is not of this run.
        """
        try:
            self._trainer.load_state_dict(state)
            if self._trainer.step != checkpoint.step:
                raise ValueError(f"it says that {self._trainer.step} steps are done")
            counts = state["counts"]
            self._num_good, self._num_bad, self._num_short = (
                int(counts[name]) for name in ("num_good", "num_bad", "num_short")
            )
            self._unnoted = Tally.from_values(counts["unnoted"])
        except (ValueError, KeyError, TypeError) as error:
            reason = error if isinstance(error, ValueError) else "it does not say what was counted"
            raise OutputError(
                f"the checkpoint {checkpoint.path} is not of this run: {reason}",
                "bring back the run's own, or choose another --out to begin again",
            ) from error

    def _check_start(self) -> None:
        """Make sure that all workers continue from the same step."""
        seen = exchange((self._trainer.step, self._failure), self._worker)
        _raise_first(failure for _, failure in seen)
        if len({step for step, _ in seen}) > 1:
            raise OutputError(
                f"the workers find checkpoints of different steps in {self._settings.directory}",
                "give an --out that all machines see",
            )

    def _meet(self) -> None:
        """Put together what all workers saw since they last met, and agree on what comes next.

        A checkpoint is written only where workers meet, so that it has the counts of all.
        """
        recent, self._recent = self._recent, Tally()
        seen = exchange((recent, self._feed.seconds_waited, self._failure, self._agenda()), self._worker)
        _raise_first(failure for _, _, failure, _ in seen)
        for part, _, _, _ in seen:
            self._unnoted.add(part)
            self._num_good += part.num_good
            self._num_bad += len(part.bad)
            self._num_short += part.num_short
        self._waited = sum(waited for _, waited, _, _ in seen) / len(seen)
        self._next_meeting, self._is_stopping = seen[0][3]
        self._met, self._met_step = time.monotonic(), self._trainer.step

    def _agenda(self) -> tuple[int, bool]:
        """Return the step to meet at next, and whether to stop here; the first worker's counts."""
        now, step = time.monotonic(), self._trainer.step
        seconds_per_step = max(1e-6, (now - self._met) / (step - self._met_step))
        pause = min(_MEETING_SECONDS, self._settings.checkpoint_seconds - (now - self._saved))
        return step + max(1, int(pause / seconds_per_step)), self._is_first and self._must_stop()

    def _note(self) -> None:
        """Write down what all workers saw since the last note."""
        step, seen = self._trainer.step, self._unnoted
        self._unnoted = Tally()
        bad = sorted(seen.bad, key=lambda sample: sample.sample)
        if not self._num_good:
            raise _nothing_decoded(bad)
        self._loss, self._accuracy = seen.loss, seen.accuracy
        if self._journal is not None:
            with self._own_failures():
                self._journal.note(
                    "train",
                    step,
                    loss=self._loss,
                    top1=self._accuracy,
                    learning_rate=self._recipe.learning_rate * self._recipe.rate(step - 1),
                    clips_per_second=(step - self._first_step) * self._recipe.batch_size / self._seconds,
                    seconds=self._seconds,
                    waiting=self._waited / self._seconds,
                    num_bad_samples=len(bad),
                    **({"bad_samples": [asdict(sample) for sample in bad]} if bad else {}),
                )
        self._show("training")

    def _validate(self) -> None:
        self._show("validating")
        found = validate(
            self._trainer,
            self._feed,
            self._worker,
            self._data.val,
            self._data.labels,
            multi_label=self._recipe.multi_label,
            hint=self._hint,
        )
        if found is None or self._journal is None:
            return
        self._score = found.score
        with self._own_failures():
            self._journal.note("validation", self._trainer.step, **validation_numbers(found))
        self._save(found.score)
        self._show("training")

    def _save(self, score: float | None) -> None:
        """Begin to write a checkpoint, in the first worker."""
        if self._is_first:
            counts = {
                "num_good": self._num_good,
                "num_bad": self._num_bad,
                "num_short": self._num_short,
                "unnoted": self._unnoted.values(),
            }
            with self._own_failures():
                self._store.save(self._trainer.step, {**self._trainer.state_dict(), "counts": counts}, score)
        self._saved = time.monotonic()

    def _not_finite(self, batch: Batch) -> VidcnnError:
        """Find out why a step gave no numbers; all workers are here."""
        data = self._data
        names = [data.train[data.order.sample(sample).video].video.name for sample in batch.samples]
        seen = exchange((self._trainer.find_out(batch), names), self._worker)
        return explain(
            [found for found, _ in seen],
            [part for _, part in seen],
            step=self._trainer.step,
            precision=self._recipe.precision,
            is_compiled=self._recipe.compile,
            advise=self._hint,
        )

    def _hint(self, change: str) -> str:
        """Return how to train with other settings, by the first worker's checkpoints; all workers call this."""
        hint = ""
        if self._is_first:
            with self._own_failures():
                self._store.wait()
                newest = self._store.list()[-1:]
                hint = other_settings_hint(change, self._settings, self._architecture, newest[0] if newest else None)
        return str(exchange(hint, self._worker)[0]) or change

    @property
    def _seconds(self) -> float:
        """Time since training began, more than 0."""
        return max(1e-9, time.monotonic() - self._began)

    def _show(self, phase: str) -> None:
        if self._is_first:
            self._watch(
                RunState(
                    step=self._trainer.step,
                    seconds=self._seconds,
                    first_step=self._first_step,
                    loss=self._loss,
                    accuracy=self._accuracy,
                    waiting=self._waited / self._seconds,
                    num_bad=self._num_bad,
                    num_good=self._num_good,
                    num_short=self._num_short,
                    score=self._score,
                    phase=phase,
                )
            )


def _raise_first(failures: Iterable[VidcnnError | None]) -> None:
    for failure in failures:
        if failure is not None:
            raise failure


def _nothing_decoded(bad: list[BadSample]) -> DataError:
    first = bad[0]
    return DataError(
        f"none of the first {len(bad)} samples can be decoded: {first.video}: {first.message}",
        "check the videos with: vidcnn infer DIR --dry-run --out x.parquet",
    )
