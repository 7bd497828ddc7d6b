"""The shell over the core: Lightning modules, callbacks, configuration and run folders."""
