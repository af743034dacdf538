"""Serve at the address that the settings name: `python -m api`."""

import uvicorn

from api.main import application
from api.settings import Settings


def main() -> None:
    """Serve until told to stop."""
    settings = Settings()
    uvicorn.run(
        application(settings),
        host=settings.host,
        port=settings.port,
        timeout_graceful_shutdown=settings.graceful_shutdown,
    )


main()
