"""The administrator's check for ReFrame: 20 iterations of a training on the sample data, and cells from its generator.

    reframe -c $BG_HOME/hpc/reframe/biogans.py -r -S modules=biogans/1.0.0 [-S gpu=yes]
"""

import reframe as rfm
import reframe.utility.sanity as sn

ITERATIONS = 20


@rfm.simple_test
class BioGANs(rfm.RunOnlyRegressionTest):
    """Train, generate; with gpu=yes, fail if the training ran on a CPU."""

    gpu = variable(bool, value=False)               # noqa: F821, as ReFrame defines such names in classes of checks
    descr = "train.py and predict.py on the sample data"
    valid_systems = ["*"]
    valid_prog_environs = ["*"]
    modules = ["biogans"]
    sourcesdir = None
    num_cpus_per_task = 2
    time_limit = "15m"
    prerun_cmds = ['cp -r "${BG_DATA}"_48-80/* .']
    executable = "train.py"
    executable_opts = ["-d", "data", "-m", "DCGAN", "--preset", "fast", "-e", str(ITERATIONS)]
    postrun_cmds = ["predict.py -i checkpoints/weights.generator.DCGAN.WGAN-GP.1.h5 -n 8"]

    @sanity_function                                # noqa: F821
    def it_trains_and_generates(self):
        """The last iteration and a stack of cells, on the device that was asked for."""
        return sn.all([
            sn.assert_found(rf"iteration {ITERATIONS}/{ITERATIONS}", self.stdout),
            sn.assert_found(r"Output image stack to file", self.stdout),
            sn.assert_not_found(r"no GPU found" if self.gpu else r"Traceback", self.stdout),
        ])

    @performance_function("it/s")                   # noqa: F821
    def speed(self):
        """Iterations per second in the last line of the training; a site may set a reference."""
        return sn.extractsingle(rf"iteration {ITERATIONS}/{ITERATIONS}.* ([\d.]+) it/s", self.stdout, 1, float)
