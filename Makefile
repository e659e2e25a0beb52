# make demo  upscales a photograph with the bundled model;  make test  passes the tests. Both start from nothing.

PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c .ci/constraints.txt
WEB := integrations/web/onnxruntime-web
DEMO := examples/images/chelsea
# A process of its own: Triton reads TRITON_INTERPRET when it is first imported, and other tests import it without.
FUSED := tests/ops/test_fused.py
# The integrations' environment, its packages, and the tests that need them; the other tests run without.
LAYER := .venv/integrations
PACKAGES := "gradio>=6,<7" "playwright>=1.50" "ray[data]>=2.50" "torchao>=0.18"
LARGE := $(addprefix tests/integrations/test_,demo.py quantisation.py ray.py storage.py web.py)
# Networks compiled to machine code, and every architecture exported in float16: two minutes, which run with them.
WRITTEN := $(addprefix tests/integrations/test_,deployment.py half_exports.py)
ANNOTATED := --jaxtyping-packages=cclnn,beartype.beartype
# .ci/run sets `listed`: a test skipped for a reason that tests/skips.py does not list fails the run.
SKIPS ?= any
# Processes that share the tests, file by file, with one thread each. Two of them need two cores and 4 GB.
WORKERS ?= 2
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses $(WORKERS)
SUITE := --dist loadfile --no-loadscope-reorder --skips=$(SKIPS) --ignore=$(FUSED) $(WRITTEN:%=--ignore=%)

.PHONY: demo web integrations screenshot throughput test annotated lint format types docs examples page bench clean

demo: .venv/demo
	$(BIN)/cclnn upscale $(DEMO).png -o $(DEMO)_x2.png --overwrite

test: .venv/dev
	$(PYTEST) $(SUITE)
	$(PYTEST) --skips=none $(FUSED)

annotated: .venv/dev  # the same tests with every shape annotation checked
	$(PYTEST) $(ANNOTATED) $(SUITE)
	$(PYTEST) $(ANNOTATED) --skips=listed $(FUSED)

lint: .venv/dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check

format: .venv/dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

types: .venv/dev
	$(BIN)/mypy

docs: .venv/dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --site-dir site

examples: .venv/dev
	$(BIN)/python examples/use_block.py
	$(BIN)/python examples/upscale_image.py $(DEMO).png $(DEMO)_x2.png
	$(BIN)/python examples/compare.py $(DEMO).png /tmp/cclnn-comparison.png
	rm -rf /tmp/cclnn-minimal
	$(BIN)/python examples/train_minimal.py examples/images -o /tmp/cclnn-minimal --steps 10 --every 5 --batch 2

web: $(LAYER)/installed
	$(LAYER)/bin/python integrations/demo/app.py

integrations: $(LAYER)/installed  # tests that need large packages, or minutes
	OMP_NUM_THREADS=1 $(LAYER)/bin/python -m pytest --skips=$(SKIPS) $(LARGE) $(WRITTEN)

screenshot: $(LAYER)/installed  # needs Chromium
	$(LAYER)/bin/python -m pytest --skips=none --basetemp .pytest_cache/web tests/integrations/test_demo.py -k person
	cp .pytest_cache/web/*0/demo.png docs/figures/demo.png

throughput: $(LAYER)/installed  # some ten minutes on two cores; nothing else should run
	$(LAYER)/bin/python benchmarks/ray_throughput.py

# An environment on top of .venv: gradio needs an older Pillow than the library takes.
$(LAYER)/installed: .venv/dev
	$(BIN)/python -m venv $(LAYER)
	echo "import site; site.addsitedir('$$($(BIN)/python -c "import site; print(site.getsitepackages()[0])")')" \
		> $$($(LAYER)/bin/python -c "import site; print(site.getsitepackages()[0])")/below.pth
	$(LAYER)/bin/python -m pip install --quiet --disable-pip-version-check -c .ci/constraints.txt $(PACKAGES)
	touch $@

.venv/demo: pyproject.toml .ci/constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(INSTALL) -e ".[cli]"
	touch $@

.venv/dev: pyproject.toml .ci/constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(INSTALL) -e ".[dev]"
	$(INSTALL) --no-deps "spandrel>=0.4,<1" # without torchvision, whose wheel does not load beside torch for CPUs
	touch $@ .venv/demo

page:  # what integrations/web runs networks with, 14 MB from npm
	mkdir -p $(WEB)
	npm pack --silent --pack-destination $(WEB) onnxruntime-web@1.30.0
	tar xzf $(WEB)/onnxruntime-web-1.30.0.tgz -C $(WEB) --strip-components=2 package/dist/ort.wasm.min.mjs \
		package/dist/ort-wasm-simd-threaded.mjs package/dist/ort-wasm-simd-threaded.wasm
	rm $(WEB)/onnxruntime-web-1.30.0.tgz

bench: .venv/dev  # half an hour on two cores; nothing else should run
	$(BIN)/python benchmarks/run.py
	$(BIN)/python benchmarks/plot.py benchmarks/results/cpu.json docs/figures/speed.svg

clean:
	rm -rf .venv site dist .mypy_cache .ruff_cache .pytest_cache .hypothesis $(DEMO)_x2.png
