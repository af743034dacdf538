"""The programs of seeds 003 and 004, and those of seeds 001 and 002 whose steps are agents, do what
they say; see `tests/seeds.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from temporal_hitl import RunStatus
from temporal_hitl.agents import use_model
from tests.seeds import GO_ON, RUN, Play, around

MODEL = """
from agno.agents import use_model
from tests.agents import heard, scripted

use_model(scripted(SCRIPT))
"""
"""What the seeds' reader has in the environment: a model, that says what `SCRIPT` is."""


def model(script: str) -> str:
    """Return the cell that has all agents think with a model which says `script`."""
    return MODEL.replace("SCRIPT", script)


@pytest.fixture(autouse=True)
def _no_model() -> Iterator[None]:
    yield
    use_model(None)


# Seed 003

SENSITIVE = """
from agno.agent import Agent
from agno.tools import tool

done = []

@tool(requires_confirmation=True)
def wipe(disk: str) -> str:
    '''Wipe a disk.'''
    done.append(disk)
    return f"wiped {disk}"

@tool(requires_user_input=True, user_input_fields=["to"])
def send(subject: str, to: str) -> str:
    '''Send a mail.'''
    return f"sent {subject} to {to}"

@tool(external_execution=True)
def shell(command: str) -> str:
    '''Run a command.'''

agent = Agent(name="operator", tools=[wipe, send, shell])
"""
WIPES = model('[("wipe", {"disk": "sda"}), ("wipe", {"disk": "sdb"})]')
ALL_KINDS = model(
    '[("wipe", {"disk": "sda"}), ("send", {"subject": "hi"}), ("shell", {"command": "ls"})]'
)

REQUIREMENTS = """
# We run the Agent and get the run response
run_response = agent.run("Perform sensitive operation")

# In our run_response, we will find a list of active requirements:
for requirement in run_response.active_requirements:

    # We can now iterate over the requirements and resolve them:

    # For example, if the requirement needs user confirmation:
    if requirement.needs_confirmation:
        # Ask the user for confirmation
        confirmation = input(f"Do you approve the tool call to {requirement.tool.tool_name} with args {requirement.tool.tool_args}? (y/n): ")

        # Resolve the requirement by confirming or rejecting it, based on the user's input
        if confirmation.lower() == "y":
            requirement.confirm()
        else:
            requirement.reject()
"""  # noqa: E501

EACH_KIND = """
for requirement in run_response.active_requirements:

    # If the requirement is about user confirmation:
    if requirement.needs_confirmation:
        ...

    # If the requirement is about obtaining user input:
    if requirement.needs_user_input:
        ...

    # If the requirement is about executing an external tool:
    if requirement.is_external_tool_execution:
        ...
"""

BY_ID = """
run_response = agent.run("Perform sensitive operation")

for requirement in run_response.active_requirements:
    # You handle any active requirements here

# After resolving all requirements, you can continue the run:
response = agent.continue_run(run_id=run_response.run_id, requirements=run_response.requirements)
"""

BY_OUTPUT = """
response = agent.continue_run(run_response=run_response)
"""

TOLD = "print(response.content)"


@pytest.mark.parametrize(
    ("typed", "going_on", "told"),
    [
        (["y", "y"], BY_OUTPUT, "wipe: wiped sda; wipe: wiped sdb"),
        (["y", "n"], BY_ID, "wipe: wiped sda; wipe: rejected by a person"),
        (["n", "n"], BY_OUTPUT, "wipe: rejected by a person; wipe: rejected by a person"),
    ],
    ids=["both", "the_first", "none"],
)
def test_confirmation(play: Play, typed: list[str], going_on: str, told: str) -> None:
    """Seed 003's first program asks for each call with its own arguments, and each tool runs as its
    reader answers.
    """
    last = going_on.splitlines()[-1]
    played = play(SENSITIVE, WIPES, REQUIREMENTS, last, TOLD, typed=typed)

    asked = "Do you approve the tool call to wipe with args {'disk': '%s'}? (y/n): %s"
    assert [asked % ("sda", typed[0]), asked % ("sdb", typed[1]), told] == played.told
    approved = {disk for disk, answer in zip(["sda", "sdb"], typed, strict=True) if answer == "y"}
    assert approved == set(played.names["done"])
    assert RunStatus.completed is played.names["response"].status


ANSWERS = (
    "requirement.confirm()",
    'requirement.provide_user_input({"to": "ana"})',
    'requirement.set_external_execution_result("a.txt")',
)


def test_each_kind(play: Play) -> None:
    """Seed 003's second program tells the kinds apart, each by one question that says yes."""
    program = EACH_KIND
    for answer in ANSWERS:
        kind = answer.partition("(")[0].removeprefix("requirement.")
        program = program.replace("        ...", f'        {answer}\n        print("{kind}")', 1)
    run = REQUIREMENTS.partition("\n\n")[0]
    played = play(SENSITIVE, ALL_KINDS, run, program, BY_OUTPUT, TOLD)

    kinds = ["confirm", "provide_user_input", "set_external_execution_result"]
    assert [*kinds, "wipe: wiped sda; send: sent hi to ana; shell: a.txt"] == played.told


def test_all_in_one_program(play: Play) -> None:
    """Seed 003's "Resuming Execution" goes on with all that was asked for, decided in its loop."""
    handled = """
    if requirement.needs_confirmation:
        requirement.confirm()
    elif requirement.needs_user_input:
        for field in requirement.user_input_schema:
            if field.value is None:
                field.value = input(f"{field.name} ({field.field_type}): ")
    else:
        requirement.external_execution_result = "a.txt"
"""
    program = BY_ID.replace("    # You handle any active requirements here", handled.strip("\n"))
    played = play(SENSITIVE, ALL_KINDS, program, TOLD, typed=["bob"])

    told = "wipe: wiped sda; send: sent hi to bob; shell: a.txt"
    assert ["to (str): bob", told] == played.told


def test_nothing_decided(play: Play) -> None:
    """A program that decides nothing is told what its run waits for, and nothing is rejected."""
    with pytest.raises(ValueError, match=r"operator\.1\.wipe.*operator\.1\.wipe-2"):
        play(SENSITIVE, WIPES, REQUIREMENTS.partition("\n\n")[0], BY_OUTPUT)


PARTIAL = """
import asyncio, json
from agno.agent import RunRequirement

run_response = agent.run("Perform sensitive operation")
run_response.active_requirements[0].confirm()
run_response = agent.continue_run(run_response)
print(run_response.is_paused, [each.id for each in run_response.active_requirements])
print([each.is_resolved() for each in run_response.requirements])

# Somewhere else, later
kept = json.dumps([each.to_dict() for each in run_response.active_requirements])
requirements = [RunRequirement.from_dict(each) for each in json.loads(kept)]
requirements[0].reject("not both")
response = asyncio.run(agent.acontinue_run(run_id=run_response.run_id, requirements=requirements))
again = agent.get_run_output(run_response.run_id)
print(again.content == response.content, len(again.requirements), again.usage["requests"])
"""


def test_partial_answers(play: Play) -> None:
    """What is not decided stays open, can be decided from anywhere by its data, and only then does
    the agent go on.
    """
    played = play(SENSITIVE, WIPES, PARTIAL, TOLD)

    open_ = "True ['operator.1.wipe-2']"
    told = "wipe: wiped sda; wipe: rejected by a person: not both"
    assert [open_, "[True, False]", "True 2 2", told] == played.told


STREAMING = """
for run_event in agent.run("Perform sensitive operation", stream=True):
    if run_event.is_paused:
        for requirement in run_event.active_requirements:
            # You handle any active requirements here

    response = agent.continue_run(run_id=run_event.run_id, requirements=run_event.requirements, stream=True)
"""  # noqa: E501
"""Seed 003, "Streaming HITL Flows"."""


def test_streaming(play: Play) -> None:
    """Seed 003's streaming program handles the pause where the stream tells of it, and is told the
    end by the stream that goes on.
    """
    handled = STREAMING.replace(
        "# You handle any active requirements here", "requirement.confirm()"
    )
    last = "print([each.event for each in response][-2:], sorted(done))"
    played = play(SENSITIVE, WIPES, handled, last)

    assert ["['RunContent', 'RunCompleted'] ['sda', 'sdb']"] == played.told


WEATHER = """
from agno.agent import Agent
from agno.team import Team
from agno.tools import tool

@tool(requires_confirmation=True)
def get_weather(city: str) -> str:
    '''Look up the weather.'''
    return f"sunny in {city}"

forecaster = Agent(
    "forecaster", scripted([("get_weather", {"city": "Tokyo"})]), tools=[get_weather]
)
team = Team(name="weather_team", members=[forecaster])
"""
DELEGATES = model('[("delegate", {"member": "forecaster", "task": "Tokyo"})]')

TEAM = """
run_response = team.run("What is the weather in Tokyo?")

if run_response.is_paused:
    for requirement in run_response.active_requirements:
        if requirement.needs_confirmation:
            print(f"Member {requirement.member_agent_name} wants to call {requirement.tool_execution.tool_name}")
            requirement.confirm()

    run_response = team.continue_run(run_response)
"""  # noqa: E501


def test_team(play: Play) -> None:
    """Seed 003's team pauses for its member, names it, and goes on with what the member found."""
    played = play(DELEGATES, WEATHER, TEAM, "print(run_response.content)")

    assert [
        "Member forecaster wants to call get_weather",
        "delegate: get_weather: sunny in Tokyo",
    ] == played.told


# Seed 004

STOP_BEFORE = """
from agno.tools import tool

@tool(stop_before_execution=True)
def delete_user(user_id: str) -> str:
    \"\"\"Delete user account - requires confirmation.\"\"\"
    return f"User {user_id} deleted"

agent = Agent(
    name="HITL Agent",
    tools=[delete_user],
)
"""
AGENT = "from agno.agent import Agent"


@pytest.mark.parametrize(
    ("decides", "told"),
    [
        ("requirement.confirm()", "delete_user: User u7 deleted"),
        ('requirement.reject("keep it")', "delete_user: rejected by a person: keep it"),
    ],
    ids=["confirms", "denies"],
)
def test_stop_before_execution(play: Play, decides: str, told: str) -> None:
    """Seed 004's agent decides to call, pauses, and goes on with the result, or with the no."""
    flow = f"""
run_response = agent.run("Delete u7")
(requirement,) = run_response.active_requirements
print(requirement.tool.tool_name, requirement.tool.tool_args)
{decides}
response = agent.continue_run(run_response)
"""
    calls = model('[("delete_user", {"user_id": "u7"})]')
    played = play(AGENT, calls, STOP_BEFORE, flow, TOLD)

    assert ["delete_user {'user_id': 'u7'}", told] == played.told


WITH_MESSAGE = """
from agno.tools import tool

@tool(
    stop_before_execution=True,
    execution_message="This will permanently delete data. Continue?",
)
def delete_data(dataset_id: str) -> str:
    \"\"\"Delete dataset.\"\"\"
    return f"Dataset {dataset_id} deleted"
"""


def test_execution_message(play: Play) -> None:
    """Seed 004's message is the question that its reader sees."""
    flow = """
agent = Agent(name="cleaner", tools=[delete_data])
run_response = agent.run("Clean up")
for requirement in run_response.active_requirements:
    print(requirement.message)
    requirement.confirm()
response = agent.continue_run(run_response)
"""
    calls = model('[("delete_data", {"dataset_id": "d1"})]')
    played = play(AGENT, calls, WITH_MESSAGE, flow, TOLD)

    question = "This will permanently delete data. Continue?"
    assert [question, "delete_data: Dataset d1 deleted"] == played.told


CONFIRM_BEFORE_RUN = """
from agno.execution_control import ConfirmBeforeRun

agent = Agent(
    name="Confirmation Agent",
    confirm_before_run=True,  # Confirm before each run
    confirmation_message="Do you want to proceed?",
)
"""


@pytest.mark.parametrize("written", [CONFIRM_BEFORE_RUN, "as_a_value"])
@pytest.mark.parametrize(("answer", "content"), [("confirm", "Hello"), ("reject", "None")])
def test_confirm_before_run(play: Play, written: str, answer: str, content: str) -> None:
    """Seed 004's agent begins only once somebody has said yes; `ConfirmBeforeRun` says the same."""
    if written == "as_a_value":
        of_ours = 'confirm_before_run=ConfirmBeforeRun("Do you want to proceed?"))'
        written = CONFIRM_BEFORE_RUN.partition("    confirm_before_run")[0] + of_ours
    flow = f"""
run_response = agent.run("Hello")
(requirement,) = run_response.active_requirements
print(requirement.message, requirement.needs_confirmation)
requirement.{answer}()
response = agent.continue_run(run_response)
"""
    played = play(AGENT, model("heard"), written, flow, TOLD)

    assert ["Do you want to proceed? True", content] == played.told
    usage = played.names["response"].usage
    assert (answer == "confirm") == bool(usage.get("requests"))


EXTERNAL = """
from agno.tools import tool
from agno.execution_control import ExternalExecution

@tool(external_execution=True)
def get_approval(amount: float) -> dict:
    \"\"\"Get external approval for amount.\"\"\"
    return {
        "requires_approval": True,
        "amount": amount,
        "status": "pending_approval",
    }

agent = Agent(
    name="Approval Agent",
    tools=[get_approval],
)
"""


@pytest.mark.parametrize("written", [EXTERNAL, "as_a_toolkit"])
def test_external_execution(play: Play, written: str) -> None:
    """Seed 004's tool never runs here: the agent goes on with what was approved outside."""
    if written == "as_a_toolkit":
        plain = EXTERNAL.replace("@tool(external_execution=True)\n", "")
        written = plain.replace("[get_approval]", "[ExternalExecution(get_approval)]")
    flow = """
run_response = agent.run("Approve 12.5")
(requirement,) = run_response.active_requirements
print(requirement.is_external_tool_execution, requirement.tool.tool_args)
requirement.set_external_execution_result({"status": "approved"})
print(requirement.is_external_tool_execution)
response = agent.continue_run(run_response)
"""
    calls = model('[("get_approval", {"amount": 12.5})]')
    played = play(AGENT, calls, written, flow, TOLD)

    told = ["True {'amount': 12.5}", "False", 'get_approval: {"status": "approved"}']
    assert told == played.told


# Seeds 001 and 002: steps that are agents

REFINER = """
from agno.agent import Agent
from tests.agents import heard, scripted

def OpenAIChat(id):
    return scripted(heard)
"""
REFINE = """
from agno.workflow import Workflow, OnReject
from agno.workflow.loop import Loop
from agno.workflow.step import Step
from agno.workflow.types import HumanReview
from agno.db.sqlite import SqliteDb
refine_agent = Agent(
    name="Refiner",
    model=OpenAIChat(id="gpt-4o-mini"),
    instructions=(
        "You refine and improve text. If the reviewer provides feedback, "
        "incorporate it. Return only the improved text."
    ),
)
workflow = Workflow(
    name="iterative_refinement",
    db=SqliteDb(db_file="workflow.db"),
    steps=[
        Loop(
            name="refinement_loop",
            steps=[Step(name="refine", agent=refine_agent)],
            max_iterations=5,
            forward_iteration_output=True,
            human_review=HumanReview(
                requires_iteration_review=True,
                iteration_review_message="Review this iteration.",
                on_reject=OnReject.retry,
            ),
        ),
    ],
)
run_output = workflow.run("Improve this paragraph...")
while run_output.is_paused:
    for req in run_output.steps_requiring_output_review:
        print(req.step_output.content)
        choice = input("Accept? (yes/no): ").strip().lower()
        if choice in ("yes", "y"):
            req.confirm()
        else:
            feedback = input("Feedback: ").strip()
            if feedback:
                req.reject(feedback=feedback)
            else:
                req.reject()
    run_output = workflow.continue_run(run_output)
"""


def test_iteration_review(play: Play) -> None:
    """Seed 001's agent is told what the reviewer wants, and what it wrote before."""
    played = play(REFINER, REFINE, typed=["no", "shorter", "yes"])

    told = "\n".join(played.told)
    assert 2 == told.count("Accept?")
    assert "The reviewer rejected it:\nshorter" in told
    assert "Improve this paragraph..." in played.content


PIPELINE = """
fetch_agent = Agent("fetcher", scripted(heard))
process_agent = Agent("processor", scripted([("redact", {"rows": 3})]), tools=[redact])
save_agent = Agent("saver", scripted(heard))
"""
REDACT = """
from agno.agent import Agent
from agno.tools import tool
from tests.agents import heard, scripted

@tool(requires_confirmation=True)
def redact(rows: int) -> str:
    '''Redact rows.'''
    return f"{rows} rows redacted"
"""
DATA_PIPELINE = """
from agno.workflow import Workflow, OnReject
from agno.workflow.step import Step
from agno.db.sqlite import SqliteDb

workflow = Workflow(
    name="data_pipeline_of_agents",
    db=SqliteDb(db_file="workflow.db"),  # Required for HITL
    steps=[
        Step(name="fetch_data", agent=fetch_agent),
        Step(
            name="process_data",
            agent=process_agent,
            requires_confirmation=True,
            confirmation_message="Process sensitive data?",
            on_reject=OnReject.skip,
        ),
        Step(name="save_results", agent=save_agent),
    ],
)

run_output = workflow.run("Process user data")

if run_output.is_paused:
    for req in run_output.steps_requiring_confirmation:
        req.confirm()  # or req.reject()
    run_output = workflow.continue_run(run_output)
"""
TOOL_OF_STEP = """
for req in run_output.steps_requiring_executor_resolution:
    print(req.step_name, req.agent_name, req.tool_name, req.tool_args)
    req.confirm()
run_output = workflow.continue_run(run_output)
print(run_output.content)
"""


def test_data_pipeline(play: Play) -> None:
    """Seed 002's pipeline of agents asks before the step, as it says, and then, which the seed
    warns that it would not, before the tool of the agent in it.
    """
    played = play(REDACT, PIPELINE, DATA_PIPELINE, TOOL_OF_STEP)

    asked = "process_data processor redact {'rows': 3}"
    assert [asked, "redact: 3 rows redacted"] == played.told
    steps = [("process_data", "confirm"), ("process_data.1.redact", "confirm")]
    assert steps == played.decided


def test_data_pipeline_rejected(play: Play) -> None:
    """A no before the step skips the agent, which asks nothing, and calls nothing."""
    rejects = DATA_PIPELINE.replace("req.confirm()  #", "req.reject()  #")
    played = play(REDACT, PIPELINE, rejects, "print(run_output.content)")

    assert ["Process user data"] == played.told
    assert [("process_data", "reject")] == played.decided


REPORT = """
from agno.agent import Agent
from tests.agents import heard, scripted

report_agent = Agent("reporter", scripted(heard))
delete_agent = Agent("deleter", scripted("deleted"))
"""
FORM = """
from agno.workflow.types import UserInputField

Step(
    name="generate_report",
    agent=report_agent,
    requires_user_input=True,
    user_input_message="Configure report settings:",
    user_input_schema=[
        UserInputField(name="format", field_type="str", required=True),
        UserInputField(name="include_charts", field_type="bool", required=False),
    ],
)
"""
FILL_IN = """
for req in run_output.steps_requiring_user_input:
    print(req.user_input_message)
    for field in req.user_input_schema:
        value = {"format": "pdf", "include_charts": True}[field.name]
        req.set_user_input(**{field.name: value})
"""


def test_user_input(play: Play) -> None:
    """The values of seed 002's form reach the prompt of the agent that is the step."""
    played = play(REPORT, around("agents_report"), FORM, RUN, FILL_IN, GO_ON)

    question, *content = played.told
    assert "Configure report settings:" == question
    told = "prepared\n\nWhat the user asked for:\n- format: pdf\n- include_charts: true"
    assert f"finished: {told}" == "\n".join(content)


DELETE = """
Step(
    name="delete_records",
    agent=delete_agent,
    requires_confirmation=True,
    confirmation_message="Delete 1000 records?",
    on_reject=OnReject.skip,  # cancel | skip (default)
)
"""


@pytest.mark.parametrize(
    ("answer", "content"),
    [("confirm", "finished: deleted"), ("reject", "finished: prepared")],
)
def test_step_confirmation(play: Play, answer: str, content: str) -> None:
    """Seed 002's question before an agent's step: yes has it work, no leaves it out."""
    decide = f"for req in run_output.steps_requiring_confirmation: req.{answer}()"
    played = play(REPORT, around("agents_deletion"), DELETE, RUN, decide, GO_ON)

    assert [content] == played.told
