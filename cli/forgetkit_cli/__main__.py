"""Run the command line as `python -m forgetkit_cli`."""

from forgetkit_cli.main import main

if __name__ == "__main__":
    main()
