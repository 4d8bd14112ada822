"""The gateway's own users on a Worker: those of its variables, who change only with a deployment.

They have access tokens and client secrets, and no passwords: bcrypt takes more time than a request may have here.
"""

from hubferry.core.settings import AccessSettings
from hubferry.core.users import Directory, parse_secrets, parse_users


class VariableUsers:
    """Knows the users of a Worker's variables (the `UserSource` port)."""

    def __init__(self, access: AccessSettings) -> None:
        secrets = parse_secrets(access.secrets) if access.secrets else []
        self._directory = Directory(parse_users(access.users), secrets, dict(access.groups.rows))

    def current(self) -> Directory:
        return self._directory

    def revision(self) -> int:
        return 0


class NoPasswords:
    """Finds every password wrong, because a Worker checks none (the `PasswordChecker` port)."""

    def remembers(self, password: str, hashed: str) -> bool:  # noqa: ARG002 - the port's
        return False

    async def check(self, password: str, hashed: str) -> bool:  # noqa: ARG002
        return False
