"""`python -m app.predictor`: the predictor."""

from app.predictor.parent import main

if __name__ == "__main__":
    main()
