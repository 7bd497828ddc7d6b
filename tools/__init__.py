"""Programs for makers of this repository; nothing of them is installed."""
