"""What a client on a machine has to be told so that it uses a gateway: which files, and what is to stand in them.

Pure. `plan_client` decides which entries each file of a client gets, from the texts that are there; `json_text` and
`base` decide what becomes of a text. Only text that the standard library can read is read here.
Not here: merging into TOML and YAML with their comments, and files (hubferry.setup); the command (cli/setup.py).
"""

from hubferry.core.client_files.clients import CLIENTS, RESTARTS, SOURCES, plan_client
from hubferry.core.client_files.entries import CannotEditError, Entry, FileWish, Host, Item, Mirror, Plan, Setting
from hubferry.core.client_files.gateway import GatewayAddress, parse_gateway, parse_registries, parse_version
from hubferry.core.client_files.request import PlanRequest

__all__ = [
    "CLIENTS",
    "RESTARTS",
    "SOURCES",
    "CannotEditError",
    "Entry",
    "FileWish",
    "GatewayAddress",
    "Host",
    "Item",
    "Mirror",
    "Plan",
    "PlanRequest",
    "Setting",
    "parse_gateway",
    "parse_registries",
    "parse_version",
    "plan_client",
]
