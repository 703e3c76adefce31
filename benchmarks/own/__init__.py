"""Our own sides of the speed tables; each module is a process."""
