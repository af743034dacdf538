"""All that the pages say in English, and how they tell times.

Owns the words, so that another language is another module like this one. Knows nothing of pages.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar

from temporal_hitl.requirements import ResolutionRecord, Select, TimedOut, Withdrawn


class Words:
    """What stands on the pages, by where it stands."""

    inbox = "Inbox"
    skip_to_content = "Skip to the content"
    start_a_run = "Start a run"
    signed_in_as = "Signed in as"
    sign_out = "Sign out"
    sign_in = "Sign in"
    sign_in_hint = "With the token that an operator has given you. It is not kept in this browser."
    token = "Token"
    unknown_token = "This token is not known."

    unreachable = (
        "Temporal cannot be reached since {since}. What you see is from {as_of}, and may be old."
    )
    nothing_waits = "Nothing waits for a person."
    nothing_found = "Nothing that waits is like that."
    waits = "{count} waiting"
    overdue_count = "{count} overdue"
    question = "Question"
    pipeline = "Pipeline"
    kind = "Kind"
    age = "Waiting for"
    deadline = "Deadline"
    no_deadline = "none"
    select_row = "Select: {message}"
    select_all = "Select all on this page"
    filters = "Filters"
    search = "Search"
    any = "any"
    only_overdue = "Only overdue"
    order = "Order"
    by_deadline = "by deadline"
    by_age = "by age"
    apply = "Show"
    clear = "Clear"
    next_page = "Next page"
    selected = "With the selected"

    of_run = "Run"
    of_root_run = "Run at the top"
    step = "Step"
    asked = "Asked"
    told = "Told"
    round = "Round"
    retries = "Retries so far"
    of_limit = "{count} of {limit}"
    iteration = "Iteration"
    deadline_does: ClassVar[dict[str, str]] = {
        "cancel": "then the run is cancelled",
        "skip": "then it is left out",
        "approve": "then it goes on as if confirmed",
    }
    rejecting_does: ClassVar[dict[str, str]] = {
        "skip": "Rejecting leaves it out, and the run goes on.",
        "cancel": "Rejecting cancels the run.",
        "else": "Rejecting takes the other branch.",
        "retry": "Rejecting has it made again, with your feedback.",
    }
    under_review = "What was produced"
    as_written = "As it was written"
    as_json = "As JSON"
    more_rows = "and {count} more rows, which the JSON has"
    too_deep = "It is too deep to be written here."
    items: ClassVar[dict[str, str]] = {"object": "{{{count}}}", "list": "[{count}]"}
    more_items = "and {count} more, which the JSON has"
    more_text = "and {count} more characters"
    nothing = "nothing"
    changes = "What has changed"
    asked_for = "Asked for in the round before"
    lines_changed = "Against the round before: lines added {added}, lines removed {removed}."
    nothing_changed = "Nothing: it is the same as in the round before."
    too_large = "The output of the round before is too large to be compared: {count} bytes."
    too_large_both = "The two outputs are too large to be compared."
    line_marks: ClassVar[dict[str, str]] = {"same": " ", "gone": "-", "new": "+"}
    lines_skipped = "{count} lines without a change"
    failed_with = "It failed with"
    attempts = "Executions that failed"
    arguments = "Arguments"

    approval = "Approval"
    approval_does: ClassVar[dict[str, str]] = {
        "required": "nothing is executed without it, and it is on file",
        "audit": "what is decided is on file",
    }
    not_by = "not by {names}, who started the run"
    approvals = "Approvals"
    approvals_count = "{count} approvals"
    approval_type = "Type"
    approval_types: ClassVar[dict[str, str]] = {"required": "required", "audit": "audit"}
    approval_statuses: ClassVar[dict[str, str]] = {
        "pending": "waits",
        "approved": "approved",
        "rejected": "rejected",
        "expired": "expired",
        "cancelled": "cancelled",
    }
    approval_closers: ClassVar[dict[str, str]] = {
        "human": "somebody who gave no name",
        "timeout": "the deadline",
        "policy": "the run",
    }
    no_approvals = "No approval is like that."
    no_approvals_file = (
        "Only what waits is shown: this service reads no file of approvals. An operator sets"
        " HITL_APPROVALS_FILE to the file that the workers write."
    )
    decided_by = "Decided by"
    since = "Asked since"
    until = "Asked before"

    your_answer = "Your answer"
    to_your_answer = "To your answer"
    the_answer = "The answer"
    only = "Only"
    waits_for = "waits for {roles}"
    only_these = "Only {roles} may answer this, and your answers are not signed as any of these."
    only_reviewers = "You may look at this; answering needs the role of a reviewer."
    signed = "signed as {roles}"
    by_other_means = "This kind is answered by the HTTP API, from Python or by the command line."
    name = "Your name"
    comment = "Comment"
    feedback = "Feedback"
    optional = "optional"
    yes = "Yes"
    no = "No"
    no_answer = "no answer"
    choose = "choose one"
    position = "Position of {choice}"
    not_chosen = "not chosen"
    in_order = "They run in the order of the positions that you give."
    a_line_each = "One per line."
    as_json_hint = "Written as JSON."
    values = "Values"
    new_output = "Output"
    edit = "Edit"
    edit_arguments = "Edit the arguments"
    tool_result = "Result"
    tool_error = "Or what went wrong"
    refused_before = "The tool refused what was given before"
    conversation = "The conversation so far"
    earlier_messages = "{count} earlier messages are left out; the HTTP API has them."
    speakers: ClassVar[dict[str, str]] = {
        "user": "User",
        "agent": "Agent",
        "tool": "Tool",
        "system": "Instructions",
        "other": "Other",
    }
    calls = "calls"
    outcomes: ClassVar[dict[str, str]] = {
        "success": "gave",
        "denied": "was denied",
        "failed": "failed",
        "retried": "is to be called in another way",
    }
    tool_result_hint = "JSON, or else it is taken as text. Empty stands for null."
    tool = "Tool"
    agent = "Agent"
    actions: ClassVar[dict[str, str]] = {
        "confirm": "Confirm",
        "answer": "Send",
        "select": "Choose",
        "retry": "Try again",
        "edit": "Keep as edited",
        "edit_arguments": "Go ahead as edited",
        "report": "Report",
        "reject": "Reject",
        "skip": "Leave it out",
    }
    spent = "It may not be tried again any more."
    wrong = "This was not accepted. Nothing was decided."
    unsure = "Nobody could say whether this counts. Send it again: it counts once."
    needed = "is needed"
    not_whole = "is no whole number"
    not_number = "is no number"
    not_json = "is not JSON: {why}"
    not_object = "is no JSON object"
    not_choice = "is none of the choices"

    decided = "This is decided"
    you_came_second = "Somebody else was first. Your answer changed nothing."
    you_came_first = "You have answered this already, and that answer stands."
    back = "Back to the inbox"
    next_up = "Next"

    status = "Status"
    input = "Input"
    result = "Result"
    error = "Error"
    started = "Started"
    ended = "Ended"
    timeline = "What happened"
    open = "What is open"
    steps = "Steps"
    waits_for_a_person = "waits for a person"
    comes_next = "comes next"
    running = "works at this moment"
    blocked = "waits for a worker that has {activity}"
    child_run = "is a run of its own:"
    step_done = "done"
    step_edited = "done, and edited by a person"
    step_failed = "failed: {error}"
    refused_answer = "An answer by {door} was refused: {reason}"
    in_temporal = "This run in the Temporal Web UI"

    bulk_title = "What became of your answers"
    bulk_nothing = "Nothing was selected."
    counts = "counts"
    does_not_count = "does not count"

    start_title = "Start {pipeline}"
    start = "Start"
    no_pipelines = "This service starts no pipelines."
    only_operators = "Starting a run needs the role of an operator."
    session_id = "Session"
    user_id = "For the user"
    input_hint = "JSON, or else it is taken as text. Empty stands for no input."

    problem = "This did not work"
    try_again = "Try again"
    send_again = "Reload this page to send it again: it counts once."
    stale_form = "This page has been open for too long. Go back, load it again, and send it again."
    keys = "Keys"
    close = "Close"
    key_help: ClassVar[dict[str, str]] = {
        "j, k": "next, previous",
        "Enter": "open",
        "x": "select",
        "c": "go to confirm",
        "r": "go to reject",
        "/": "search",
        "n": "what is next, once this is decided; the next page",
        "u": "back to the inbox",
        "?": "this help",
    }
    kinds: ClassVar[dict[str, str]] = {
        "confirmation": "Confirmation",
        "user_input": "Form",
        "route": "Route",
        "output_review": "Output review",
        "iteration_review": "Iteration review",
        "error": "Error",
        "tool_confirmation": "Tool call",
        "tool_input": "Tool arguments",
        "tool_execution": "Tool result",
        "tool_outcome": "Unknown outcome",
        "question": "Question",
    }

    in_time = "in {span}"
    late_by = "overdue by {span}"


_DID = {
    "confirm": "confirmed it",
    "reject": "rejected it",
    "edit": "edited it",
    "edit_arguments": "edited the arguments",
    "answer": "filled it in",
    "retry": "had it tried again",
    "skip": "left it out",
    "report": "reported the result",
}
_TIMED_OUT = {"cancel": "cancels the run", "skip": "leaves it out", "approve": "approves"}


def who(record: ResolutionRecord) -> str:
    """Return who or what decided."""
    match record.resolution:
        case TimedOut():
            return "The deadline"
        case Withdrawn():
            return "The run"
        case resolution:
            return resolution.resolved_by or "Somebody who gave no name"


def what(record: ResolutionRecord) -> str:
    """Return what was decided, as the rest of a sentence that `who` begins."""
    match record.resolution:
        case TimedOut(on_timeout=does):
            return f"passed, which {_TIMED_OUT[does.value]}"
        case Withdrawn(reason=reason):
            return f"stopped asking: {reason}"
        case Select(choices=choices):
            return f"chose {', '.join(choices)}"
        case resolution:
            return _DID[resolution.action]


def moment(at: datetime) -> str:
    """Return a time as it is read."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def span(seconds: float) -> str:
    """Return a length of time by its two largest units."""
    left, parts = int(abs(seconds)), list[str]()
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


def age(at: datetime, now: datetime) -> str:
    """Return how long ago `at` was."""
    return span(max((now - at).total_seconds(), 0))


def due(at: datetime, now: datetime) -> str:
    """Return how long it is until `at`, or how long ago that was."""
    seconds = (at - now).total_seconds()
    form = Words.in_time if seconds >= 0 else Words.late_by
    return form.format(span=span(seconds))
