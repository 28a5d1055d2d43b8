"""The training program: from hyperparameters and a tree to an artifact and its reports."""

import logging
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import PIL
import torch
import torchvision
from torch import nn

import drydock
from drydock import artifact, contract, metrics
from drydock.contract import Tree
from drydock.data.image_folder import Sample
from drydock.data.loading import Batches, SampleDataset, affordable_workers
from drydock.data.preprocessing import Preprocessing
from drydock.errors import UserError
from drydock.hyperparameters import Hyperparameters
from drydock.metrics import Scores
from drydock.models import architecture
from drydock.training import channels, machine, precision, reports
from drydock.training.channels import Data
from drydock.training.checkpoint import Checkpoints
from drydock.training.evaluation import Evaluation, Normaliser, Tally, by_class, evaluate
from drydock.training.freezing import freeze
from drydock.training.loop import History, Trainer
from drydock.training.optimisation import make_optimizer, make_schedule
from drydock.training.pretrained import load_pretrained
from drydock.training.stopping import Stop, StopRequested

logger = logging.getLogger(__name__)

# What a shell reports for a program that SIGTERM ended: stopped with nothing to keep.
EXIT_STOPPED_EMPTY = 143


@dataclass(frozen=True, kw_only=True)
class Run:
    """What stays the same from the first step to the reports."""

    hyperparameters: Hyperparameters
    tree: Tree
    stop: Stop
    data: Data
    preprocessing: Preprocessing
    model: nn.Module
    normalise: Normaliser
    precision: precision.Precision
    workers: int

    @property
    def values(self) -> tuple[float, ...] | None:
        return metrics.class_values(self.data.class_names)

    def batches(self, samples: tuple[Sample, ...], *, training: bool = False) -> Batches:
        seed = self.hyperparameters.seed
        return Batches(
            SampleDataset(
                samples,
                self.preprocessing,
                augment=self.hyperparameters.augment if training else "none",
                seed=seed,
            ),
            batch_size=self.hyperparameters.batch_size,
            shuffle_seed=seed if training else None,
            workers=self.workers,
            pin_memory=self.normalise.device.type == "cuda",
        )

    def evaluate(self, batches: Batches) -> Evaluation:
        return evaluate(
            self.model,
            batches,
            classes=len(self.data.class_names),
            values=self.values,
            normalise=self.normalise,
            precision=self.precision,
            stop=self.stop,
        )


def run(hyperparameters: Hyperparameters, tree: Tree, stop: Stop) -> int:
    """Train, evaluate, write the artifact and the reports; returns the exit code.

    A stop asked for by `stop` ends the training after its step; the best weights so far (the
    current ones, where no epoch was finished) become the artifact, and the exit code is 0; it is
    EXIT_STOPPED_EMPTY where not one step was done. Raises UserError.
    """
    try:
        prepared = _prepare(hyperparameters, tree, stop)
        trainer = _trainer(prepared)
        stop.check()
    except StopRequested as request:
        logger.warning("Stopped by %s before the first step: there is no model to keep", request)
        return EXIT_STOPPED_EMPTY
    history = History()
    stopped: str | None = None
    try:
        with _advice_on_memory(hyperparameters):
            trainer.run(history)
    except StopRequested as request:
        stopped = str(request)
        logger.warning("Stopped by %s after step %d: writing what there is", request, history.steps)
    if not history.steps:
        return EXIT_STOPPED_EMPTY
    _finish(prepared, trainer.checkpoints, history, stopped=stopped)
    return contract.EXIT_SUCCESS


class _advice_on_memory:  # noqa: N801  used as a with-statement's verb
    """Turns running out of memory into a UserError that says what to lower."""

    def __init__(self, hyperparameters: Hyperparameters) -> None:
        self._given = hyperparameters

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, torch.OutOfMemoryError | MemoryError) or (
            isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
        ):
            raise UserError(
                f"out of memory with batch-size={self._given.batch_size}: lower batch-size or image-size, "
                "freeze more stages, or take a larger instance"
            ) from error


def _prepare(hyperparameters: Hyperparameters, tree: Tree, stop: Stop) -> Run:
    channels.check_hosts(tree)
    channels.check_channels(tree)
    available = machine.cores()
    machine.set_threads(available)
    machine.make_deterministic(hyperparameters.seed)
    device = machine.device()
    name = hyperparameters.arch
    model_of = architecture(name)
    chosen = precision.choose(hyperparameters.precision, device)
    preprocessing = Preprocessing(
        size=hyperparameters.image_size or model_of.image_size, resize=hyperparameters.resize
    )
    data = channels.read(tree, hyperparameters, threads=available)
    stop.check()
    model = model_of.build(len(data.class_names))
    first_weights = load_pretrained(model, name, hyperparameters.pretrained, tree)
    if first_weights == "random weights" and hyperparameters.freeze.trained_stages is not None:
        logger.warning(
            "freeze=%s keeps random weights as they are: give a channel pretrained, or set freeze=none",
            hyperparameters.freeze,
        )
    model = model.to(device, memory_format=chosen.memory_format)  # type: ignore[call-overload]  # torch's gap
    workers = hyperparameters.workers
    if workers < 0:
        workers = machine.default_workers(device, available)
    workers = affordable_workers(workers, batch_size=hyperparameters.batch_size, size=preprocessing.size)
    logger.info("Data: %s", data.summary())
    logger.info(
        "Device: %s; %s, %s (%s); %d loading workers",
        machine.device_name(device),
        chosen.name,
        "channels_last" if chosen.channels_last else "contiguous",
        chosen.reason,
        workers,
    )
    logger.info("Model: %s from %s, %d px %s", name, first_weights, preprocessing.size, preprocessing.resize)
    return Run(
        hyperparameters=hyperparameters,
        tree=tree,
        stop=stop,
        data=data,
        preprocessing=preprocessing,
        model=model,
        normalise=Normaliser(preprocessing, device, chosen),
        precision=chosen,
        workers=workers,
    )


def _trainer(run: Run) -> Trainer:
    given = run.hyperparameters
    frozen = freeze(run.model, given.arch, given.freeze)
    parameters = list(run.model.parameters())
    batches = run.batches(run.data.train, training=True)
    validation = run.batches(run.data.validation)
    optimizer = make_optimizer(run.model, given)
    logger.info(
        "Training: %s of %s weights (freeze=%s), %d epochs of %d steps, %s, lr %g",
        f"{sum(parameter.numel() for parameter in parameters if parameter.requires_grad):,}",
        f"{sum(parameter.numel() for parameter in parameters):,}",
        given.freeze,
        given.epochs,
        len(batches),
        given.optimizer,
        given.lr,
    )
    return Trainer(
        model=run.model,
        frozen=frozen,
        optimizer=optimizer,
        schedule=make_schedule(optimizer, given, steps_per_epoch=len(batches)),
        batches=batches,
        normalise=run.normalise,
        precision=run.precision,
        stop=run.stop,
        new_tally=lambda: Tally(len(run.data.class_names), run.values, run.normalise.device),
        validate=lambda: run.evaluate(validation),
        checkpoints=Checkpoints(folder=run.tree.checkpoints),
        epochs=given.epochs,
        patience=given.patience,
    )


def _finish(run: Run, checkpoints: Checkpoints, history: History, *, stopped: str | None) -> None:
    """Best weights, artifact, test, reports: in this order, so that a kill costs the least."""
    best = history.best
    if best is not None:
        checkpoints.restore_best(run.model)
        for line in metrics.lines("validation:best_", best.validation, epoch=best.epoch):
            logger.info("%s", line)
    document = _metrics_document(run, history, None, stopped=stopped)
    _save_artifact(run, document)
    test: Evaluation | None = None
    if run.data.test and stopped is None:
        try:
            test = run.evaluate(run.batches(run.data.test))
        except StopRequested as request:
            stopped = str(request)
            logger.warning("Stopped by %s during the test: its scores are left out", request)
        else:
            for line in metrics.lines("test:", test.scores):
                logger.info("%s", line)
        document = _metrics_document(run, history, test, stopped=stopped)
        _save_artifact(run, document)
    logger.info("Artifact: %s", run.tree.model)
    _write_reports(run, history, test, document)
    logger.info("Reports: %s", run.tree.output_data)


def _save_artifact(run: Run, document: Mapping[str, Any]) -> None:
    artifact.save(
        run.tree.model,
        run.model,
        artifact.Metadata(
            architecture=run.hyperparameters.arch,
            class_names=run.data.class_names,
            preprocessing=run.preprocessing,
            metrics={name: document[name]["scores"] for name in ("validation", "test") if document[name]},
            training=run.hyperparameters.to_strings(),
            versions=versions(),
        ),
    )


def versions() -> dict[str, str]:
    """What made a model, for model.json."""
    return {
        "drydock": drydock.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "torchvision": str(torchvision.__version__),
        "numpy": np.__version__,
        "pillow": PIL.__version__,
    }


def _scores(scores: Scores) -> dict[str, float]:
    return {"images": scores.images, **scores.values}


def _detail(run: Run, evaluation: Evaluation | None) -> dict[str, Any] | None:
    if evaluation is None:
        return None
    names = run.data.class_names
    return {
        "scores": _scores(evaluation.scores),
        "always_commonest_class": _baseline(run, evaluation),
        "by_class": by_class(evaluation, names),
        "confusion": evaluation.confusion.tolist(),  # rows: true class, columns: predicted
    }


def _baseline(run: Run, evaluation: Evaluation) -> float:
    """Accuracy of always answering the commonest class of the training images."""
    trained = np.bincount([sample.label for sample in run.data.train], minlength=evaluation.classes)
    return float(np.mean(evaluation.labels == int(trained.argmax())))


def _metrics_document(
    run: Run, history: History, test: Evaluation | None, *, stopped: str | None
) -> dict[str, Any]:
    """metrics.json."""
    best = history.best
    return {
        "architecture": run.hyperparameters.arch,
        "class_names": list(run.data.class_names),
        "images": {
            "train": len(run.data.train),
            "validation": len(run.data.validation),
            "test": len(run.data.test),
        },
        "split_by": run.data.split_by,
        "skipped_files": dict(run.data.bad_files),
        "epochs": len(history.epochs),
        "steps": history.steps,
        "stopped_by": stopped,
        "best_epoch": best.epoch if best else None,
        "train": {"scores": _scores(best.train)} if best else None,
        "validation": _detail(run, history.best_validation),
        "test": _detail(run, test),
        "hyperparameters": run.hyperparameters.to_strings(),
        "versions": versions(),
    }


def _write_reports(run: Run, history: History, test: Evaluation | None, document: Mapping[str, Any]) -> None:
    folder = run.tree.output_data
    artifact.write_json(folder / "metrics.json", document)
    reports.write_history(folder / "history.csv", history)
    if history.epochs:
        reports.write_curves(folder / "loss.png", history, quantity="loss")
        reports.write_curves(folder / "accuracy.png", history, quantity="accuracy")
    shown, samples, name = test, run.data.test, "Test set"
    if shown is None:
        shown, samples, name = history.best_validation, run.data.validation, "Validation set"
    if shown is not None:
        reports.write_confusion(folder / "confusion.png", shown, run.data.class_names, title=name)
        reports.write_worst(
            folder / "worst.png",
            shown,
            samples,
            run.data.class_names,
            run.values,
            title=f"{name}: worst mistakes",
        )
