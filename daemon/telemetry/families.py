"""Every metric, as a table: `docs/operating.md` is made from it, and nothing that is not in it can be told.

Names and units follow https://prometheus.io/docs/practices/naming/. A label has few values: route templates, never paths; ids of live runs
alone; the mounts that those write to.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Family:
    """One metric; the name of a counter is without its `_total`."""

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    help: str
    labels: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """As it stands in an answer, and in a query."""
        return self.name + ("_total" if self.kind == "counter" else "")


_P = "onetrainerd_"
_RUN = ("run_id",)

RUNS = (
    Family(_P + "runs", "gauge", "Runs in the state directory, by state.", ("state",)),
    Family(_P + "ended_runs", "gauge", "Ended runs in the state directory, by state and cause (empty: none).", ("state", "cause")),
    Family(_P + "queue_length", "gauge", "Runs that wait for a place."),
    Family(_P + "places", "gauge", "Trainings that may run at the same time: runs.max_concurrent."),
    Family(_P + "places_taken", "gauge", "Places that runs occupy; those that wait for a restart included."),
    Family(_P + "run_info", "gauge", "1 for each live run: its state, its trainer and its device.", (*_RUN, "state", "backend", "device")),
    Family(_P + "run_started_timestamp_seconds", "gauge", "When the run was started first.", _RUN),
    Family(_P + "run_attempt", "gauge", "The number of the run's present attempt.", _RUN),
    Family(_P + "run_restarts", "gauge", "Restarts in a row, as the restart policy counts them.", _RUN),
    Family(_P + "run_global_step", "gauge", "Optimizer steps done. It falls when a run goes on from a backup.", _RUN),
    Family(_P + "run_planned_steps", "gauge", "Optimizer steps in all epochs together.", _RUN),
    Family(_P + "run_epoch", "gauge", "The present epoch, from 0.", _RUN),
    Family(_P + "run_planned_epochs", "gauge", "Epochs in all.", _RUN),
    Family(_P + "run_loss", "gauge", "The loss of the last step; NaN when it is.", _RUN),
    Family(_P + "run_smooth_loss", "gauge", "The smoothed loss of the last step.", _RUN),
    Family(_P + "run_learning_rate", "gauge", "The learning rate of the last step.", _RUN),
    Family(_P + "run_steps_per_second", "gauge", "Steps per second, lately.", _RUN),
    Family(_P + "run_step_duration_seconds", "gauge", "Seconds that a step takes, lately.", _RUN),
    Family(_P + "run_remaining_seconds", "gauge", "Seconds to the end at the present speed.", _RUN),
    Family(_P + "run_samples", "gauge", "Sample files that the run has drawn.", _RUN),
    Family(_P + "run_stalled", "gauge", "1 while the stall watch says that the run makes no step.", _RUN),
    Family(_P + "run_held_by_disk", "gauge", "1 while the disk guard has paused the run.", _RUN),
    Family(_P + "run_last_event_timestamp_seconds", "gauge", "When the last event was journaled that the daemon has taken in.", _RUN),
    Family(_P + "run_unread_bytes", "gauge", "Bytes of the run's journals that the daemon has not taken in yet.", _RUN),
)
MACHINE = (
    Family(_P + "gpu_info", "gauge", "1 for each GPU, with its name.", ("gpu", "name")),
    Family(_P + "gpu_memory_size_bytes", "gauge", "Memory of the GPU.", ("gpu",)),
    Family(_P + "gpu_memory_used_bytes", "gauge", "Memory of the GPU in use, by whomever.", ("gpu",)),
    Family(_P + "gpu_memory_free_bytes", "gauge", "Memory of the GPU that is free.", ("gpu",)),
    Family(_P + "gpu_utilization_ratio", "gauge", "Share of the time in which the GPU was at work, 0 to 1.", ("gpu",)),
    Family(_P + "gpu_temperature_celsius", "gauge", "Temperature of the GPU.", ("gpu",)),
    Family(_P + "gpu_fan_ratio", "gauge", "Speed of the fan, 0 to 1.", ("gpu",)),
    Family(_P + "gpu_power_watts", "gauge", "Power that the GPU draws.", ("gpu",)),
    Family(_P + "gpu_power_limit_watts", "gauge", "Power that the GPU may draw.", ("gpu",)),
    Family(_P + "gpu_last_read_timestamp_seconds", "gauge", "When the driver last answered."),
    Family(_P + "disk_free_bytes", "gauge", "Bytes free for us: of the state directory, and of what live runs write to.", ("path",)),
    Family(_P + "disk_size_bytes", "gauge", "Size of that file system.", ("path",)),
    Family(_P + "disk_level", "gauge", "The worst of all file systems: 0 enough room, 1 below disk.low_bytes, 2 runs are held."),
)
SERVER = (
    Family(
        _P + "build_info",
        "gauge",
        "1, with the daemon's version, its Python and the trainer.",
        ("version", "python", "backend"),
    ),
    Family(_P + "ready", "gauge", "1 while GET /ready answers 200."),
    Family(_P + "websocket_clients", "gauge", "Open WebSockets."),
    Family(_P + "log_streams", "gauge", "Clients that read a console."),
    Family(_P + "http_requests", "counter", "Answered requests, by route template and status.", ("method", "route", "status")),
    Family(
        _P + "http_request_duration_seconds", "histogram", "Seconds until an answer was ready; streams are left out.", ("method", "route")
    ),
    Family(_P + "log_records", "counter", "Lines of log at level warning and above.", ("level",)),
    Family(_P + "event_loop_lag_seconds", "gauge", "By how much the event loop was late at worst, in the last half minute."),
    Family(_P + "settings_reloads", "counter", "Reloads of the settings, by outcome: succeeded, failed.", ("outcome",)),
    Family(_P + "settings_last_reload_successful", "gauge", "0 when the last reload failed, and older settings are in force."),
    Family(_P + "settings_changed_timestamp_seconds", "gauge", "When the settings in force were read."),
    Family(_P + "tls_certificate_expiry_timestamp_seconds", "gauge", "When the certificate in force expires; with [tls] alone."),
    Family(_P + "threads", "gauge", "Threads of the daemon."),
)
PROCESS = (
    Family("process_virtual_memory_bytes", "gauge", "Virtual memory of the daemon."),
    Family("process_resident_memory_bytes", "gauge", "Resident memory of the daemon."),
    Family("process_start_time_seconds", "gauge", "When the daemon was started."),
    Family("process_cpu_seconds", "counter", "CPU time of the daemon."),
    Family("process_open_fds", "gauge", "Open descriptors of the daemon."),
    Family("process_max_fds", "gauge", "Descriptors that it may open."),
)
"""What prometheus-client's ProcessCollector tells, by its own names and in its own words."""

GROUPS: tuple[tuple[str, tuple[Family, ...]], ...] = (
    ("Runs", RUNS),
    ("The machine", MACHINE),
    ("The daemon", SERVER),
    ("Its process", PROCESS),
)
TOLD_BY_US = (*RUNS, *MACHINE, *SERVER)
