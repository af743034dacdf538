"""Makes plans of definitions, and finds the functions that they name.

Owns names: paths, activity types and source digests come from here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypedDict

from temporalio.common import RetryPolicy

from temporal_hitl._forms import Form
from temporal_hitl._options import CallOptions
from temporal_hitl._source import qualified_name, source_digest
from temporal_hitl.errors import DefinitionError
from temporal_hitl.plan import (
    START_TO_CLOSE,
    AgentPlan,
    AnyPlan,
    Call,
    Child,
    ConditionPlan,
    LoopPlan,
    ParallelPlan,
    Plan,
    Retry,
    ReviewPlan,
    RouterPlan,
    StepPlan,
    StepsPlan,
)
from temporal_hitl.primitives import (
    Condition,
    Definition,
    Executor,
    Loop,
    Node,
    Parallel,
    Router,
    Step,
    Steps,
)
from temporal_hitl.requirements import slug
from temporal_hitl.turns import Adapter

HEARTBEAT = 20.0
"""Seconds of silence after which the worker of an agent's turn counts as dead."""


class _Shared(TypedDict):
    name: str
    slug: str
    review: ReviewPlan


@dataclass(frozen=True)
class Served:
    """One function behind an activity type, as it was when its definition was compiled."""

    function: Executor
    digest: str
    choices: tuple[Node, ...] = ()
    """What it chooses from, where it is a Router's selector."""
    agent: Adapter | None = None
    """Whose turn or tool it is, where it is one's."""


@dataclass
class Compiled:
    """A definition's plan, with the functions that it names, by activity type."""

    definition: Definition
    plan: Plan
    served: dict[str, Served] = field(default_factory=dict[str, Served])
    nested: dict[str, Definition] = field(default_factory=dict[str, Definition])
    """The pipelines that are steps here, or steps of those, by name."""

    @property
    def family(self) -> list[Definition]:
        """The definition, and all that is nested in it."""
        return [self.definition, *self.nested.values()]


def compile_definition(definition: Definition) -> Compiled:
    """Return the plan of a definition and the functions it names.

    Raises:
        DefinitionError: a name twice in the tree, or two names that make one id; with both paths.
    """
    return _Compiler(definition).compiled


def two_of_a_name(name: str) -> DefinitionError:
    """Return the error that two different definitions have one name."""
    return DefinitionError(f"two pipelines are called {name!r}; a worker serves one of a name")


class _Compiler:
    def __init__(self, definition: Definition) -> None:
        if not isinstance(definition.name, str) or not definition.name.strip():  # pyright: ignore[reportUnnecessaryIsInstance]
            raise DefinitionError(
                f"Workflow: {definition.name!r} is no name; it becomes the workflow type"
            )
        if definition.name.split(".")[0] == "temporal_hitl":
            raise DefinitionError(
                f"Workflow: {definition.name!r} would take names like 'temporal_hitl.plan', which"
                " are the library's; choose another"
            )
        self._name = definition.name
        self._taken: dict[str, tuple[str, str]] = {}
        self.compiled = Compiled(definition, Plan(name=self._name, children=()))
        children = self._children(definition.steps, "")
        self.compiled.plan = Plan(name=self._name, children=children, notify=definition.notify)

    def _children(self, nodes: Iterable[Node], above: str, first: int = 1) -> tuple[AnyPlan, ...]:
        return tuple(
            self._node(node, above, position) for position, node in enumerate(nodes, first)
        )

    def _node(self, node: Node, above: str, position: int) -> AnyPlan:
        name = node.name or f"{type(node).__name__.lower()}_{position}"
        segment = slug(name)
        path = f"{above}.{segment}" if above else segment
        named = _Shared(name=node.name or path, slug=segment, review=self._review(node, path))
        self._claim(named["name"], segment if node.name else path, path)
        match node:
            case Step():
                return self._step(node, named, segment, path)
            case Steps():
                return StepsPlan(**named, children=self._children(node.steps, path))
            case Parallel():
                return ParallelPlan(**named, children=self._children(node.steps, path))
            case Condition():
                return self._condition(node, named, path)
            case Loop():
                return self._loop(node, named, path)
            case Router():
                return self._router(node, named, path)

    def _review(self, node: Node, path: str) -> ReviewPlan:
        said = dict(node.review)
        written, wanted = said.pop("user_input_schema"), said.pop("requires_output_review")
        asks_for_form = node.review.requires_user_input and isinstance(node, Step)
        form = Form.of(written, path) if asks_for_form else Form({})
        if not isinstance(wanted, bool):
            wanted = self._call(f"{path}.output_review", wanted, node.options)
        return ReviewPlan(**said, form=form.schema, fields=form.fields, output_review=wanted)

    def _claim(self, name: str, key: str, path: str) -> None:
        # A name is one segment anywhere in the tree, and nothing else may stand at its path.
        keys = dict.fromkeys((key, path), (name, path))
        for each in keys:
            if each in self._taken:
                raise DefinitionError(self._clash(name, path, *self._taken[each], each))
        self._taken |= keys

    def _clash(self, name: str, path: str, other: str, where: str, key: str) -> str:
        if other == name:
            return f"{self._name}: the name {name!r} stands twice, at {where} and at {path}"
        return (
            f"{self._name}: {other!r} at {where} and {name!r} at {path} both make the id {key!r};"
            " rename one"
        )

    def _step(self, step: Step, named: _Shared, segment: str, path: str) -> StepPlan:
        call = self._runs(step, segment)
        call = call.model_copy(update={"summary": step.description or call.summary})
        return StepPlan(**named, call=call, on_error=step.on_error)

    def _runs(self, step: Step, segment: str) -> Call | Child | AgentPlan:
        runs = step.runs
        if isinstance(runs, Definition):
            return self._child(runs, step.options)
        if step.agent is None:
            return self._call(segment, runs, step.options)
        if self.compiled.definition.is_agent:
            own = self._agent(step.agent, self._name, step.options)
            return own.model_copy(update={"keeps_messages": True})
        return self._agent(step.agent, f"{self._name}.{segment}", step.options)

    def _agent(self, adapter: Adapter, where: str, options: CallOptions) -> AgentPlan:
        digest = adapter.digest  # Of all its tools: asked for once.

        def serve(activity: str, function: Executor) -> Call:
            if activity in self.compiled.served:
                raise DefinitionError(
                    f"{where}: {activity!r} stands for two things; rename the tool or the member"
                )
            self.compiled.served[activity] = Served(function, digest, agent=adapter)
            return self._planned(activity, function, digest, options)

        turn = serve(f"{where}.turn", adapter.turn)
        tools = {tool: f"{where}.{tool}" for tool in adapter.tools}
        for activity in tools.values():
            serve(activity, adapter.call)
        members = [self._agent(each, f"{where}.{each.name}", options) for each in adapter.members]
        return AgentPlan(
            agent=adapter.name,
            turn=turn.model_copy(update={"heartbeat": turn.heartbeat or HEARTBEAT}),
            tool=serve(f"{where}.tool", adapter.call),
            tools=tools,
            guarded=dict(adapter.guarded),
            members=tuple(members),
        )

    def _child(self, definition: Definition, options: CallOptions) -> Child:
        for each in compile_definition(definition).family:
            known = self.compiled.nested.setdefault(each.name, each)
            if known is not each or each.name == self._name:
                raise two_of_a_name(each.name)
        return Child(
            pipeline=definition.name,
            task_queue=options.task_queue,
            summary=definition.description,
        )

    def _condition(self, node: Condition, named: _Shared, path: str) -> ConditionPlan:
        evaluator = node.evaluator
        return ConditionPlan(
            **named,
            evaluator=evaluator
            if isinstance(evaluator, bool)
            else self._call(f"{path}.evaluator", evaluator, node.options),
            children=self._children(node.steps, path),
            else_children=self._children(node.else_steps, path, len(node.steps) + 1),
            on_error=node.on_error,
        )

    def _loop(self, node: Loop, named: _Shared, path: str) -> LoopPlan:
        return LoopPlan(
            **named,
            children=self._children(node.steps, path),
            max_iterations=node.max_iterations,
            end_condition=self._maybe_call(
                f"{path}.end_condition", node.end_condition, node.options
            ),
            should_continue=self._maybe_call(
                f"{path}.should_continue", node.should_continue, node.options
            ),
            forward_iteration_output=node.forward_iteration_output,
            on_error=node.on_error,
        )

    def _router(self, node: Router, named: _Shared, path: str) -> RouterPlan:
        selector = self._maybe_call(f"{path}.selector", node.selector, node.options, node.choices)
        choices = self._children(node.choices, path)
        return RouterPlan(**named, choices=choices, selector=selector, on_error=node.on_error)

    def _maybe_call(
        self,
        where: str,
        function: Executor | None,
        options: CallOptions,
        choices: tuple[Node, ...] = (),
    ) -> Call | None:
        return None if function is None else self._call(where, function, options, choices)

    def _call(
        self,
        where: str,
        function: Executor,
        options: CallOptions,
        choices: tuple[Node, ...] = (),
    ) -> Call:
        activity = f"{self._name}.{where}"
        served = Served(function, source_digest(function), choices)
        self.compiled.served[activity] = served
        return self._planned(activity, function, served.digest, options)

    def _planned(
        self, activity: str, function: Executor, digest: str, options: CallOptions
    ) -> Call:
        return Call(
            activity=activity,
            function=qualified_name(function),
            digest=digest,
            start_to_close=options.start_to_close or START_TO_CLOSE.total_seconds(),
            schedule_to_close=options.schedule_to_close,
            heartbeat=options.heartbeat,
            task_queue=options.task_queue,
            retry=_retry(options.retry_policy, options.max_retries),
        )


def _retry(policy: RetryPolicy | None, max_retries: int) -> Retry:
    if policy is None:
        return Retry(maximum_attempts=max_retries + 1)
    longest = policy.maximum_interval
    return Retry(
        initial_interval=policy.initial_interval.total_seconds(),
        backoff_coefficient=policy.backoff_coefficient,
        maximum_interval=None if longest is None else longest.total_seconds(),
        maximum_attempts=policy.maximum_attempts,
        non_retryable=tuple(policy.non_retryable_error_types or ()),
    )
