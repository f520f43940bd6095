"""What a person sees while a network trains."""

from __future__ import annotations

from vidcnn.reporting.progress import duration_text
from vidcnn.training.plan import TrainingPlan
from vidcnn.training.state import RunState


def progress_line(plan: TrainingPlan, state: RunState) -> str:
    """Return the state of a training run in one line."""
    epoch = plan.spec.epochs * state.step / plan.recipe.num_steps
    parts = [f"epoch {epoch:.1f}/{plan.spec.epochs}", f"step {state.step:,}/{plan.recipe.num_steps:,}"]
    if state.loss is not None:
        parts.append(f"loss {state.loss:.3f}")
    if state.accuracy is not None and not plan.recipe.multi_label:
        parts.append(f"top-1 {state.accuracy:.1%}")
    if state.score is not None:
        parts.append(f"validation {state.score:.1%}")
    done = state.step - state.first_step
    if done:
        parts.append(f"{done * plan.recipe.batch_size / state.seconds:.1f} clips/s")
        parts.append(f"waiting for clips {state.waiting:.0%}")
    if state.num_bad:
        parts.append(f"{state.num_bad:,} bad samples")
    if state.phase == "validating":
        parts.append("validating")
    elif done and state.step < plan.recipe.num_steps:
        left = (plan.recipe.num_steps - state.step) * state.seconds / done
        parts.append(f"{duration_text(left)} left")
    return " · ".join(parts)
