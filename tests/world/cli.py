"""``pullwright`` as a program that a person starts."""

import subprocess

from tests.world.stack import BIN, program_environment


def pullwright(*arguments, cwd, stdin=""):
    return subprocess.run(
        [BIN / "pullwright", *arguments],
        cwd=cwd,
        env=program_environment(),
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
