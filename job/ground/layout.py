"""Where things live below the root: pure key arithmetic, no I/O. The tree is drawn in docs/architecture.md."""

from job.records import Unit

SYNTHETIC = "synthetic/"             # images and their commits, shared by every run
SHARED = ("synthetic", "scores")     # first parts of keys that belong to no dataset


def recipe_json(recipe: str) -> str:
    return f"{SYNTHETIC}{recipe}/recipe.json"


def commits(recipe: str) -> str:
    return f"{SYNTHETIC}{recipe}/commits/"


def commit(recipe: str, unit: Unit) -> str:
    return f"{commits(recipe)}{unit.name}.json"


def shard(recipe: str, unit: Unit, sha256: str) -> str:
    return f"{SYNTHETIC}{recipe}/data/{unit.name}-{sha256}.parquet"


def scores_of(metric: str, recipe: str) -> str:
    """``metric`` is the digest of metric, options, extractor and reference."""
    return f"scores/{metric}/{recipe}/"


def scores(metric: str, recipe: str, unit_name: str) -> str:
    return f"{scores_of(metric, recipe)}{unit_name}.parquet"


def dataset_json(dataset: str) -> str:
    return f"{dataset}/dataset.json"


def edition(dataset: str, name: str) -> str:
    return f"{dataset}/editions/{name}.json"


def submission(dataset: str, name: str) -> str:
    return f"{dataset}/submissions/{name}.json"


def looks(dataset: str, test: str) -> str:
    """``test`` is the digest of the locked test's images."""
    return f"{dataset}/looks/{test}/"


def look(dataset: str, test: str, choice: str) -> str:
    return f"{looks(dataset, test)}{choice}.json"


def terminals(dataset: str, submission: str) -> str:
    """How the starts of a submission ended, as far as that tells whether another one can help."""
    return f"{dataset}/terminal/{submission}/"


def terminal(dataset: str, submission: str, number: int) -> str:
    return f"{terminals(dataset, submission)}{number:06d}.json"


def versions(dataset: str) -> str:
    return f"{dataset}/versions/"


def version(dataset: str, number: int) -> str:
    """The publish itself."""
    return f"{versions(dataset)}{number:06d}.json"


def version_file(dataset: str, number: int, name: str) -> str:
    """What can be made again from a version: its card, its description."""
    return f"{versions(dataset)}{number:06d}/{name}"


def latest(dataset: str) -> str:
    """The only pointer: compare-and-swap, advisory, rebuildable from the versions."""
    return f"{dataset}/latest.json"


def moves(dataset: str) -> str:
    """Every move of ``latest.json``, rollbacks among them."""
    return f"{dataset}/moves/"


def crossfit(dataset: str, name: str, file: str) -> str:
    """The report of a cross-fitting, over the runs of its folds."""
    return f"{dataset}/crossfits/{name}/{file}"


def comparison(dataset: str, name: str, file: str) -> str:
    """The report of a comparison of finished runs."""
    return f"{dataset}/comparisons/{name}/{file}"


class Run:
    """Keys of one run."""

    def __init__(self, dataset: str, run: str) -> None:
        self.root = f"{dataset}/runs/{run}/"

    def plan(self) -> str:
        return f"{self.root}plan.json"

    def split(self) -> str:
        return f"{self.root}split.parquet"

    def refused(self) -> str:
        """Real files that could not be used, each with its reason."""
        return f"{self.root}refused.json"

    def round(self, number: int) -> str:
        return f"{self.root}rounds/{number}.json"

    def filtered(self, class_key: str, decisions: str) -> str:
        """Decisions on one class; ``decisions`` is their content id."""
        return f"{self.root}filtered/{class_key}-{decisions}.parquet"

    def filtered_index(self) -> str:
        return f"{self.root}filtered/index.json"

    def trials(self) -> str:
        return f"{self.root}trials/"

    def trial(self, trial: str) -> str:
        return f"{self.trials()}{trial}.json"

    def trial_data(self, trial: str, sha256: str) -> str:
        return f"{self.trials()}{trial}-{sha256}.parquet"

    def error(self, name: str) -> str:
        """What a trial's worker could not do, for the driver to raise."""
        return f"{self.root}errors/{name}.json"

    def start(self, unit_name: str, what: str) -> str:
        """A mark that a unit, or a part of it, is about to be drawn."""
        return f"{self.starts(unit_name)}{what}.json"

    def starts(self, unit_name: str) -> str:
        return f"{self.root}starts/{unit_name}/"

    def compiled(self, name: str) -> str:
        """Record of what a process of one kind has compiled; ``name`` is the digest of what it is good for."""
        return f"{self.root}compiled/{name}.json"

    def compiled_data(self, name: str, sha256: str) -> str:
        return f"{self.root}compiled/{name}-{sha256}.bin"

    def stop(self, process: str) -> str:
        """Tells the workers of one driver to begin nothing more."""
        return f"{self.root}stops/{process}.json"

    def mix(self, sha256: str) -> str:
        """The recommended mix: ids of real and synthetic images."""
        return f"{self.root}publish/mix-{sha256}.parquet"

    def published_report(self, sha256: str) -> str:
        """The report as it was when its version was published."""
        return f"{self.root}publish/report-{sha256}.json"

    def choices(self) -> str:
        return f"{self.root}choices/"

    def choice(self, number: int) -> str:
        return f"{self.choices()}{number}.json"

    def costs(self) -> str:
        return f"{self.root}cost/"

    def cost(self, process: str, sequence: int) -> str:
        """Heartbeat of one process: what it has spent so far."""
        return f"{self.costs()}{process}/{sequence:06d}.json"

    def advice(self) -> str:
        """What a pilot made one expect, before the run was paid for."""
        return f"{self.root}advice.json"

    def report(self, name: str) -> str:
        return f"{self.root}report/{name}"

    def done(self) -> str:
        return f"{self.root}done.json"
