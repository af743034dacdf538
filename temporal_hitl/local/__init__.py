"""An embedded Temporal server for laptops, notebooks and tests.

`serve` runs the official development server, or joins the one that another process runs on the same
database file; `connection` says whether a server of the user's own is configured instead. This
package knows nothing of runs and workers: a server is all that it keeps.
"""

from temporal_hitl.local._address import Address, connection, ui_url
from temporal_hitl.local._files import Files
from temporal_hitl.local._server import DEFAULT_DB_FILE, Found, Server, found, serve
from temporal_hitl.local._storage import FolderStorage

__all__ = [
    "DEFAULT_DB_FILE",
    "Address",
    "Files",
    "FolderStorage",
    "Found",
    "Server",
    "connection",
    "found",
    "serve",
    "ui_url",
]
