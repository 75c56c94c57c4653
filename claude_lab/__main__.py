"""`python -m claude_lab` is `claude-lab`."""

from claude_lab.cli import main

if __name__ == "__main__":
    main(prog_name="claude-lab")
