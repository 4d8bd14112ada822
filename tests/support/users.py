"""Users of a gateway: the two files, written as an operator would, with the program itself or with bcrypt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import bcrypt

from tests.support.preloaded import run_hubferry

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["UserBook"]


@dataclass(frozen=True)
class UserBook:
    """The users of one gateway, in a folder."""

    folder: Path

    @property
    def users_file(self) -> Path:
        return self.folder / "users.htpasswd"

    @property
    def access(self) -> dict[str, Any]:
        """The settings of `[access]` that name them."""
        return {"login": "users", "users_file": str(self.users_file)}

    def add(self, name: str, password: str) -> None:
        """Write the line that `htpasswd -B -C 4` would."""
        hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode().replace("$2b$", "$2y$")
        with self.users_file.open("a") as file:
            file.write(f"{name}:{hashed}\n")
        self.users_file.chmod(0o600)

    def run(self, *arguments: str, stdin: str = "", public_url: str = "") -> str:
        """What `hubferry ARGUMENTS` prints, with a configuration that names these users."""
        config = self.folder / "users.toml"
        lines = [f'[access]\nlogin = "users"\nusers_file = "{self.users_file}"']
        if public_url:
            lines.append(f'[server]\npublic_url = "{public_url}"')
        config.write_text("\n".join(lines) + "\n")
        done = run_hubferry(*arguments, "--config", config, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def token(self, user: str, *options: str) -> str:
        """A new access token of a user."""
        return self.run("token", "create", user, *options)

    def mirror(self, name: str, public_url: str = "http://gw.example") -> str:
        """A new client secret."""
        return self.run("token", "create", "--mirror", name, public_url=public_url).rpartition("/")[2]
