"""What others do with the same work; each module is a process, in an environment that only its library needs."""
