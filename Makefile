# Thin targets over tools/setup_env.py, which makes .venv and keeps it up to date.
PYTHON := .venv/bin/python

# Called from inside another Python environment with ROS wheels: its libraries are not ours.
ifdef _ROS_WHEELS_BOOTSTRAP_COMPLETE
unexport _ROS_WHEELS_BOOTSTRAP_COMPLETE LD_LIBRARY_PATH
endif

# Modules are compiled once, at their first import.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo test chromium lint minkowski clean

setup:
	@command -v python3 >/dev/null || if [ "$$(id -u)" = 0 ]; \
	  then apt-get update -qq && apt-get install -y -qq --no-install-recommends python3; \
	  else echo 'setup: python3 is missing: sudo apt-get install python3'; exit 1; fi
	@python3 tools/setup_env.py

demo: setup
	$(PYTHON) -m mvreg_ros.node.demo

test: chromium
	$(PYTHON) -m pytest -n 2 --dist loadfile

# The browser that the report is tested in. Its tests are skipped without one, so nothing fails here.
chromium: setup
	@if [ "$$(id -u)" = 0 ] && ! which chromium chromium-browser google-chrome | grep -q .; then \
	  echo 'test: installing Chromium'; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	    apt-get install -y -qq --no-install-recommends chromium || true; fi

lint: setup
	$(PYTHON) -m pytest test/test_style.py

# Optional: the sparse engine that the torch engine is compared with.
minkowski: setup
	$(PYTHON) tools/build_minkowski.py

clean:
	rm -rf .venv demo_out build install log .pytest_cache .mypy_cache .ruff_cache .hypothesis
