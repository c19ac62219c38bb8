"""Makes a dashboard in wandb for the runs and sweeps of a project: `pip install wandb-workspaces`, `wandb login`, then

    python scripts/wandb_workspace.py --entity NAME --project densesiam
It is a saved view: scores with the swept values, losses, learning rate and gradient norm, monitors, and pictures, with
one group of runs for each experiment or sweep. `docs/experiments.md` says what each panel shows.
"""

import argparse

import wandb_workspaces.reports.v2 as panels
import wandb_workspaces.workspaces as workspaces

STEP = "trainer/global_step"
SWEPT = ("model.grid_size", "task.loss_weights.dense", "task.loss_weights.region", "seed")  # K, lambda_1, lambda_2
SCORE = "scores/mIoU"  # of the end of a run, beside its interval scores/mIoU_low to scores/mIoU_high
LINES = {
    "Losses": ("loss/total", "loss/image", "loss/dense", "loss/aux", "loss/seg", "loss/region"),
    "Optimisation": ("optimizer/learning_rate", "optimizer/gradient_norm", "images_per_second"),
    "Collapse": (
        *("collapse/image/spread", "collapse/image/effective_rank", "collapse/dense/spread"),
        *("collapse/dense/effective_rank", "collapse/dense/category_entropy", "collapse/dense/dead_categories"),
    ),
    "Without labels": (
        *("label_free/consistency", "label_free/mutual_information", "label_free/entropy", "label_free/balance"),
    ),
    "With labels": (
        *("densesiam/mIoU", "densesiam_merged/mIoU", "prototypes/mIoU", "picie/mIoU", "picie_merged/mIoU"),
        *("iic/mIoU", "iic_merged/mIoU", "deepcluster/mIoU", "linear_probe/mIoU"),
    ),
}
PICTURES = ("pictures/clusters", "pictures/densesiam", "pictures/linear_probe")


def workspace(entity: str, project: str) -> workspaces.Workspace:
    """The dashboard, not saved yet.

    Args:
        entity: user or team.
        project: name of the project.
    """
    columns = [
        *(panels.ParallelCoordinatesPlotColumn(metric=panels.Config(name)) for name in SWEPT),
        panels.ParallelCoordinatesPlotColumn(metric=panels.SummaryMetric(SCORE)),
    ]
    swept = [
        panels.ParallelCoordinatesPlot(columns=columns, title="Swept values and mIoU"),
        *(panels.ScatterPlot(x=panels.Config(name), y=panels.SummaryMetric(SCORE), title=name) for name in SWEPT[:3]),
        panels.BarPlot(title="mIoU in percent", metrics=[panels.SummaryMetric(SCORE)]),
        panels.WeavePanelSummaryTable(table_name="scores"),
    ]
    lines = [
        workspaces.Section(name=name, panels=[panels.LinePlot(x=STEP, y=[each], title=each) for each in metrics])
        for name, metrics in LINES.items()
    ]
    pictures = workspaces.Section(name="Pictures", panels=[panels.MediaBrowser(media_keys=list(PICTURES))])
    first = workspaces.Section(name="Scores and swept values", panels=swept, is_open=True)
    return workspaces.Workspace(
        entity=entity,
        project=project,
        name="DenseSiam",
        sections=[first, pictures, *lines],
        runset_settings=workspaces.RunsetSettings(groupby=[workspaces.Metric("Group")]),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entity", required=True, help="user or team in wandb")
    parser.add_argument("--project", default="densesiam")
    arguments = parser.parse_args()
    workspace(arguments.entity, arguments.project).save()  # prints the address


if __name__ == "__main__":
    main()
