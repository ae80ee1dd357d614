"""The command line: parse, call, print. Nothing below this package prints."""
