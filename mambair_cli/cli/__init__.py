"""The command line: options, messages, progress, exit statuses."""
