"""No core dumps: they are files of gigabytes, and hold what a process knows, tokens included."""

import resource


def forbid_core_dumps() -> None:
    """For this process and all that it will start. systemd-coredump and apport, to which the kernel pipes, keep to the limit as well.

    PR_SET_DUMPABLE would go further and too far: nobody could look at a hung process (py-spy, gdb), CUDA could not share memory between
    ranks; and from other programs of the same user, who can read the secrets' files, it protects nothing.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
