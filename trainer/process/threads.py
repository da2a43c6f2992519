"""The environment variable that limits spinning in OpenMP. It must be set before torch is loaded. Free of torch."""

# By default, threads of libgomp spin for a long time while they wait. When other processes need the cores (a browser,
# the web process), the spinning threads keep the thread that they wait for from running: in a measurement, training on
# a busy machine was four to ten times slower.
SPIN_LIMIT = {"GOMP_SPINCOUNT": "2000"}
