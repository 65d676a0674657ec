# make demo     create the environment, generate with the trained model, train a small one on the sample data
# make test     run the tests
# make help     list the other targets
PYTHON ?= python3
BIN = $(CURDIR)/bin
SAMPLE = $(CURDIR)/data_48-80/data
STAR = DCGAN-starshaped.WGAN-GP
DEMO_ITERATIONS ?= 800
MITOGAN_ITERATIONS ?= 8000
TENSORFLOW ?= tensorflow-cpu
PIP_INSTALL = -m pip install --quiet --disable-pip-version-check
LOCKED = $(PIP_INSTALL) --require-hashes --requirement
SOURCES = setup.py src tests benchmarks course docs hpc
# The requirements in pyproject.toml, one per line: of the package, or of the extras named after it.
REQUIRED = $(PYTHON) -c 'import sys, tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
    extras = [line for extra in sys.argv[1:] for line in project["optional-dependencies"][extra]]; \
    print(*extras or project["dependencies"], sep="\n")'
.DELETE_ON_ERROR:

all: .venv/installed

# The package with its dependencies, and nothing else.
.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/python $(LOCKED) requirements.lock
	.venv/bin/python $(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	touch $@

# The tools of each kind of work are added when a target needs them: test, course, docs.
.venv/test .venv/course .venv/docs: .venv/%: requirements-%.lock .venv/installed
	.venv/bin/python $(LOCKED) $<
	touch $@

demo: .venv/installed
	mkdir -p demo/images
	cd demo && $(BIN)/predict.py -i $(CURDIR)/data_48-80/checkpoints/weights.generator.$(STAR).48_80.1.6.h5 -s 1
	cd demo && $(BIN)/visualize.py -i images/stack7.$(STAR).h5 -o images/trained_model.png
	@echo "A cell from the trained model: demo/images/trained_model.png. Now training your own, some minutes:"
	cd demo && $(BIN)/train.py -d $(SAMPLE) --preset fast -e $(DEMO_ITERATIONS) -M 200
	cd demo && $(BIN)/predict.py -i checkpoints/weights.generator.$(STAR).6.h5
	cd demo && $(BIN)/visualize.py -i images/stack7.$(STAR).h5 -o images/stack7.$(STAR).png
	@echo
	@echo "Pictures in demo/images:"
	@echo "  trained_model.png                                   a cell of the trained model, with all six factors"
	@echo "  real_samples.$(STAR).6.png         (simulated) cells from its training set"
	@echo "  fake_samples.$(STAR).6.$(DEMO_ITERATIONS).png     cells that it generates: one per row, all six factors in each"
	@echo "  stack7.$(STAR).png                 one of its cells in detail"
	@echo "  losses.$(STAR).6.png               the losses of both networks"

# The model cards of the trained models, from the files beside them and their notes.*.md.
cards: .venv/installed
	cd data_48-80 && for FILE in checkpoints/weights.generator.*.h5 checkpoints/*/weights.generator.*.h5; do \
	    $(BIN)/biogans card -i $$FILE --evaluation checkpoints/evaluation || exit; done

# From (simulated) videos of mitochondria to 30,000 generated images, how many are distinct, and what the critic looks at.
demo-mitogan: .venv/installed
	mkdir -p demo-mitogan && rm -rf demo-mitogan/images/stack1.DCGAN.WGAN-GP
	cd demo-mitogan && $(BIN)/biogans simulate_videos -o movies -n 12 --frames 20 --overwrite
	cd demo-mitogan && $(BIN)/biogans preprocess -i movies/videos -o data
	cd demo-mitogan && $(BIN)/train.py -d data -m DCGAN --preset fast --augment translation,cutout -e $(MITOGAN_ITERATIONS)
	cd demo-mitogan && $(BIN)/predict.py -i checkpoints/weights.generator.DCGAN.WGAN-GP.0.h5 -n 30000 --format png
	cd demo-mitogan && $(BIN)/biogans diversity -i images/stack1.DCGAN.WGAN-GP -d data
	cd demo-mitogan && $(BIN)/biogans saliency -i checkpoints/weights.combined_model.DCGAN.WGAN-GP.0.h5 -d data

lint: .venv/test
	.venv/bin/ruff check $(SOURCES)

types: .venv/test
	.venv/bin/mypy

# The tests of a file run in one process, because they share networks and runs; tests/conftest.py orders the files.
test: .venv/test
	.venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder tests

# The tests that take half a minute or more each: every combination, benchmarks, from videos to images.
test-slow: .venv/test
	.venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m slow tests

# The tests and the first notebook under the oldest versions that pyproject.toml allows, and under the newest on the
# package index. Each has a copy of the checkout with its own environment in build.
# VERSION_TESTS="tests/core/test_gan.py …" selects tests.
VERSION_TESTS ?= tests
build/%/.venv/installed: pyproject.toml
	mkdir -p build/$*
	$(REQUIRED) | sed 's/^tensorflow>/tensorflow-cpu>/$(if $(filter oldest,$*),; s/>=/==/)' > build/$*/requirements.txt
	$(PYTHON) -m venv build/$*/.venv
	build/$*/.venv/bin/python $(PIP_INSTALL) --upgrade --requirement build/$*/requirements.txt \
	    pytest pytest-xdist hypothesis onnxruntime zarr nbclient ipykernel latex2mathml
	for packages in build/$*/.venv/lib/python*/site-packages; do echo ../../../../src > $$packages/biogans.pth; done
	touch $@

test-oldest test-newest: test-%: build/%/.venv/installed
	git ls-files -z | xargs -0 cp --parents --target-directory build/$*
	cd build/$* && .venv/bin/python -m pip list --disable-pip-version-check | grep -i -E "^(tensorflow|keras|numpy)"
	cd build/$* && BG_REAL_DATA=$(abspath $(or $(BG_REAL_DATA),../shared/data)) .venv/bin/python -m pytest $(VERSION_TESTS)
	cd build/$* && .venv/bin/python -m pytest -m course tests/documents/test_course.py -k 1_game

test-versions: test-oldest test-newest

# Kill runs, damage files, fill disks, send signals, and tabulate the losses: 40 minutes.
test-durability: .venv/test
	.venv/bin/python tests/durability/durability.py

# The notebooks: in JupyterLab; executed, with their documents and slides; tested with and without solutions.
lab: .venv/course
	.venv/bin/jupyter lab --notebook-dir=course

course: .venv/course
	.venv/bin/python course/build.py --execute

test-course: .venv/test .venv/course
	.venv/bin/python -m pytest -m "" --durations=0 tests/documents/test_course.py

# The documentation as a site in build/site, without the solutions of the course; EDITION=instructor adds them, in
# build/site-instructor. test-docs also runs the commands on its pages, some minutes.
EDITION ?= student
SITE = build/site$(if $(filter instructor,$(EDITION)),-instructor)
docs: .venv/docs
	EDITION=$(EDITION) .venv/bin/python -m mkdocs build --strict --site-dir $(SITE)
	@echo "open $(SITE)/index.html; with the search: python3 -m http.server --directory $(SITE)"

test-docs: .venv/test .venv/docs
	.venv/bin/python -m pytest -m docs --durations=0 tests/documents

# The tests that need PyTorch (a large download) or the BioImage Model Zoo's validator, in their own environment.
build/exchange/.venv/installed: requirements.lock requirements-test.lock pyproject.toml
	mkdir -p build/exchange
	$(PYTHON) -m venv build/exchange/.venv
	build/exchange/.venv/bin/python $(LOCKED) requirements.lock
	build/exchange/.venv/bin/python $(LOCKED) requirements-test.lock
	build/exchange/.venv/bin/python -m pip list --format=freeze > build/exchange/constraints.txt
	$(REQUIRED) torch zoo > build/exchange/requirements.txt
	build/exchange/.venv/bin/python $(PIP_INSTALL) --constraint build/exchange/constraints.txt \
	    --requirement build/exchange/requirements.txt
	build/exchange/.venv/bin/python $(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	touch $@

test-exchange: build/exchange/.venv/installed
	build/exchange/.venv/bin/python -m pytest -m "slow or not slow" -ra tests/exchange

# With a real Slurm, environment-modules, Lmod, Apptainer, EasyBuild, Jupyter: as root on Debian, some minutes.
HPC_TESTS = LMOD_INIT=$(CURDIR)/.hpc-tools/lmod/usr/share/lmod/lmod/init/bash \
    .venv/bin/python -m pytest -m "" -s -ra --durations=15
test-hpc: .venv/test
	hpc/test-tools.sh .hpc-tools
	$(HPC_TESTS) tests/hpc tests/installation/test_modulefile.py tests/installation/test_ondemand.py

# The modules and Slurm only, which download little: some minutes.
test-hpc-short: .venv/test
	hpc/test-tools.sh .hpc-tools slurm modules
	$(HPC_TESTS) tests/installation/test_modulefile.py tests/hpc/test_scripts.py tests/hpc/test_slurm.py \
	    tests/hpc/test_multinode.py::test_two_nodes_learn_what_one_process_does

# An installation with its own environment, whole or not at all: nothing in it is written at run time, and it may be moved.
# PYTHON must exist on all nodes. For NVIDIA GPUs: TENSORFLOW=tensorflow[and-cuda]. Further packages, whose versions no lock
# fixes: PACKAGES=jupyterlab. With exec, a signal that ends make reaches the program.
install:
	@test -n "$(PREFIX)" || { echo "where? make install PREFIX=/apps/biogans/1.0.0" >&2; exit 2; }
	@exec $(PYTHON) -I hpc/install.py "$(PREFIX)" "$(TENSORFLOW)" "$(PACKAGES)"

# Write the locks. They keep their versions where pyproject.toml allows; UPGRADE=--upgrade takes the newest, and
# UPGRADE="--upgrade-package keras" those of one package. Each later lock agrees with the earlier ones.
# PyPI has tensorflow-cpu for x86_64 only; its tensorflow for other processors is without CUDA as well.
UV = uv==0.13.9
COMPILE = build/lock/.venv/bin/uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest \
    --generate-hashes --no-emit-index-url --annotation-style line --custom-compile-command "make lock" $(UPGRADE)
CPU = 's/^tensorflow\(>.*\)/tensorflow-cpu\1; platform_machine == "x86_64"\ntensorflow\1; platform_machine != "x86_64"/'
lock:
	$(PYTHON) -m venv build/lock/.venv
	build/lock/.venv/bin/python $(PIP_INSTALL) $(UV)
	$(REQUIRED) | sed $(CPU) > build/lock/runtime
	$(COMPILE) build/lock/runtime -o requirements.lock
	$(COMPILE) --extra gpu pyproject.toml -c requirements.lock -o requirements-gpu.lock
	$(COMPILE) --group test -c requirements.lock -o requirements-test.lock
	$(COMPILE) --group course -c requirements.lock -c requirements-test.lock -o requirements-course.lock
	$(COMPILE) --group docs -c requirements.lock -c requirements-test.lock -c requirements-course.lock \
	    -o requirements-docs.lock

# Bills of materials (CycloneDX) of what both locks install, with the hashes of all files.
CYCLONEDX = cyclonedx-bom==7.5.0
sbom:
	$(PYTHON) -m venv build/sbom/.venv
	build/sbom/.venv/bin/python $(PIP_INSTALL) $(CYCLONEDX)
	for LOCK in requirements requirements-gpu; do build/sbom/.venv/bin/cyclonedx-py requirements $$LOCK.lock \
	    --pyproject pyproject.toml --output-reproducible --output-file build/sbom/$$LOCK.cdx.json || exit; done

# The archive of a release, and the easyconfig with its checksum, which no file within the archive can have.
REVISION = HEAD
RELEASE = $(patsubst hpc/BioGANs-%.eb,%,$(wildcard hpc/BioGANs-*.eb))
archive:
	mkdir -p build/release
	git archive --prefix=biogans-$(RELEASE)/ --output=build/release/biogans-$(RELEASE).tar.gz $(REVISION)
	CHECKSUM=$$(sha256sum build/release/biogans-$(RELEASE).tar.gz) && \
	    sed "/^sources/a checksums = ['$${CHECKSUM%% *}']" hpc/BioGANs-$(RELEASE).eb > build/release/BioGANs-$(RELEASE).eb

# Nine small trainings, one after another: some minutes.
nine: .venv/installed
	.venv/bin/python benchmarks/nine.py -d $(SAMPLE) -o docs/nine.png

# ORIGINAL=biogans/code adds the paper's PyTorch code: the folder «code» of its checkout.
bench: .venv/installed
	.venv/bin/python benchmarks/train_step.py
	.venv/bin/python benchmarks/small_networks.py
	.venv/bin/python benchmarks/compare.py --rounds 3 $(if $(ORIGINAL),--original "$(ORIGINAL)")

# Train and evaluate the models of the paper's comparison: two hours of one core; it prints an estimate first.
paper-table: .venv/installed
	.venv/bin/python benchmarks/paper_table.py

# biogans preprocess on simulated videos against the ground truth; time and memory: some minutes, 400 MB of disk.
bench-preprocess: .venv/installed
	.venv/bin/python benchmarks/preprocess.py

# Time and memory against the size of images, networks and data: a quarter of an hour, 4 GB of disk while it runs.
scale: .venv/installed
	.venv/bin/python benchmarks/scale.py -o docs/scale.png

# Pages of biogans explore with the paper's networks in Chromium: bytes, and milliseconds from slider to canvas.
pages: .venv/test
	.venv/bin/python benchmarks/explore.py

# The browsers for the tests of pages, which are skipped without them: as root on Debian.
browsers:
	apt-get install -y --no-install-recommends chromium firefox-esr

# Download the copy of ONNX Runtime Web in src/biogans/latent/page with npm; a test compares it with the notice beside it.
RUNTIME = 1.30.0
runtime: .venv/test
	mkdir -p build
	npm pack --silent --pack-destination build onnxruntime-web@$(RUNTIME)
	tar -xzf build/onnxruntime-web-$(RUNTIME).tgz -C build
	cp build/package/dist/ort.wasm.bundle.min.mjs src/biogans/latent/page/onnxruntime-web.mjs
	gzip -9nc build/package/dist/ort-wasm-simd-threaded.wasm > src/biogans/latent/page/onnxruntime-web.wasm.gz
	.venv/bin/python -m pytest -q tests/latent/test_explore.py -k notice

# Four seeds, one per core, 10 minutes on 4 cores; on MNIST's idx files if found, else on scikit-learn's digits.
MNIST ?= $(wildcard $(or $(BG_REAL_DATA),../shared/data)/mnist)
infogan-digits: .venv/installed
	rm -rf infogan-digits
	.venv/bin/python benchmarks/infogan_digits.py $(if $(MNIST),--mnist "$(MNIST)")

# Images/s of 1, 2 and 4 workers on as many cores, for the table in docs/scaling.md: some minutes.
scaling: .venv/installed
	.venv/bin/python benchmarks/scaling.py -o docs/scaling.md

diagrams: .venv/installed
	.venv/bin/python docs/diagrams.py

sample: .venv/installed
	.venv/bin/python -m biogans simulate -o data_48-80/data --overwrite

clean:
	rm -rf .venv demo demo-mitogan infogan-digits build src/*.egg-info .pytest_cache

help:
	@echo "make            create the environment (.venv)"
	@echo "make demo       generate with the trained model; train a small one on the sample data: a few minutes"
	@echo "make demo-mitogan  from videos of mitochondria to 30,000 images: five minutes; docs/mitogan.md"
	@echo "make lab        the notebooks of the course, in JupyterLab"
	@echo "make install    PREFIX=/apps/biogans/1.0.0: an installation for the module, with its own environment"
	@echo
	@echo "make lint       check the sources with ruff"
	@echo "make types      check the type hints of src/biogans/core with mypy"
	@echo "make test       run the tests"
	@echo "make test-slow  the tests that take half a minute or more each"
	@echo "make test-versions  the tests and a notebook under the oldest and the newest TensorFlow and Keras"
	@echo "make test-course  run the notebooks with and without solutions: an hour on one core"
	@echo "make test-docs  build the site and run the commands on its pages"
	@echo "make test-exchange  the exchange with PyTorch and the BioImage Model Zoo, which are downloaded: gigabytes"
	@echo "make test-durability  kill, damage, fill disks, and count the losses: 40 minutes"
	@echo "make test-hpc   the tests with a real Slurm, Lmod, Apptainer, …: as root on Debian"
	@echo "make browsers   install the browsers that the tests of pages use: as root on Debian"
	@echo
	@echo "make course     run the notebooks; write their documents and slides: twenty minutes"
	@echo "make docs       the documentation as a site in build/site, without the solutions of the course;"
	@echo "                EDITION=instructor: with them, in build/site-instructor"
	@echo "make lock       write requirements*.lock; UPGRADE=--upgrade takes the newest versions"
	@echo "make sbom       bills of materials of the locks, in build/sbom"
	@echo "make archive    the archive of a release and its easyconfig, in build/release"
	@echo "make diagrams   draw the diagrams of the documentation and the course"
	@echo "make sample     generate the sample data with the simulator"
	@echo "make cards      write the model cards of the trained models"
	@echo "make clean      remove the environment and the results of the demos"
	@echo
	@echo "make nine       train all nine combinations of architecture and algorithm; one sheet of samples"
	@echo "make bench      time an iteration of all nine combinations, and compare with other implementations:"
	@echo "                up to 20 minutes; ORIGINAL=DIR adds the paper's PyTorch code"
	@echo "make bench-preprocess  biogans preprocess on simulated videos, against the ground truth: some minutes"
	@echo "make scale      time and memory against the size of images, networks and data: tables and a plot"
	@echo "make pages      time the pages of biogans explore in a browser"
	@echo "make infogan-digits  ten digits found without labels: four seeds, 10 minutes; MNIST=FOLDER of idx files"
	@echo "make paper-table  train and evaluate the models of the paper's comparison on simulated cells: an hour of one"
	@echo "                core, shared among the cores there are; run it again to resume"
	@echo "make scaling    images/s against the number of workers, measured and estimated: docs/scaling.md"

.PHONY: all demo demo-mitogan lint types test test-slow test-oldest test-newest test-versions test-durability lab \
    course test-course docs test-docs test-exchange test-hpc test-hpc-short install lock sbom archive nine bench \
    paper-table bench-preprocess scale pages browsers runtime infogan-digits scaling diagrams sample cards clean help
