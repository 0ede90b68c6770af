"""What an image runs when nothing else is said: its entrypoint and command, where and as whom."""

from __future__ import annotations

from skerry.island.engine.errors import Invalid
from skerry.island.engine.records import Program
from skerry.island.images.index import ImageConfig
from skerry.island.images.rootfs import LocalRootFs
from skerry.island.images.users import find_user

COMMAND_VARIABLE = "SKERRY_COMMAND"
# `host` has no program of its own: it runs what the variable says, and without it says so and fails.
HOST_CONFIG = ImageConfig(
    entrypoint=(
        "/bin/sh",
        "-c",
        f'exec /bin/sh -c "${{{COMMAND_VARIABLE}:?this image runs the command in this environment variable; set it}}"',
    ),
    working_dir="/home/user",
)


def program(name: str, config: ImageConfig, root: LocalRootFs) -> Program:
    """The program of an image.

    Args:
        name: what to call the image in an error.
        config: how it wants to be run.
        root: its files and environment.

    Raises:
        Invalid: the image names no program, or a user that it does not have.
    """
    argv = (*config.entrypoint, *config.command)
    if not argv or not argv[0]:
        raise Invalid(
            f"image {name} does not say what to run; make one that does with"
            f" `skerry image define NAME --from {name} --entrypoint PROGRAM`"
        )
    env = dict(root.env)
    if config.user:
        user = find_user(root.directory, config.user)
        env = {"HOME": user.home, "USER": user.name, **env}
    cwd = config.working_dir if config.working_dir.startswith("/") else f"/{config.working_dir}"
    return Program(argv=argv, env=env, cwd=cwd, user=config.user)
