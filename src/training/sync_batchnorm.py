"""Batch norm over several processes."""

from collections.abc import Callable
from contextlib import suppress
from importlib import import_module

from lightning.pytorch.plugins import LayerSync
from torch import nn


class SyncBatchNorm(LayerSync):
    """Replaces every batch norm by one whose statistics are over all processes.

    torch's own conversion, which Lightning's `sync_batchnorm` calls, drops the activation inside timm's batch norms.
    timm's conversion keeps it, and does the same as torch's for other batch norms.
    """

    def apply(self, model: nn.Module) -> nn.Module:
        """Replace the batch norms of a module, in place where this is possible."""
        convert: Callable[[nn.Module], nn.Module] = nn.SyncBatchNorm.convert_sync_batchnorm
        with suppress(ImportError):
            convert = import_module("timm.layers").convert_sync_batchnorm
        return convert(model)

    def revert(self, model: nn.Module) -> nn.Module:
        """Return the module unchanged: the names of its parameters do not depend on the kind of batch norm."""
        return model
