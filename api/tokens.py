"""Make a bearer token: `python -m api.tokens USER ROLE...` (viewer, reviewer, operator, and roles
of your own, which questions may be for).

Prints the token, once, and what belongs into the file of tokens, which does not hold it.
"""

import json
import sys

from temporal_hitl.http import Role, is_role, new_token


def main(arguments: list[str]) -> int:
    """Print a new token for the user and the roles named; return the exit code."""
    roles = [each.value for each in Role]
    own = [each for each in arguments[1:] if each not in roles]
    if len(arguments) < 2 or not all(map(is_role, own)):
        print(
            f"usage: python -m api.tokens USER ROLE...; roles: {', '.join(roles)}, and your own in"
            " lower case",
            file=sys.stderr,
        )
        return 2
    if own:
        print(f"# Roles of your own: {', '.join(own)}", file=sys.stderr)
    secret, kept = new_token(arguments[0], arguments[1:])
    print(f"# Give this to {kept.user}; it is shown once: {secret}", file=sys.stderr)
    print("[[tokens]]")
    print(f"user = {json.dumps(kept.user, ensure_ascii=False)}")
    print(f"roles = {json.dumps(sorted(kept.roles))}")
    print(f'sha256 = "{kept.sha256}"')
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
