"""Flags that are set by whoever steers, and read and cleared at the top of a batch. A stop stays."""

from typing import Any


class TrainCommands:
    def __init__(self) -> None:
        self.__stop_command = False
        self.__flags = {"sample_default": False, "backup": False, "save": False}
        self.__samples: list[Any] = []

    def stop(self) -> None:
        self.__stop_command = True

    def get_stop_command(self) -> bool:
        return self.__stop_command

    def sample_custom(self, sample_params: Any) -> None:
        self.__samples.append(sample_params)

    def get_and_reset_sample_custom_commands(self) -> list[Any]:
        samples, self.__samples = self.__samples, []
        return samples

    def sample_default(self) -> None:
        self.__flags["sample_default"] = True

    def get_and_reset_sample_default_command(self) -> bool:
        return self.__take("sample_default")

    def backup(self) -> None:
        self.__flags["backup"] = True

    def get_and_reset_backup_command(self) -> bool:
        return self.__take("backup")

    def save(self) -> None:
        self.__flags["save"] = True

    def get_and_reset_save_command(self) -> bool:
        return self.__take("save")

    def merge(self, other: "TrainCommands") -> None:
        if other.get_stop_command():
            self.stop()
        for sample in other.get_and_reset_sample_custom_commands():
            self.sample_custom(sample)
        if other.get_and_reset_sample_default_command():
            self.sample_default()
        if other.get_and_reset_backup_command():
            self.backup()
        if other.get_and_reset_save_command():
            self.save()

    def __take(self, name: str) -> bool:
        flag, self.__flags[name] = self.__flags[name], False
        return flag
