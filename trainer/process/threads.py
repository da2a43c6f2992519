"""How OpenMP's threads wait for each other. It has to be in the environment before torch is loaded. Free of torch."""

# libgomp spins for a long time by default. Where anything else wants the cores (a browser, the web process), threads
# that spin keep the one they wait for from running: measured here, a busy machine trained four to ten times slower.
PATIENT_THREADS = {"GOMP_SPINCOUNT": "2000"}
