"""`python -m biogans COMMAND …` is `biogans COMMAND …`."""

from .commands import main

main()
