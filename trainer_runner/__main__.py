"""The entry of the packed .pyz: `runner ATTEMPT`, `trainer …` or `catalog …`. Each imports its own part alone."""

import sys


def main() -> int:
    match sys.argv[1:]:
        case ["runner", *arguments]:
            from trainer_runner.runner.main import main as run_runner  # noqa: PLC0415 - the runner must not load the trainer's half

            return run_runner(arguments)
        case ["trainer", *arguments]:
            from trainer_runner.trainer.main import main as run_trainer  # noqa: PLC0415 - and the other way round

            return run_trainer(arguments)
        case ["catalog", ("onetrainer" | "builtin") as backend, ("describe" | "worker") as what]:
            from trainer_runner.catalog.main import main as run_catalog  # noqa: PLC0415 - as above

            return run_catalog([backend, what])
        case _:
            trainer = "trainer --attempt FOLDER --events-fd N --commands-fd N --console-fd N"
            sys.stderr.write(f"usage: runner ATTEMPT_FOLDER | {trainer} | catalog onetrainer|builtin describe|worker\n")
            return 2


if __name__ == "__main__":
    sys.exit(main())
