"""Knowledge of the protocol: values in, values out. No clock, no files, no sockets, no asyncio."""
