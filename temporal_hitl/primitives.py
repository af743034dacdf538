"""What authors write: `Step`, `Steps`, `Parallel`, `Condition`, `Loop` and `Router`, and the
`Definition` of them.

Owns the words of a definition and every check that one node can make of itself when it is built.
Holds plain data and the author's functions; nothing here runs them, and nothing here knows of plans
or of Temporal's server.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, Protocol, TypeAlias, Unpack

from temporal_hitl._arguments import text, whole
from temporal_hitl._asking import (
    FAILURE,
    FORM,
    ITERATION,
    OUTPUT,
    ROUTE,
    NodeOptions,
    ReviewOptions,
    activity_options,
    review_of,
)
from temporal_hitl._options import ActivityOptions, CallOptions
from temporal_hitl._subscribers import subscribers
from temporal_hitl.errors import DefinitionError
from temporal_hitl.review import PAUSE_ATTRIBUTE, OnError, OnReject
from temporal_hitl.turns import Adapter, FrameworkAgent, HasAdapter

__all__ = [
    "ActivityOptions",
    "Condition",
    "Definition",
    "Executor",
    "Loop",
    "Node",
    "Parallel",
    "Router",
    "Step",
    "Steps",
]

Executor: TypeAlias = Callable[..., Any]
"""A function, sync or async, or an object with a call method; see `Step` for what it is given."""


AgentLike: TypeAlias = Executor | HasAdapter | FrameworkAgent
"""An agent, a team, or a function in the place of one."""


def _callable(value: Any, where: str) -> Executor:
    if not callable(value):
        raise DefinitionError(
            f"{where}: {value!r} cannot be called; give a function or an object with a call method"
        )
    return value


class Step:
    """One activity, or one child workflow: runs an executor or a `Workflow`, after asking a person
    where it says so.

    The executor is called with a `StepInput`, and by name with `session_state` (a dict to read and
    change) and `run_context` where it has parameters of these names. It returns a `StepOutput`, or
    any value that JSON can hold, which becomes the content. Sync executors run in threads, async
    ones on the worker's loop.

    An execution that fails is tried again up to `max_retries` times (seed 002), one second apart at
    first and doubling; a `retry_policy` says it in Temporal's own words instead. What happens after
    the last failure is `on_error`, `skip` unless given. Timeouts are seconds or timedeltas. Unless
    `heartbeat_timeout` is given, the worker proves every three seconds that it lives, so that a
    step of a worker that died is started again within half a minute; with it given, the executor
    calls `temporalio.activity.heartbeat` itself.

    A `workflow` runs as a run of its own, under this run's id and the step's path. It is given the
    content of the step before, or else the run's input, and the session state; its content is the
    step's, and a run of it that does not complete is a step that failed.

    `options` are `ActivityOptions`, of which a `workflow` takes `task_queue` alone, and
    `ReviewOptions`.

    Raises:
        DefinitionError: a value that is none, two executors or none, a policy or an option that
        means nothing here.
    """

    def __init__(
        self,
        name: str | None = None,
        executor: Executor | None = None,
        *,
        agent: AgentLike | None = None,
        team: AgentLike | None = None,
        workflow: Definition | None = None,
        description: str | None = None,
        skip_on_failure: bool = False,
        **options: Unpack[NodeOptions],
    ) -> None:
        self.runs = _one_executor(name, executor, agent, team, workflow)
        self.agent = adapter_of(self.runs)
        marks: dict[str, Any] = {**getattr(self.runs, PAUSE_ATTRIBUTE, {})}
        marked = marks.pop("name", None)
        self.name: str = text(name or marked or _name_of(self.runs), "Step")
        where = f"Step {self.name!r}"
        self.description = description
        self.review = review_of(where, options, supports=FORM | OUTPUT | FAILURE, marks=marks)
        if skip_on_failure and self.review.on_error is OnError.pause:
            raise DefinitionError(
                f"{where}: skip_on_failure=True and on_error='pause' contradict each other; keep"
                " one"
            )
        self.on_error = OnError.skip if skip_on_failure else self.review.on_error
        of_activities = activity_options(options)
        self.options = CallOptions.of(where, of_activities)
        if isinstance(self.runs, Definition):
            _check_child(where, of_activities)


def _one_executor(
    name: str | None,
    executor: Executor | None,
    agent: AgentLike | None,
    team: AgentLike | None,
    workflow: Definition | None,
) -> Executor | Definition:
    where = f"Step {name!r}" if name else "Step"
    there = [each for each in (executor, agent, team, workflow) if each is not None]
    if len(there) != 1:
        found = "none" if not there else f"{len(there)}: {', '.join(map(repr, there))}"
        raise DefinitionError(
            f"{where} needs exactly one executor (executor=, agent=, team= or workflow=); it has"
            f" {found}"
        )
    if workflow is None:
        given: Any = there[0]
        return given if adapter_of(given) is not None else _callable(given, where)
    if not isinstance(workflow, Definition):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise DefinitionError(f"{where}: workflow={workflow!r} is no Workflow")
    return workflow


def adapter_of(value: Any) -> Adapter | None:
    """Return how `value` takes part in runs as an agent, or None where it is none."""
    if any(_is_theirs(each) for each in type(value).__mro__):
        # Loaded where one is given: the core needs no agent framework.
        return import_module("temporal_hitl.agents").adapter_of(value)
    make = None if isinstance(value, type) else getattr(value, "hitl_adapter", None)
    return None if make is None else make()


def _is_theirs(kind: type) -> bool:
    return kind.__name__ == "AbstractAgent" and kind.__module__.startswith("pydantic_ai.")


def _check_child(where: str, options: ActivityOptions) -> None:
    for option in options:
        if option != "task_queue":
            raise DefinitionError(
                f"{where}: {option} means nothing for a workflow, whose steps have options of their"
                " own; of a step's options it takes task_queue alone"
            )


def _name_of(executor: Executor | Definition) -> str:
    return getattr(executor, "name", None) or getattr(executor, "__name__", type(executor).__name__)


class _Container:
    """A node with children; a `name` left out is made from the kind and the position."""

    supports: frozenset[str] = frozenset()
    """What of a `HumanReview` it supports, beside what every node does."""
    rejected = OnReject.skip
    """What a rejection does unless its author says otherwise."""
    has_functions = True
    """Whether there is anything that activity options could be meant for."""

    def __init__(
        self, name: str | None, description: str | None, options: Mapping[str, Any]
    ) -> None:
        self.name = None if name is None else text(name, type(self).__name__)
        self.description = description
        self.review = review_of(self.where, options, supports=self.supports, rejected=self.rejected)
        self.on_error = self.review.on_error
        of_functions = activity_options(options)
        if of_functions and not self.has_functions:
            unexpected = next(iter(of_functions))
            raise TypeError(f"{self.where}: unexpected keyword argument {unexpected!r}")
        self.options = CallOptions.of(self.where, of_functions)

    @property
    def where(self) -> str:
        return type(self).__name__ if self.name is None else f"{type(self).__name__} {self.name!r}"

    def children(self, given: Any) -> tuple[Node, ...]:
        """Return what an author listed as nodes: functions become Steps."""
        if isinstance(given, (str, bytes)) or not isinstance(given, Sequence):
            raise DefinitionError(f"{self.where}: {given!r} is not a list of steps")
        nodes = tuple(as_node(each, self.where) for each in given)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        if not nodes:
            raise DefinitionError(f"{self.where} is empty; give it at least one step")
        return nodes


class Steps(_Container):
    """Runs its children one after another, each seeing what came before."""

    has_functions = False

    def __init__(
        self,
        name: str | None = None,
        description: str | None = None,
        steps: Sequence[NodeLike] = (),
        **options: Unpack[ReviewOptions],
    ) -> None:
        super().__init__(name, description, options)
        self.steps = self.children(steps)


class Parallel(_Container):
    """Runs its children at once from one input; outputs and state merge in declaration order."""

    has_functions = False

    def __init__(
        self,
        *steps: NodeLike | str,
        name: str | None = None,
        description: str | None = None,
        **options: Unpack[ReviewOptions],
    ) -> None:
        if steps and isinstance(steps[0], str):
            name, steps = steps[0], steps[1:]
        super().__init__(name, description, options)
        self.steps = self.children(steps)


class Condition(_Container):
    """Runs `steps` where the evaluator says yes, and `else_steps`, if any, where it says no.

    `evaluator` is a bool, or a function of the step input (and `session_state`) that runs as an
    activity. Where a person confirms first, yes lets the evaluator decide, which says yes unless
    given; a rejection takes the else-branch, unless `on_reject` says otherwise (seed 002).
    """

    supports = FAILURE
    rejected = OnReject.else_branch

    def __init__(
        self,
        steps: Sequence[NodeLike],
        evaluator: bool | Executor = True,
        else_steps: Sequence[NodeLike] | None = None,
        name: str | None = None,
        description: str | None = None,
        **options: Unpack[NodeOptions],
    ) -> None:
        super().__init__(name, description, options)
        self.steps = self.children(steps)
        self.else_steps = () if else_steps is None else self.children(else_steps)
        self.evaluator = (
            evaluator if isinstance(evaluator, bool) else _callable(evaluator, self.where)
        )


class Loop(_Container):
    """Runs its children again and again, at most `max_iterations` times.

    `end_condition(outputs)` ends it by returning True, where `outputs` are the iteration's;
    `should_continue(step_input, iteration)` ends it by returning False, where `iteration` counts
    from 1 (seed 000). Both run as activities after each iteration but the last. With
    `forward_iteration_output`, each iteration's content is the next one's input.

    With `requires_iteration_review` a person sees each iteration that did not end it: yes ends the
    loop and keeps the output, and a rejection does what `on_reject` says. `retry` goes round again
    with the feedback (seed 001); `skip`, the default, ends the loop and *drops its output*. The
    last iteration is asked about too; there `retry` means `skip`.
    """

    supports = ITERATION | FAILURE

    def __init__(
        self,
        steps: Sequence[NodeLike],
        name: str | None = None,
        description: str | None = None,
        max_iterations: int = 3,
        end_condition: Executor | None = None,
        forward_iteration_output: bool = False,
        *,
        should_continue: Executor | None = None,
        **options: Unpack[NodeOptions],
    ) -> None:
        super().__init__(name, description, options)
        if end_condition is not None and should_continue is not None:
            raise DefinitionError(f"{self.where}: give end_condition or should_continue, not both")
        self.steps = self.children(steps)
        self.max_iterations = whole(max_iterations, 1, f"{self.where}: max_iterations")
        self.end_condition = None if end_condition is None else _callable(end_condition, self.where)
        self.should_continue = (
            None if should_continue is None else _callable(should_continue, self.where)
        )
        self.forward_iteration_output = forward_iteration_output


class Router(_Container):
    """Runs those of its choices that are chosen, one after another.

    `selector` is a function of the step input (and `session_state`, `step_choices`) that runs as an
    activity and returns a choice, its name, or a list of either. With `requires_user_input` a
    person chooses instead: one, or with `allow_multiple_selections` several (seed 002). A list
    among the choices is a group of steps, `steps_group_0` by its position.

    Where its output is reviewed and `on_reject` is `retry`, the person who rejects is asked for the
    route again.
    """

    supports = ROUTE | OUTPUT | FAILURE

    def __init__(
        self,
        choices: Sequence[NodeLike | Sequence[NodeLike]],
        selector: Executor | None = None,
        name: str | None = None,
        description: str | None = None,
        **options: Unpack[NodeOptions],
    ) -> None:
        super().__init__(name, description, options)
        if (selector is not None) is self.review.requires_user_input:
            raise DefinitionError(
                f"{self.where} needs either a selector, a function that returns the name of a"
                " choice, or requires_user_input=True, where a person chooses"
            )
        self.choices = self.children(_grouped(choices))
        self.selector = None if selector is None else _callable(selector, self.where)


def _grouped(choices: Any) -> Any:
    if not isinstance(choices, (list, tuple)):
        return choices
    return [
        Steps(name=f"steps_group_{index}", steps=each) if isinstance(each, (list, tuple)) else each  # pyright: ignore[reportUnknownArgumentType]
        for index, each in enumerate(choices)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    ]


Node: TypeAlias = Step | Steps | Parallel | Condition | Loop | Router
NodeLike: TypeAlias = "Node | Definition | Executor | HasAdapter | FrameworkAgent"


def as_node(value: Any, where: str) -> Node:
    """Return `value` as a node: a node as it is, a function or a Workflow as a Step of its name."""
    if isinstance(value, (Step, Steps, Parallel, Condition, Loop, Router)):
        return value
    if isinstance(value, Definition):
        return Step(workflow=value)
    if adapter_of(value) is not None:
        return Step(agent=value)
    if callable(value) and not isinstance(value, type):
        return Step(executor=value)
    raise DefinitionError(f"{where}: {value!r} is neither a step nor a function")


class Definition(_Container):
    """A named pipeline: its name is the Temporal workflow type, its steps are walked in order."""

    is_agent = False
    """Whether its runs are those of an agent, its one step."""

    def __init__(
        self,
        name: str,
        steps: Sequence[NodeLike] | Steps,
        description: str | None = None,
        notify: Sequence[str] | None = None,
    ) -> None:
        super().__init__(name, description, {})
        self.notify = None if notify is None else subscribers(notify, f"{self.where}: notify")
        self.name: str = name
        self.steps = steps.steps if isinstance(steps, Steps) else self.children(steps)


class HasRuns(Protocol):
    """What has runs of its own, which are those of a pipeline: an agent, a team."""

    @property
    def workflow(self) -> Definition:
        """The pipeline."""
        ...


def as_definition(value: Any) -> Any:
    """Return the pipeline that `value` is, or that an agent's runs are; else `value` itself."""
    own = None if isinstance(value, type) else getattr(value, "workflow", None)
    return own if isinstance(own, Definition) else value
