"""The entry of the packed .pyz: `runner ATTEMPT` or `trainer …`. Each imports its own half alone."""

import sys


def main() -> int:
    match sys.argv[1:]:
        case ["runner", *arguments]:
            from trainer_runner.runner.main import main as run_runner  # noqa: PLC0415 - the runner must not load the trainer's half

            return run_runner(arguments)
        case ["trainer", *arguments]:
            from trainer_runner.trainer.main import main as run_trainer  # noqa: PLC0415 - and the other way round

            return run_trainer(arguments)
        case _:
            sys.stderr.write("usage: runner ATTEMPT_FOLDER | trainer --attempt FOLDER --events-fd N --commands-fd N --console-fd N\n")
            return 2


if __name__ == "__main__":
    sys.exit(main())
