"""What a machine must be like for trainings to run on it: looked at, judged, and told with what to do. Changes nothing."""
