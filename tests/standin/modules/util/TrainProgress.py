class TrainProgress:
    def __init__(self, epoch: int = 0, epoch_step: int = 0, epoch_sample: int = 0, global_step: int = 0) -> None:
        self.epoch = epoch
        self.epoch_step = epoch_step
        self.epoch_sample = epoch_sample
        self.global_step = global_step

    def filename_string(self) -> str:
        return f"{self.global_step}-{self.epoch}-{self.epoch_step}"
