"""`python -m infra …` is `tidemark …`, for places where the script is not on the path."""

from infra.cli import main

if __name__ == "__main__":
    main()
