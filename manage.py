#!/usr/bin/env python3
"""Run a management command, with the services it needs."""

import os
import sys
import warnings
from contextlib import AbstractContextManager, nullcontext

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line
from environs import EnvError

from landscape_site import env, services
from landscape_site.places import ServicesUnavailable

# Commands that read code, not data. Everything else finds PostgreSQL running.
WITHOUT_DATABASE = {
    "check",
    "collectstatic",
    "compilemessages",
    "diffsettings",
    "findstatic",
    "help",
    "makemessages",
    "makemigrations",
    "startapp",
    "startproject",
    "version",
}


def main(arguments: list[str]) -> None:
    """Run one command line, holding the private services for as long as it lasts."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "landscape_site.settings")
    # makemigrations would like to compare with a database; it works as well without one.
    warnings.filterwarnings("ignore", message="Got an error checking a consistent migration")
    try:
        with _services(arguments[1:]):
            execute_from_command_line(arguments)
    except (EnvError, ImproperlyConfigured, ServicesUnavailable) as error:
        # The sentence says what to do; a traceback would bury it.
        sys.exit(str(error))


def _services(words: list[str]) -> AbstractContextManager[None]:
    asked = env.read()
    wants_help = not {"-h", "--help", "--version"}.isdisjoint(words)
    if not words or words[0] in WITHOUT_DATABASE or wants_help or not asked.private_services:
        return nullcontext()
    return services.held(asked.var, asked.private_services)


if __name__ == "__main__":
    main(sys.argv)
