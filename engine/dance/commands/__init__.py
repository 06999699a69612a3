"""The subcommands of ``dance``, a module each: NAME, HELP, EXAMPLES, add_options(parser), run(options) -> exit code."""
